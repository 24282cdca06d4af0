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
  bool plain = true;    // stored as it is, neither compressed nor encrypted
};

// Reads the directory of the archive; the data stays in the file. Throws std::runtime_error unless it is a
// complete archive whose entries lie inside the file.
class ZipArchive {
 public:
  explicit ZipArchive(const MappedFile& file);
  const std::unordered_map<std::string, ZipEntry>& entries() const { return entries_; }
  // nullptr when there is none; throws when the entry is not plain.
  const ZipEntry* find(const std::string& name) const;

 private:
  std::unordered_map<std::string, ZipEntry> entries_;
};

}  // namespace zoo::weights
