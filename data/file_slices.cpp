#include "data/file_slices.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace zoo::data {

FileSlices::FileSlices(const std::filesystem::path& path) : name_(path.string()), descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
  struct stat status {};
  if (descriptor_ < 0 || ::fstat(descriptor_, &status) != 0) {
    const std::string why = std::strerror(errno);
    if (descriptor_ >= 0) ::close(descriptor_);
    throw std::runtime_error(name_ + ": cannot be opened (" + why + ")");
  }
  bytes_ = status.st_size;
  changed_ = status.st_mtim;
}

FileSlices::~FileSlices() { ::close(descriptor_); }

void FileSlices::check_unchanged() const {
  struct stat status {};
  const bool same = ::fstat(descriptor_, &status) == 0 && status.st_size == bytes_ && status.st_mtim.tv_sec == changed_.tv_sec &&
                    status.st_mtim.tv_nsec == changed_.tv_nsec;
  if (!same) throw std::runtime_error(name_ + ": was changed while it was in use (its rows are read from the file as they are needed; leave it alone until the end)");
}

std::string FileSlices::read(int64_t index) const {
  check_unchanged();
  const auto place = static_cast<size_t>(index);
  const int64_t begin = offsets_.at(place), end = place + 1 < offsets_.size() ? offsets_[place + 1] : end_ >= 0 ? end_ : bytes_;
  std::string bytes(static_cast<size_t>(end - begin), '\0');
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t count = ::pread(descriptor_, bytes.data() + done, bytes.size() - done, begin + static_cast<int64_t>(done));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) throw std::runtime_error(name_ + ": reading failed (" + (count < 0 ? std::strerror(errno) : "the file has become shorter") + ")");
    done += static_cast<size_t>(count);
  }
  return bytes;
}

}  // namespace zoo::data
