// Texts in pairs, what goes in and what is to come out: tables, and parallel files whose lines belong together.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "app/tasks/task.h"
#include "app/tasks/text_rows.h"
#include "models/model.h"

namespace zoo::app {

struct TextPairs {
  std::vector<std::string> sources, targets;  // equally many; empty texts stay
  std::string file, split;                    // for messages; the split, where the data has them
  TextRows in_file;                           // in place of sources and targets: pairs that stay in large files (text_rows.h)

  int64_t size() const { return in_file.size() + static_cast<int64_t>(sources.size()); }
};

// `data` is
//   a .csv, .tsv, .tab or .jsonl table: columns "source" and "target" or the like (option columns: "question,answer"), or, where no
//     first line names such columns, two columns without a header;
//   the source's file of two parallel ones (plain or .gz): NAME.java beside NAME.cs. The other is the one that option columns
//     ("java,cs") or a part of the name ("test.java-cs.txt.java") tells, or the only other NAME.*; or option "target": its path;
//   a folder with files of either kind for each split (train.tsv; test.java-cs.txt.java; test/buggy.txt).
// Throws UsageError that says what was looked for, std::runtime_error for files that cannot be read or differ in lines.
TextPairs read_text_pairs(const std::filesystem::path& data, const std::string& split, const Json& options, int64_t limit);

// The options that these pairs, the texts written for them and their figures follow.
std::vector<std::string> pair_option_names();

// What seq2seq_task() learns from and is measured on, of these pairs (app/tasks/seq2seq.cpp).
std::unique_ptr<Dataset> pairs_dataset(const Bundle& bundle, TextPairs pairs, const Json& options);

}  // namespace zoo::app
