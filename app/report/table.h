// A table of text cells, printed as aligned columns, Markdown or CSV.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace zoo::app {

struct Column {
  std::string title;
  bool number = false;  // aligned to the right
};

class Table {
 public:
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  // As many cells as columns; throws std::logic_error otherwise.
  void add(std::vector<std::string> cells);
  bool empty() const { return rows_.empty(); }

  std::string text() const;      // columns padded to their widest cell; UTF-8 counts by characters
  std::string markdown() const;  // | escaped as \|
  std::string csv() const;       // RFC 4180 quoting

 private:
  std::vector<size_t> widths() const;
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

// 109482240 -> "109.5 M", 85 -> "85": three or four digits that a person compares at a glance.
std::string count_text(int64_t count);
// 90868376 -> "86.7 MiB"
std::string bytes_text(uint64_t bytes);
// printf("%.*f"), "nan" and "inf" spelled alike everywhere.
std::string fixed_text(double value, int digits);

}  // namespace zoo::app
