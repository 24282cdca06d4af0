// A text file line by line.
#pragma once
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

namespace zoo::data {

// Lines without their ends (LF or CRLF) and without a leading byte order mark. Throws std::runtime_error that
// names the file: it cannot be opened, is not a regular file, holds a zero byte (a binary file), or has a
// line longer than `longest`.
class TextLines {
 public:
  explicit TextLines(std::filesystem::path path, size_t longest = size_t{16} << 20);
  bool next(std::string& line);
  int64_t number() const { return number_; }              // of the line that next() gave last, from 1
  int64_t offset() const { return offset_; }              // where in the file that line's text begins, in bytes
  [[noreturn]] void fail(const std::string& what) const;  // "FILE: line N: what"

 private:
  std::filesystem::path path_;
  std::ifstream file_;
  size_t longest_;
  int64_t number_ = 0, offset_ = 0, read_ = 0;
};

}  // namespace zoo::data
