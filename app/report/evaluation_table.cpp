#include "app/report/evaluation_table.h"

#include <algorithm>

#include "app/report/figures.h"
#include "app/report/progress.h"

namespace zoo::app {
namespace evaluation_table_detail {

std::string number_text(double value, bool exact) { return exact ? Json(value).dump() : figure_text(value); }

// For people the first line of a message, and not all of it if it is long: the log and the JSON have the rest.
std::string error_text(const std::string& message, bool exact) {
  constexpr size_t kMost = 120;
  if (exact) return message;
  const std::string line = message.substr(0, message.find('\n'));
  return line.size() <= kMost ? line : line.substr(0, kMost) + " ...";
}

// Of the figures in groups people need those of the naive forecasts, which say what the others are worth.
bool is_baseline(const std::string& name) {
  return (name.starts_with("naive.last.") || name.starts_with("naive.seasonal.")) && (name.ends_with(".mse") || name.ends_with(".mae"));
}

std::vector<std::string> metrics_of(const Json& results, bool exact) {
  std::vector<std::string> names;
  for (const auto& result : results) {
    for (const auto& [name, value] : flat_figures(result.value("metrics", Json()))) {
      const bool wanted = name != "samples" && (exact || name.find('.') == std::string::npos || is_baseline(name));
      if (wanted && std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    }
  }
  return names;
}

bool any_published(const Json& results, const std::string& metric) {
  return std::any_of(results.begin(), results.end(), [&](const Json& result) { return figure(result.value("published", Json()), metric).has_value(); });
}

std::string cell(const Json& result, const char* part, const std::string& metric, bool exact) {
  const auto value = figure(result.value(part, Json()), metric);
  return value ? number_text(*value, exact) : "";
}

}  // namespace evaluation_table_detail

Table evaluation_table(const Json& results, bool exact) {
  namespace d = evaluation_table_detail;
  const auto metrics = d::metrics_of(results, exact);
  const bool failed = std::any_of(results.begin(), results.end(), [](const Json& result) { return result.contains("error"); });
  std::vector<Column> columns{{"checkpoint"}, {"data"}};
  for (const auto& metric : metrics) {
    columns.push_back({metric, true});
    if (d::any_published(results, metric)) columns.push_back({"paper's " + metric, true});
  }
  columns.push_back({"samples", true}), columns.push_back({exact ? "seconds" : "time", true});
  if (failed) columns.push_back({"error"});
  Table table(columns);
  for (const auto& result : results) {
    std::vector<std::string> row{result.value("model", ""), result.value("data_name", "")};
    for (const auto& metric : metrics) {
      row.push_back(d::cell(result, "metrics", metric, exact));
      if (d::any_published(results, metric)) row.push_back(d::cell(result, "published", metric, exact));
    }
    const bool measured = result.contains("metrics");
    row.push_back(measured ? result.at("samples").dump() : "");
    row.push_back(!measured ? "" : exact ? result.at("seconds").dump() : duration_text(result.at("seconds").get<double>()));
    if (failed) row.push_back(d::error_text(result.value("error", ""), exact));
    table.add(std::move(row));
  }
  return table;
}

}  // namespace zoo::app
