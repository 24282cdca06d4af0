// The texts of a `zoo run`, one after the other: files and standard input are read as they are needed, never whole.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "app/tasks/task.h"

namespace zoo::app {

struct StreamedText {
  std::string text;     // as it stands; malformed UTF-8 included
  std::string source;   // "a.txt:3", "argument", "standard input:1", "rows.csv:7"
  std::string trouble;  // what is odd about it, for a warning; else empty
  std::string pair = {};  // of a table's second column
  bool in_table = false;  // else a line, or --input
  bool lost = false;      // it could not be read: the text stands empty in its place
};

// --input (a file of that name, else the text itself), then the inputs. Every line of a text file or of standard input is a text,
// empty ones too, so that result n belongs to line n; .csv, .tsv and .jsonl give a column (option "column"; default: a column named
// text or sentence, else the only one); a folder gives its .txt files in name order.
// Lines that cannot be used do not end the stream: they come with their trouble. A line is read up to 16 MiB.
class TextStream {
 public:
  // Throws UsageError for what is not there; files are opened when their turn comes. `columns`: two names: pairs of texts, from tables.
  explicit TextStream(const RunOptions& options, std::vector<std::string> columns = {});
  ~TextStream();
  // False at the end. Throws std::runtime_error for files that cannot be read, binary files and malformed CSV.
  bool next(StreamedText& text);

  class Source;

 private:
  std::vector<std::string> inputs_;
  std::string argument_;
  Json options_;
  std::vector<std::string> columns_;
  std::unique_ptr<Source> source_;  // of the input that is being read
  size_t opened_ = 0;
};

// How many texts a stream of these options gives; 0 when that cannot be known, because one of them can be read only once.
int64_t count_texts(const RunOptions& options, const std::vector<std::string>& columns = {});

// Warnings about single inputs: the first ones each, of the others the number.
class Troubles {
 public:
  void add(const std::string& source, const std::string& what);
  void close() const;

 private:
  int64_t count_ = 0;
};

}  // namespace zoo::app
