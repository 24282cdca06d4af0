#include "app/report/published.h"

#include <algorithm>
#include <cctype>
#include <vector>

namespace zoo::app {
namespace published_detail {

bool same_name(const std::string& a, const std::string& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

std::vector<std::string> config_keys(const Json& card, const std::string& name) {
  const Json series = card.value("series", Json::object());
  const auto keys = series.find(name);
  return keys != series.end() && keys->is_array() ? keys->get<std::vector<std::string>>() : std::vector<std::string>{name};
}

bool holds(const Json& card, const Json& config, const Json& setting) {
  for (const auto& [name, value] : setting.items()) {
    const auto keys = config_keys(card, name);
    const bool equal = std::any_of(keys.begin(), keys.end(), [&](const auto& key) { return config.contains(key) && config[key] == value; });
    if (!equal) return false;
  }
  return true;
}

}  // namespace published_detail

Json published_figures(const Json& card, const Json& config, const std::string& data) {
  namespace d = published_detail;
  Json figures = Json::object();
  for (const auto& entry : card.value("published", Json::array())) {
    if (!d::same_name(entry.at("data").get<std::string>(), data)) continue;
    if (d::holds(card, config, entry.value("setting", Json::object()))) figures[entry.at("metric").get<std::string>()] = entry.at("value");
  }
  return figures;
}

}  // namespace zoo::app
