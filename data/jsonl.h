// JSON Lines: one JSON object a line, UTF-8 (jsonlines.org).
#pragma once
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

namespace zoo::data {

struct JsonRow {
  int64_t line;  // from 1, for messages
  nlohmann::ordered_json value;
};

// Blank lines, a byte order mark and carriage returns at line ends are passed over. `limit` > 0 stops after
// that many rows. Throws std::runtime_error that names file and line: unreadable, not UTF-8 JSON, not an
// object, nested deeper than 64 levels, longer than 16 MiB, or no row at all.
std::vector<JsonRow> read_jsonl(const std::filesystem::path& path, int64_t limit = 0);

}  // namespace zoo::data
