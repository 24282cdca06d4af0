#include "data/series_split.h"

#include <algorithm>
#include <optional>
#include <stdexcept>

namespace zoo::data {
namespace series_split_detail {

using Json = nlohmann::ordered_json;

[[noreturn]] void fail(const SeriesTable& series, const std::string& what) { throw std::invalid_argument(series.file + ": split: " + what); }

std::string parts_text(const Borders& b) {
  return std::to_string(b.train) + " / " + std::to_string(b.validation - b.train) + " / " + std::to_string(b.test - b.validation) + " rows";
}

// Rows of a month of 30 days; nothing for steps of a day and more.
std::optional<int64_t> month_rows(const SeriesTable& series) {
  const auto& frequency = series.frequency;
  if (frequency.unit != Frequency::Unit::second || !frequency.known() || frequency.count >= 86400 || 86400 % frequency.count != 0) return std::nullopt;
  return 30 * (86400 / frequency.count);
}

// As the published loaders cut: the test part and the training part are rounded down, the rest chooses.
Borders by_ratio(const SeriesTable& series, double train, double test) {
  const int64_t rows = series.rows(), first = int64_t(double(rows) * train), last = int64_t(double(rows) * test);
  Borders borders{first, rows - last, rows, ""};
  borders.rule = "by ratio: " + parts_text(borders);
  return borders;
}

Borders by_months(const SeriesTable& series) {
  const auto month = month_rows(series);
  if (!month) fail(series, "rule ett needs steps that divide a day; this file's step is " + series.frequency.name() + " (use \"ratio\")");
  if (series.rows() < 20 * *month) {
    fail(series, "rule ett needs 20 months of 30 days, " + std::to_string(20 * *month) + " rows at a step of " + series.frequency.name() +
                     "; the file has " + std::to_string(series.rows()) + " (use \"ratio\", or \"ett_or_ratio\")");
  }
  Borders borders{12 * *month, 16 * *month, 20 * *month, ""};
  borders.rule = "12, 4 and 4 months of 30 days: " + parts_text(borders);
  return borders;
}

Borders by_numbers(const SeriesTable& series, const Json& rule) {
  for (const char* key : {"train", "validation", "test"}) {
    if (!rule.contains(key) || !rule.at(key).is_number() || !(rule.at(key).get<double>() >= 0))
      fail(series, "an object of numbers needs train, validation and test, each a count of rows or each a share; seen " + rule.dump());
  }
  const double train = rule.at("train"), validation = rule.at("validation"), test = rule.at("test");
  if (train + validation + test <= 1.0 + 1e-9) {
    if (train + validation + test < 1.0 - 1e-9) fail(series, "the shares add up to " + std::to_string(train + validation + test) + "; expected 1");
    return by_ratio(series, train, test);
  }
  for (const char* key : {"train", "validation", "test"}) {
    if (!rule.at(key).is_number_integer() || rule.at(key).get<double>() > 1e12) fail(series, std::string(key) + " is " + rule.at(key).dump() + "; expected a whole number of rows");
  }
  Borders borders{int64_t(train), int64_t(train + validation), int64_t(train + validation + test), ""};
  if (borders.test > series.rows())
    fail(series, "train + validation + test is " + std::to_string(borders.test) + " rows; the file has " + std::to_string(series.rows()));
  borders.rule = "by rows: " + parts_text(borders);
  return borders;
}

int64_t row_of(const SeriesTable& series, const Json& rule, const char* key) {
  const auto time = rule.at(key).is_string() ? parse_date(rule.at(key).get<std::string>()) : std::nullopt;
  if (!time) fail(series, std::string(key) + " is " + rule.at(key).dump().substr(0, 80) + "; expected a date such as \"2017-07-01\"");
  return std::lower_bound(series.dates.begin(), series.dates.end(), *time) - series.dates.begin();
}

Borders by_dates(const SeriesTable& series, const Json& rule) {
  for (const char* key : {"validation", "test"})
    if (!rule.contains(key)) fail(series, std::string("dates need \"validation\" and \"test\", where each part begins; ") + key + " is missing");
  Borders borders{row_of(series, rule, "validation"), row_of(series, rule, "test"), series.rows(), ""};
  if (rule.contains("end")) borders.test = row_of(series, rule, "end");
  if (borders.train <= 0 || borders.validation < borders.train || borders.test < borders.validation)
    fail(series, "the dates " + rule.dump() + " are not in order within the file, which runs from " + date_text(series.dates.front()) + " to " +
                     date_text(series.dates.back()));
  borders.rule = "by dates: " + parts_text(borders);
  return borders;
}

}  // namespace series_split_detail

Borders split_series(const SeriesTable& series, const nlohmann::ordered_json& rule) {
  namespace d = series_split_detail;
  if (rule.is_object()) {
    const bool dates = std::any_of(rule.begin(), rule.end(), [](const auto& value) { return value.is_string(); });
    for (const auto& [key, value] : rule.items())
      if (key != "train" && key != "validation" && key != "test" && !(dates && key == "end"))
        d::fail(series, "unknown key '" + key.substr(0, 80) + "'; known: train, validation, test" + (dates ? ", end" : ""));
    return dates ? d::by_dates(series, rule) : d::by_numbers(series, rule);
  }
  const std::string name = rule.is_string() ? rule.get<std::string>() : "";
  if (name == "ratio") return d::by_ratio(series, 0.7, 0.2);
  if (name == "ett") return d::by_months(series);
  if (name == "ett_or_ratio") {
    const auto month = d::month_rows(series);
    const bool fits = month && series.rows() >= 20 * *month && series.rows() <= 30 * *month;
    return fits ? d::by_months(series) : d::by_ratio(series, 0.7, 0.2);
  }
  d::fail(series, "is " + rule.dump().substr(0, 120) + "; expected \"ratio\", \"ett\", \"ett_or_ratio\", numbers of rows or dates "
                  "(docs/forecasting.md)");
}

}  // namespace zoo::data
