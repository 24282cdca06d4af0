#include "weights/files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace zoo::weights {
namespace fs = std::filesystem;

namespace files_detail {

constexpr int kMaxJsonDepth = 32;

struct Descriptor {
  int value;
  ~Descriptor() {
    if (value >= 0) ::close(value);
  }
};

[[noreturn]] void fail_to(const char* action, const fs::path& path, int error) {
  throw std::runtime_error(path.string() + ": cannot " + action + ": " + std::strerror(error));
}

// The folder's entry must reach the disk too, or a power cut can undo the rename. Best effort: some file
// systems refuse to sync a folder.
void sync_folder(const fs::path& folder) {
  Descriptor handle{::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (handle.value >= 0) ::fsync(handle.value);
}

fs::path temporary_name(const fs::path& path) {
  static std::atomic<unsigned> counter{0};
  fs::path name = path;
  name += ".tmp." + std::to_string(::getpid()) + "." + std::to_string(counter++);
  return name;
}

}  // namespace files_detail

std::shared_ptr<const MappedFile> MappedFile::open(const fs::path& path) {
  std::shared_ptr<MappedFile> mapped(new MappedFile);
  mapped->path_ = path;
  // O_NONBLOCK: opening a pipe would otherwise wait for its writer before it can be refused.
  mapped->descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (mapped->descriptor_ < 0) files_detail::fail_to("open", path, errno);
  struct stat status {};
  if (::fstat(mapped->descriptor_, &status) != 0) files_detail::fail_to("open", path, errno);
  if (!S_ISREG(status.st_mode)) throw std::runtime_error(path.string() + ": not a regular file");
  mapped->size_ = static_cast<uint64_t>(status.st_size);
  if (mapped->size_ == 0) return mapped;
  // MAP_NORESERVE: a model larger than free memory may still be read page by page.
  void* data = ::mmap(nullptr, mapped->size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE,
                      mapped->descriptor_, 0);
  if (data == MAP_FAILED) files_detail::fail_to("map", path, errno);
  mapped->data_ = static_cast<std::byte*>(data);
  return mapped;
}

MappedFile::~MappedFile() {
  if (data_) ::munmap(data_, size_);
  if (descriptor_ >= 0) ::close(descriptor_);
}

void MappedFile::read(uint64_t offset, void* to, uint64_t count) const {
  bytes(offset, count);  // checks the range
  char* next = static_cast<char*>(to);
  while (count > 0) {
    const ssize_t got =
        ::pread(descriptor_, next, std::min<uint64_t>(count, 1u << 30), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) files_detail::fail_to("read", path_, errno);
    if (got == 0) throw std::runtime_error(path_.string() + ": became shorter while it was read");
    next += got;
    offset += static_cast<uint64_t>(got);
    count -= static_cast<uint64_t>(got);
  }
}

std::string_view MappedFile::bytes(uint64_t offset, uint64_t count) const {
  if (offset > size_ || count > size_ - offset) {
    throw std::runtime_error(path_.string() + ": bytes " + std::to_string(offset) + " to +" +
                             std::to_string(count) + " lie outside the file of " + std::to_string(size_) +
                             " bytes (truncated?)");
  }
  return {reinterpret_cast<const char*>(data_) + offset, static_cast<size_t>(count)};
}

AtomicFile::AtomicFile(const fs::path& path) : path_(path), temporary_(files_detail::temporary_name(path)) {
  descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (descriptor_ < 0) files_detail::fail_to("create", path_, errno);
}

AtomicFile::~AtomicFile() { discard(); }

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::move(other.temporary_)),
      descriptor_(std::exchange(other.descriptor_, -1)) {
  other.temporary_.clear();
}

void AtomicFile::discard() noexcept {
  if (descriptor_ >= 0) ::close(std::exchange(descriptor_, -1));
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
  temporary_.clear();
}

void AtomicFile::fail(const char* action, int error) {
  discard();
  throw std::runtime_error(
      path_.string() + ": cannot " + action + ": " + std::strerror(error) +
      " (the temporary file is removed; a file of this name that was there is unchanged)");
}

void AtomicFile::reserve(uint64_t bytes) {
  if (bytes == 0) return;
  if (::fallocate(descriptor_, 0, 0, static_cast<off_t>(bytes)) == 0) return;
  if (errno == ENOSPC || errno == EFBIG || errno == EDQUOT) fail("reserve disk space", errno);
}

void AtomicFile::write(const void* data, size_t bytes) {
  constexpr size_t kChunk = size_t{1} << 30;  // one write call moves at most 2 GiB on Linux
  const char* next = static_cast<const char*>(data);
  while (bytes > 0) {
    ssize_t written = ::write(descriptor_, next, std::min(bytes, kChunk));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("write", errno);
    if (written == 0) fail("write", ENOSPC);
    next += written;
    bytes -= static_cast<size_t>(written);
  }
}

void AtomicFile::flush() {
  if (::fsync(descriptor_) != 0 && errno != EINVAL && errno != EROFS) fail("flush to disk", errno);
}

void AtomicFile::commit() {
  flush();
  // Network file systems report a full disk only here.
  if (::close(std::exchange(descriptor_, -1)) != 0) fail("close", errno);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail("rename into place", errno);
  temporary_.clear();
  files_detail::sync_folder(path_.parent_path());
}

void write_file_atomically(const fs::path& path, std::string_view bytes) {
  AtomicFile file(path);
  file.write(bytes.data(), bytes.size());
  file.commit();
}

std::string read_text_file(const fs::path& path, uint64_t max_bytes) {
  auto file = MappedFile::open(path);
  if (file->size() > max_bytes) {
    throw std::runtime_error(path.string() + ": " + std::to_string(file->size()) + " bytes; at most " +
                             std::to_string(max_bytes) + " are expected in such a file");
  }
  return std::string(file->bytes(0, file->size()));
}

nlohmann::json read_json_file(const fs::path& path, uint64_t max_bytes) {
  const std::string text = read_text_file(path, max_bytes);
  auto watch_depth = [&](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
    if (depth > files_detail::kMaxJsonDepth) {
      throw std::runtime_error(path.string() + ": JSON nested deeper than " +
                               std::to_string(files_detail::kMaxJsonDepth) + " levels");
    }
    return true;
  };
  try {
    return nlohmann::json::parse(text, watch_depth);
  } catch (const nlohmann::json::exception& error) {
    throw std::runtime_error(path.string() + ": not valid JSON: " + error.what());
  }
}

}  // namespace zoo::weights
