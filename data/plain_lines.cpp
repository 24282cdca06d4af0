#include "data/plain_lines.h"

#include <zlib.h>

#include <array>
#include <memory>
#include <stdexcept>

namespace zoo::data {
namespace plain_lines_detail {

constexpr size_t kLongest = size_t{64} << 20;

struct Close {
  void operator()(gzFile_s* file) const { gzclose(file); }
};

class Lines {
 public:
  Lines(std::string name, int64_t limit) : name_(std::move(name)), limit_(limit) {}

  bool full() const { return limit_ > 0 && static_cast<int64_t>(lines_.size()) >= limit_; }
  void add(const char* bytes, size_t count) {
    for (size_t i = 0; i < count && !full(); ++i) {
      if (bytes[i] == '\n') end_line();
      else if (bytes[i] == '\0') fail("holds NUL bytes, so it is binary; UTF-8 text is expected");
      else line_.push_back(bytes[i]);
      if (line_.size() > kLongest) fail("is longer than 64 MiB");
    }
  }
  std::vector<std::string> finish() {
    if (!line_.empty() && !full()) end_line();
    return std::move(lines_);
  }

 private:
  [[noreturn]] void fail(const char* what) const { throw std::runtime_error(name_ + ": line " + std::to_string(lines_.size() + 1) + ": " + what); }
  void end_line() {
    if (lines_.empty() && line_.starts_with("\xEF\xBB\xBF")) line_.erase(0, 3);
    if (!line_.empty() && line_.back() == '\r') line_.pop_back();
    lines_.push_back(std::move(line_));
    line_.clear();
  }

  std::string name_, line_;
  int64_t limit_;
  std::vector<std::string> lines_;
};

}  // namespace plain_lines_detail

std::vector<std::string> read_lines(const std::filesystem::path& path, int64_t limit) {
  namespace d = plain_lines_detail;
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) throw std::runtime_error(path.string() + ": no such file");
  const std::unique_ptr<gzFile_s, d::Close> file(gzopen(path.c_str(), "rb"));  // reads what is not packed as it stands
  if (!file) throw std::runtime_error(path.string() + ": cannot be read");
  d::Lines lines(path.string(), limit);
  std::array<char, 1 << 16> block;
  int count = 0;
  while (!lines.full() && (count = gzread(file.get(), block.data(), static_cast<unsigned>(block.size()))) > 0) lines.add(block.data(), static_cast<size_t>(count));
  int code = Z_OK;
  const char* message = gzerror(file.get(), &code);
  if (count < 0 || (code != Z_OK && code != Z_STREAM_END)) throw std::runtime_error(path.string() + ": damaged gzip file (" + message + ")");
  return lines.finish();
}

}  // namespace zoo::data
