#include "data/text_lines.h"

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace zoo::data {

TextLines::TextLines(std::filesystem::path path, size_t longest) : path_(std::move(path)), longest_(longest) {
  std::error_code error;
  const auto status = std::filesystem::status(path_, error);
  if (!std::filesystem::exists(status)) throw std::runtime_error(path_.string() + ": no such file");
  if (!std::filesystem::is_regular_file(status))
    throw std::runtime_error(path_.string() + ": not a regular file; a text file was expected");
  file_.open(path_, std::ios::binary);
  if (!file_) throw std::runtime_error(path_.string() + ": cannot be opened (" + std::strerror(errno) + ")");
}

void TextLines::fail(const std::string& what) const {
  throw std::runtime_error(path_.string() + ": line " + std::to_string(number_) + ": " + what);
}

bool TextLines::next(std::string& line) {
  line.clear();
  std::streambuf& buffer = *file_.rdbuf();
  int c = buffer.sbumpc();
  if (c == std::char_traits<char>::eof()) return false;
  ++number_;
  offset_ = read_;
  for (; c != std::char_traits<char>::eof() && c != '\n'; c = buffer.sbumpc()) {
    if (c == 0) fail("holds a zero byte; this is a binary file, not text");
    if (line.size() == longest_)
      fail("longer than " + std::to_string(longest_) + " bytes; is this a text file?");
    line.push_back(static_cast<char>(c));
  }
  read_ += static_cast<int64_t>(line.size()) + 1;
  if (!line.empty() && line.back() == '\r') line.pop_back();
  if (number_ == 1 && line.starts_with("\xEF\xBB\xBF")) line.erase(0, 3), offset_ = 3;
  return true;
}

}  // namespace zoo::data
