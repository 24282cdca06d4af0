// Pieces of a large file by number, read when they are asked for.
#pragma once
#include <algorithm>
#include <cstdint>
#include <ctime>
#include <filesystem>
#include <string>
#include <vector>

namespace zoo::data {

// Holds where each piece begins (8 bytes a piece), never the pieces. Reading is safe from several threads.
class FileSlices {
 public:
  // Throws std::runtime_error when the file cannot be opened.
  explicit FileSlices(const std::filesystem::path& path);
  ~FileSlices();
  FileSlices(const FileSlices&) = delete;
  FileSlices& operator=(const FileSlices&) = delete;

  void add(int64_t offset) { offsets_.push_back(offset); }  // of the next piece in bytes; ascending
  void end(int64_t offset) { end_ = std::min(offset, bytes_); }  // of the last piece; without it, that of the file
  int64_t size() const { return static_cast<int64_t>(offsets_.size()); }
  // The bytes of a piece, up to where the next one begins. Throws std::runtime_error when reading fails, or when the file is no
  // longer the one that was opened (other length or time of change).
  std::string read(int64_t index) const;

 private:
  void check_unchanged() const;

  std::string name_;
  int descriptor_ = -1;
  int64_t bytes_ = 0, end_ = -1;
  timespec changed_{};
  std::vector<int64_t> offsets_;
};

}  // namespace zoo::data
