// Text files with labels, shared by the tasks that classify texts or tokens: which file holds a split, which
// column holds what, and which class a label in the file stands for.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "app/tasks/task.h"
#include "app/tasks/text_rows.h"

namespace zoo::app {

struct SplitFile {
  std::filesystem::path path;
  std::string split;  // train, validation or test; empty when the data has no splits
};
// The file of one split. `data` is that file itself, or a folder with <split>.<extension> files; the names
// dev, val and valid are also read for "validation". An empty split means the folder's test, else validation,
// else only file; "train" also means an only file. `extensions` in order of preference, with dots. Throws
// UsageError naming what was looked for.
SplitFile split_file(const std::filesystem::path& data, const std::string& split,
                     const std::vector<std::string>& extensions);

// The lines of a text file that are not blank, at most `limit` (0: all). Throws UsageError when there are none.
std::vector<std::string> read_text_lines(const std::filesystem::path& file, int64_t limit);
// The same as rows, which stay in a large file.
TextRows text_line_rows(const std::filesystem::path& file, const Json& options, int64_t limit);

struct LabelledTexts {
  std::string file;  // for messages
  TextRows rows;     // left in the file when that is large (text_rows.h)
  std::vector<std::string> names;              // the different labels
  std::vector<int32_t> labels;                 // of each row: a place in `names`
  std::map<std::string, int64_t> first_lines;  // of each label: where it stands first
};

// A .tsv, .csv or .jsonl table with the columns sentence or text, optionally sentence2, and label, under a
// header or without one (then in this order). Options: text_column, pair_column, label_column (names, or
// numbers from 0 when there is no header), header (true, false; default: detected). Throws UsageError with
// the nearest column names.
// All columns at once: columns = "text,label" or "text,pair,label". Option single_spaces = true makes every run of white space one
// blank, as CodeXGLUE's readers do.
// A .txt file beside a data.jsonl holds CodeXGLUE's clones: lines of two "idx" and a label with tabs between; data.jsonl has a "func"
// for each "idx". Pairs with an unknown idx are left out and counted on the log; labels other than 0 are 1.
LabelledTexts read_labelled_texts(const std::filesystem::path& file, const Json& options, int64_t limit);
// Whether `data`, a .txt file or a folder of them, has such a data.jsonl.
bool clone_texts_of(const std::filesystem::path& data);

// Which id each label of a file has. When every label is among the network's own names (letter case aside),
// or is a number below their count, the network's ids stand and `names` are its names. Otherwise, where the
// file may define the classes (training), ids follow the sorted labels, numbers by value. Otherwise throws
// UsageError with the nearest names.
struct LabelIds {
  std::vector<std::string> names;
  std::map<std::string, int64_t> ids;
};
LabelIds match_labels(const std::map<std::string, int64_t>& first_lines,
                      const std::vector<std::string>& network, bool may_define, const std::string& file);

// Whether a text, or its pair (empty: it has none), lost tokens to the limit.
bool is_cut(const tokenizers::Encoding& encoding, const std::string& text, const std::string& pair, int64_t max_length);
int64_t count_cut_texts(std::span<const tokenizers::Encoding> encodings, std::span<const std::string> texts, std::span<const std::string> pairs, int64_t max_length);
// Says on the log how many of `texts` lost tokens to the limit, if any.
void tell_cut_texts(int64_t cut, int64_t texts, int64_t max_length);
// Both in one. `pairs` may be empty.
void note_cut_texts(std::span<const tokenizers::Encoding> encodings, std::span<const std::string> texts,
                    std::span<const std::string> pairs, int64_t max_length);

}  // namespace zoo::app
