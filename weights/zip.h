// Zip archives as torch.save writes them: entries stored without compression, zip64 where needed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>

#include "weights/files.h"

namespace zoo::weights {

struct ZipEntry {
  uint64_t offset = 0;  // of the data, in bytes from the start of the file
  uint64_t size = 0;
};

// Reads the directory of the archive; the data stays in the file. Throws std::runtime_error for anything that is not a
// complete archive of stored, unencrypted entries that lie inside the file.
class ZipArchive {
 public:
  explicit ZipArchive(const MappedFile& file);
  const std::unordered_map<std::string, ZipEntry>& entries() const { return entries_; }
  const ZipEntry* find(const std::string& name) const;  // nullptr when there is none

 private:
  std::unordered_map<std::string, ZipEntry> entries_;
};

}  // namespace zoo::weights
