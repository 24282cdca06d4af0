// A table that stays in its file: rows are read when they are asked for.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "data/csv.h"
#include "data/file_slices.h"

namespace zoo::data {

// The rows of read_table(), of which only the places are held (8 bytes a row).
class TableFile {
 public:
  using Visit = std::function<void(const std::vector<std::string>& row, int64_t line)>;
  // Reads the file once, from beginning to end, and throws what read_table() would. `visit` sees every row in order.
  TableFile(const std::filesystem::path& path, const TableOptions& options, const Visit& visit = {});
  const Table& head() const { return head_; }  // columns, has_header and name; no rows
  int64_t size() const { return slices_.size(); }
  std::vector<std::string> row(int64_t index) const;  // safe from several threads; throws as FileSlices::read

 private:
  Table head_;
  std::vector<std::string> keys_;  // of JSON objects
  bool json_;
  char delimiter_;
  FileSlices slices_;
};

}  // namespace zoo::data
