#include "data/jsonl.h"

#include <stdexcept>
#include <string>
#include <utility>

#include "data/text_lines.h"

namespace zoo::data {
namespace jsonl_detail {

constexpr int kDeepest = 64;

// nlohmann reads and frees nested values without recursion, but whoever walks the result recurses.
nlohmann::ordered_json parse(const std::string& line, const TextLines& lines) {
  bool too_deep = false;
  const auto watch = [&](int depth, nlohmann::ordered_json::parse_event_t, nlohmann::ordered_json&) {
    too_deep = too_deep || depth > kDeepest;
    return !too_deep;
  };
  nlohmann::ordered_json value;
  try {
    value = nlohmann::ordered_json::parse(line, watch);
  } catch (const nlohmann::json::exception& error) {
    lines.fail(std::string("not JSON: ") + error.what());
  }
  if (too_deep) lines.fail("nested deeper than " + std::to_string(kDeepest) + " levels");
  if (!value.is_object())
    lines.fail(std::string("is ") + value.type_name() + "; one JSON object a line was expected");
  return value;
}

}  // namespace jsonl_detail

std::vector<JsonRow> read_jsonl(const std::filesystem::path& path, int64_t limit) {
  TextLines lines(path);
  std::vector<JsonRow> rows;
  std::string line;
  while ((limit <= 0 || static_cast<int64_t>(rows.size()) < limit) && lines.next(line)) {
    if (line.find_first_not_of(" \t") == std::string::npos) continue;
    rows.push_back({lines.number(), jsonl_detail::parse(line, lines)});
  }
  if (rows.empty()) throw std::runtime_error(path.string() + ": empty; one JSON object a line was expected");
  return rows;
}

}  // namespace zoo::data
