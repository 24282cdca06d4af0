#include "app/command_options.h"

#include <algorithm>

#include "app/cli.h"

namespace zoo::app {

Json parse_assignments(const std::vector<std::string>& words) {
  Json options = Json::object();
  for (const auto& word : words) {
    const size_t equals = word.find('=');
    if (equals == std::string::npos || equals == 0)
      throw UsageError("--option '" + word.substr(0, 80) + "'; expected key=value, such as max_length=128");
    std::string key = word.substr(0, equals);
    std::replace(key.begin(), key.end(), '-', '_');
    if (options.contains(key)) throw UsageError("--option " + key + " is given twice");
    const std::string text = word.substr(equals + 1);
    // Long texts are no numbers or flags, and hostile nesting must not reach the parser.
    Json value = text.size() <= 4096 ? Json::parse(text, nullptr, /*allow_exceptions=*/false) : Json(text);
    options[key] = value.is_discarded() ? Json(text) : std::move(value);
  }
  return options;
}

}  // namespace zoo::app
