#include "app/json_file.h"

#include <set>

#include "weights/files.h"

namespace zoo::app {
namespace json_file_detail {

constexpr int kMaxDepth = 32;
constexpr uint64_t kMaxBytes = 64u << 20;

// Called by the parser for each piece of the text; throws at the first thing that a careless reader would let pass.
struct Watch {
  std::vector<std::set<std::string>> open_objects;

  bool operator()(int depth, Json::parse_event_t event, Json& value) {
    if (depth > kMaxDepth) throw std::runtime_error("nested deeper than " + std::to_string(kMaxDepth) + " levels");
    if (event == Json::parse_event_t::object_start) open_objects.emplace_back();
    if (event == Json::parse_event_t::object_end) open_objects.pop_back();
    if (event == Json::parse_event_t::key) {
      const auto key = value.get<std::string>();
      if (!open_objects.back().insert(key).second) throw std::runtime_error("key \"" + key.substr(0, 80) + "\" occurs twice");
    }
    return true;
  }
};

}  // namespace json_file_detail

Json read_json(const std::filesystem::path& path) {
  const std::string text = weights::read_text_file(path, json_file_detail::kMaxBytes);
  try {
    json_file_detail::Watch watch;
    return Json::parse(text, [&watch](int depth, Json::parse_event_t event, Json& value) { return watch(depth, event, value); });
  } catch (const std::exception& error) {
    throw std::runtime_error(path.string() + ": not a usable JSON file: " + error.what());
  }
}

}  // namespace zoo::app
