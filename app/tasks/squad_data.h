// Questions about texts: SQuAD's files, 1.1 and 2.0, and flat ones.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "models/model.h"

namespace zoo::app {

struct Question {
  std::string id, question, context, source;  // source: file and place, for messages
  std::vector<std::string> answers;           // those that count as right; empty: the context has none
  size_t answer_begin = 0, answer_end = 0;    // the first answer in bytes of the context
};

struct Questions {
  std::vector<Question> all;
  std::string file, split;
  bool has_impossible = false;  // SQuAD 2.0: some questions have no answer in their context
};

// `data` is a file or a folder with one a split (train.json, dev.json, train-v1.1.json ...):
//   .json   SQuAD: {"data": [{"paragraphs": [{"context", "qas": [{"id", "question", "answers": [{"text", "answer_start"}]}]}]}]}
//   .jsonl  one question a line: "question", "context", and "answers" as above or as {"text": [...], "answer_start": [...]}
//   .csv, .tsv  columns question, context and, to learn from or to measure with, answer; or those that option columns names
// answer_start counts characters; where it does not fit, or is not there, the answer's first place in the context is taken.
// `need_answers`: questions without any are an error, unless they say "is_impossible" or have an empty list. Throws UsageError.
Questions read_questions(const std::filesystem::path& data, const std::string& split, const Json& options, int64_t limit, bool need_answers);

}  // namespace zoo::app
