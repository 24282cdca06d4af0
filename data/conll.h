// Sentences with one label a token: CoNLL column files, and JSON Lines with "tokens" and "labels".
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace zoo::data {

struct LabelledTokens {
  std::vector<std::string> tokens;
  std::vector<std::string> labels;  // as many as tokens, or none when the file has no labels
  int64_t line = 0;                 // of the first token, from 1
};

// One token a line, blank line between sentences; columns separated by tabs or else by blanks. The token is
// the first column and the label the last (as in CoNLL-2003 and WNUT). "-DOCSTART-" lines are passed over; in
// a file with tabs, lines that start with '#' and have no tab are comments. `limit` > 0: only that many
// sentences. Throws std::runtime_error that names file and line: fewer than two columns, or no sentence at
// all.
std::vector<LabelledTokens> read_conll(const std::filesystem::path& path, int64_t limit = 0);

// {"tokens": ["EU", ...], "labels": ["B-ORG", ...]}; "ner_tags" and "tags" also name the labels, which may be
// integers (then their decimal form is the label). Rows without labels are accepted when no row has them.
// Throws std::runtime_error that names file and line.
std::vector<LabelledTokens> read_token_jsonl(const std::filesystem::path& path, int64_t limit = 0);

// By the file's name: .jsonl and .json are JSON Lines, all others CoNLL.
std::vector<LabelledTokens> read_labelled_tokens(const std::filesystem::path& path, int64_t limit = 0);

}  // namespace zoo::data
