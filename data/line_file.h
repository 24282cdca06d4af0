// A text file whose lines stay in it.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>

#include "data/file_slices.h"

namespace zoo::data {

// Lines as TextLines gives them (text_lines.h), by number from 0. The file is read once, from beginning to end, to find where they
// begin. `skip_blank`: lines of nothing but blanks do not count. `limit` > 0: only the first so many.
class LineFile {
 public:
  LineFile(const std::filesystem::path& path, bool skip_blank, int64_t limit = 0);
  int64_t size() const { return slices_.size(); }
  std::string line(int64_t index) const;  // safe from several threads; throws as FileSlices::read

 private:
  FileSlices slices_;
};

}  // namespace zoo::data
