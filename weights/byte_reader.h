// Little-endian numbers and byte ranges out of a mapped file, never past its end.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

#include "weights/files.h"

namespace zoo::weights {

class ByteReader {
 public:
  ByteReader(const MappedFile& file, uint64_t begin, uint64_t end)
      : file_(&file), position_(begin), end_(end) {
    file.bytes(begin, end - begin);  // throws when the range is not inside the file
  }

  uint64_t position() const { return position_; }
  uint64_t remaining() const { return end_ - position_; }

  std::string_view take(uint64_t count) {
    if (count > remaining()) {
      throw std::runtime_error("ends in the middle of a record: " + std::to_string(count) +
                               " bytes wanted at byte " + std::to_string(position_) + ", " +
                               std::to_string(remaining()) + " left (truncated?)");
    }
    const std::string_view bytes = file_->bytes(position_, count);
    position_ += count;
    return bytes;
  }

  template <class Number>
  Number number() {
    Number value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }

  // The bytes before the next line feed, which is skipped.
  std::string_view line() {
    const std::string_view rest = file_->bytes(position_, remaining());
    const size_t length = rest.find('\n');
    if (length == std::string_view::npos)
      throw std::runtime_error("ends in the middle of a line (truncated?)");
    position_ += length + 1;
    return rest.substr(0, length);
  }

 private:
  const MappedFile* file_;
  uint64_t position_, end_;
};

}  // namespace zoo::weights
