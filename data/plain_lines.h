// All lines of a text file, blank ones too, for files whose line n belongs to another file's line n.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace zoo::data {

// Lines without their ends (LF or CRLF) and without a leading byte order mark; gzip files (.gz) are unpacked. `limit`: only the
// first so many; 0: all. Throws std::runtime_error that names the file: it cannot be read, is no regular file, is damaged, holds a
// zero byte (a binary file) or has a line longer than 64 MiB.
std::vector<std::string> read_lines(const std::filesystem::path& path, int64_t limit = 0);

}  // namespace zoo::data
