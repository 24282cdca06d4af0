#include "weights/zip.h"

#include <algorithm>
#include <stdexcept>

#include "weights/byte_reader.h"

namespace zoo::weights {

// Record layouts and names follow PKWARE's APPNOTE 6.3, sections 4.3.7 to 4.3.16.
namespace zip_detail {

constexpr uint32_t kLocalHeader = 0x04034b50, kCentralHeader = 0x02014b50, kEnd = 0x06054b50,
                   kEnd64 = 0x06064b50, kEnd64Locator = 0x07064b50;
constexpr uint64_t kEndBytes = 22, kLocatorBytes = 20, kMaxComment = 65535;
constexpr uint32_t kIn64 = 0xffffffff;  // the real value is in the zip64 record

struct Directory {
  uint64_t offset = 0, bytes = 0, count = 0;
};

uint64_t find_end_record(const MappedFile& file) {
  if (file.size() < kEndBytes) throw std::runtime_error("too short for a zip archive (truncated?)");
  const uint64_t first = file.size() - std::min(file.size(), kEndBytes + kMaxComment);
  const std::string_view tail = file.bytes(first, file.size() - first);
  const size_t found = tail.rfind(std::string_view("PK\x05\x06", 4), tail.size() - kEndBytes);
  if (found == std::string_view::npos) {
    throw std::runtime_error("the zip directory at the end of the file is missing (truncated?)");
  }
  return first + found;
}

Directory read_end64(const MappedFile& file, uint64_t end_record) {
  if (end_record < kLocatorBytes) throw std::runtime_error("the zip64 locator is missing");
  ByteReader locator(file, end_record - kLocatorBytes, end_record);
  if (locator.number<uint32_t>() != kEnd64Locator) throw std::runtime_error("the zip64 locator is missing");
  locator.take(4);
  const uint64_t position = locator.number<uint64_t>();
  if (position > file.size()) throw std::runtime_error("the zip64 directory lies outside the file");
  ByteReader end(file, position, file.size());
  if (end.number<uint32_t>() != kEnd64) throw std::runtime_error("the zip64 end record is missing");
  end.take(8 + 2 + 2 + 4 + 4 + 8);  // record size, versions, disks, entries on this disk
  Directory directory;
  directory.count = end.number<uint64_t>();
  directory.bytes = end.number<uint64_t>();
  directory.offset = end.number<uint64_t>();
  return directory;
}

Directory find_directory(const MappedFile& file) {
  const uint64_t position = find_end_record(file);
  ByteReader end(file, position, file.size());
  end.take(4 + 2 + 2 + 2);  // signature, disks, entries on this disk
  Directory directory;
  directory.count = end.number<uint16_t>();
  directory.bytes = end.number<uint32_t>();
  directory.offset = end.number<uint32_t>();
  if (directory.count == 0xffff || directory.bytes == kIn64 || directory.offset == kIn64) {
    directory = read_end64(file, position);
  }
  const bool inside = directory.offset <= file.size() && directory.bytes <= file.size() - directory.offset;
  if (!inside) throw std::runtime_error("the zip directory lies outside the file (truncated?)");
  return directory;
}

// The zip64 extra field holds, in this order, those of the values that did not fit 32 bits.
void widen(ByteReader extra, uint64_t& size, uint64_t& stored, uint64_t& local) {
  while (extra.remaining() >= 4) {
    const uint16_t id = extra.number<uint16_t>(), bytes = extra.number<uint16_t>();
    if (id == 1) {
      for (uint64_t* value : {&size, &stored, &local}) {
        if (*value == kIn64) *value = extra.number<uint64_t>();
      }
      return;
    }
    extra.take(bytes);
  }
}

// Name and extra field of the local header may differ in length from the directory's, so it must be read as
// well.
uint64_t data_offset(const MappedFile& file, uint64_t local) {
  if (local > file.size()) throw std::runtime_error("its header lies outside the file");
  ByteReader header(file, local, file.size());
  if (header.number<uint32_t>() != kLocalHeader) throw std::runtime_error("its header is missing");
  header.take(22);
  const uint64_t name = header.number<uint16_t>(), extra = header.number<uint16_t>();
  header.take(name + extra);
  return header.position();
}

ZipEntry read_entry(const MappedFile& file, ByteReader& directory, std::string& name) {
  if (directory.number<uint32_t>() != kCentralHeader)
    throw std::runtime_error("the zip directory is damaged");
  directory.take(4);
  const uint16_t flags = directory.number<uint16_t>(), method = directory.number<uint16_t>();
  directory.take(8);
  uint64_t stored = directory.number<uint32_t>(), size = directory.number<uint32_t>();
  const uint16_t name_bytes = directory.number<uint16_t>(), extra = directory.number<uint16_t>(),
                 comment = directory.number<uint16_t>();
  directory.take(8);
  uint64_t local = directory.number<uint32_t>();
  name = directory.take(name_bytes);
  const uint64_t extra_begin = directory.position();
  directory.take(extra);
  directory.take(comment);
  widen(ByteReader(file, extra_begin, extra_begin + extra), size, stored, local);

  ZipEntry entry{data_offset(file, local), stored, method == 0 && size == stored && (flags & 1) == 0};
  if (stored > file.size() - entry.offset) {
    throw std::runtime_error("reaches beyond the file (truncated?)");
  }
  return entry;
}

}  // namespace zip_detail

ZipArchive::ZipArchive(const MappedFile& file) {
  const zip_detail::Directory directory = zip_detail::find_directory(file);
  ByteReader reader(file, directory.offset, directory.offset + directory.bytes);
  for (uint64_t i = 0; i < directory.count; ++i) {
    std::string name;
    ZipEntry entry;
    try {
      entry = zip_detail::read_entry(file, reader, name);
    } catch (const std::runtime_error& error) {
      throw std::runtime_error("zip entry " + std::to_string(i) + " \"" + name.substr(0, 200) + "\" " +
                               error.what());
    }
    if (!entries_.emplace(name, entry).second) {
      throw std::runtime_error("zip entry \"" + name.substr(0, 200) + "\" is there twice");
    }
  }
}

const ZipEntry* ZipArchive::find(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) return nullptr;
  if (!found->second.plain) {
    throw std::runtime_error("zip entry \"" + name.substr(0, 200) +
                             "\" is compressed or encrypted; torch.save stores its entries as they are");
  }
  return &found->second;
}

}  // namespace zoo::weights
