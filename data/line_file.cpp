#include "data/line_file.h"

#include "data/text_lines.h"

namespace zoo::data {

LineFile::LineFile(const std::filesystem::path& path, bool skip_blank, int64_t limit) : slices_(path) {
  TextLines lines(path, size_t{64} << 20);
  for (std::string line; lines.next(line);) {
    if (limit > 0 && size() == limit) {
      slices_.end(lines.offset());
      break;
    }
    if (!skip_blank || line.find_first_not_of(" \t") != std::string::npos) slices_.add(lines.offset());
  }
}

// Blank lines that do not count lie behind the line that does.
std::string LineFile::line(int64_t index) const {
  std::string text = slices_.read(index);
  if (const auto end = text.find('\n'); end != std::string::npos) text.resize(end);
  if (!text.empty() && text.back() == '\r') text.pop_back();
  return text;
}

}  // namespace zoo::data
