// Files as the weights library reads and writes them: mapped into memory, replaced atomically.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace zoo::weights {

// A whole file mapped private and writable: a write changes this process's copy of the page, never the file.
// Pages are read on first use, so opening a file of many gigabytes costs nothing.
class MappedFile {
 public:
  // Throws std::runtime_error when the file cannot be opened, is not a regular file, or cannot be mapped.
  static std::shared_ptr<const MappedFile> open(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  uint64_t size() const { return size_; }
  std::byte* at(uint64_t offset) const { return data_ + offset; }  // the caller has checked offset <= size()
  std::string_view bytes(uint64_t offset, uint64_t count) const;   // throws when the range leaves the file
  // Copies a range without touching the mapping: pages of the mapping that were read count as this process's
  // memory.
  void read(uint64_t offset, void* to, uint64_t count) const;

 private:
  MappedFile() = default;
  std::filesystem::path path_;
  int descriptor_ = -1;
  std::byte* data_ = nullptr;
  uint64_t size_ = 0;
};

// A file that appears under its name complete or not at all: bytes go to a temporary name in the same folder,
// commit() flushes them to the disk and renames. Without commit() the temporary file is removed and a file
// that was there before stays untouched. Every failure throws std::runtime_error with the system's reason.
class AtomicFile {
 public:
  explicit AtomicFile(const std::filesystem::path& path);
  ~AtomicFile();
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  // Claims disk space where the file system can, so that a full disk is seen early.
  void reserve(uint64_t bytes);
  void write(const void* data, size_t bytes);
  void flush();                  // everything is on the disk when this returns
  void commit();                 // flush, then rename

 private:
  [[noreturn]] void fail(const char* action, int error);
  void discard() noexcept;
  std::filesystem::path path_, temporary_;
  int descriptor_ = -1;
};

void write_file_atomically(const std::filesystem::path& path, std::string_view bytes);

// Reads a small text file; throws std::runtime_error when it is larger than max_bytes.
std::string read_text_file(const std::filesystem::path& path, uint64_t max_bytes);

// Reads a JSON file that may be hostile: at most max_bytes long and 32 levels deep.
nlohmann::json read_json_file(const std::filesystem::path& path, uint64_t max_bytes = 64u << 20);

}  // namespace zoo::weights
