#include "data/series.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <fstream>
#include <limits>
#include <map>
#include <numeric>
#include <optional>
#include <stdexcept>

#include "data/csv.h"

namespace zoo::data {
namespace series_detail {

constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();

// Thrown when a date can only be meant day first; the file is then read again so.
struct DayFirst {};

std::string trimmed(const std::string& text) {
  const auto begin = text.find_first_not_of(" \t\r");
  return begin == std::string::npos ? "" : text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return char(std::tolower(c)); });
  return text;
}

std::string shown(const std::string& cell) { return "'" + cell.substr(0, 60) + (cell.size() > 60 ? "..." : "") + "'"; }

// "12:00Z", "12:00+02:00", "12:00 UTC"
bool tells_zone(const std::string& date) {
  const auto colon = date.find(':');
  if (colon == std::string::npos) return false;
  const std::string end = lower(trimmed(date.substr(colon)));
  return end.find_first_of("+-") != std::string::npos || end.ends_with("z") || end.ends_with("utc") || end.ends_with("gmt");
}

bool is_missing(const std::string& cell) {
  static const std::vector<std::string> words = {"", "na", "n/a", "nan", "null", "none", "-", "?", "<na>"};
  return cell.size() <= 4 && std::find(words.begin(), words.end(), lower(cell)) != words.end();
}

char delimiter_of(const std::filesystem::path& path, char wanted) {
  if (wanted) return wanted;
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return 0;
  std::ifstream in(path, std::ios::binary);
  std::string line(1 << 16, '\0');
  in.read(line.data(), std::streamsize(line.size()));
  line.resize(size_t(in.gcount()));
  line.resize(std::min(line.find('\n'), line.size()));
  for (const char c : {',', ';', '\t'})
    if (line.find(c) != std::string::npos) return c;
  return 0;
}

// How a row tells its date: one column, or year, month, day, hour, minute (-1: not there).
struct DateColumns {
  int64_t single = -1;
  bool unix_time = false;
  int64_t parts[5] = {-1, -1, -1, -1, -1};
  bool holds(int64_t column) const { return column == single || std::find(std::begin(parts), std::end(parts), column) != std::end(parts); }
};

class Reader {
 public:
  Reader(const std::filesystem::path& path, const SeriesOptions& options, bool day_first)
      : options_(options), day_first_(day_first), csv_(path, delimiter_of(path, options.delimiter)) {
    table_.file = path.string();
  }

  SeriesTable read() {
    read_header();
    std::vector<std::string> record;
    if (!csv_.next(record)) throw std::runtime_error(table_.file + ": holds a header only; rows of dates and numbers are expected");
    find_dates(record);
    choose_columns();
    do take_row(record);
    while (csv_.next(record));
    if (ambiguous_ && !decided_) table_.notes.push_back("dates such as 3/4/2020 are read as month/day/year");
    if (zoned_ > 0 && zoned_ < table_.dates.size())
      table_.notes.push_back(std::to_string(zoned_) + " of " + std::to_string(table_.dates.size()) + " dates tell their time zone, the others none: these are taken as UTC");
    put_in_order();
    table_.frequency = infer_frequency(table_.dates);
    fill_missing();
    report_gaps();
    finish();
    return std::move(table_);
  }

 private:
  std::string at(int64_t line) const { return table_.file + ":" + std::to_string(line) + ": "; }

  void read_header() {
    if (!csv_.next(header_)) throw std::runtime_error(table_.file + ": empty; a header and rows of dates and numbers are expected");
    for (auto& name : header_) name = trimmed(name);
    for (size_t i = 0; i < header_.size(); ++i) {
      const auto again = std::find(header_.begin(), header_.begin() + int64_t(i), header_[i]);
      if (!header_[i].empty() && again != header_.begin() + int64_t(i))
        throw std::invalid_argument(at(1) + "column " + shown(header_[i]) + " comes twice; rename one of them");
    }
    if (std::all_of(header_.begin(), header_.end(), [](const auto& name) { return parse_number(name) || parse_date(name); }))
      throw std::invalid_argument(at(1) + "a header with the columns' names is expected; the first line holds values: " + shown(header_[0]));
  }

  int64_t column_called(const std::string& wanted) const {
    for (size_t i = 0; i < header_.size(); ++i)
      if (lower(header_[i]) == wanted) return int64_t(i);
    return -1;
  }

  // The column's place; an error names the nearest.
  int64_t column(const std::string& wanted) const {
    Table names;
    names.columns = header_;
    names.name = table_.file;
    return int64_t(names.column(wanted));
  }

  bool date_in(const std::string& cell) const {
    return parse_date(cell, day_first_) || parse_date(cell, !day_first_);
  }

  void find_dates(const std::vector<std::string>& first) {
    if (!options_.date_column.empty()) return use_date(column(options_.date_column), first);
    for (const char* name : {"date", "datetime", "timestamp", "date_time", "ds", "time", "day", "utc_timestamp", "period"}) {
      const int64_t found = column_called(name);
      if (found >= 0 && (date_in(first[size_t(found)]) || parse_unix_time(first[size_t(found)]))) return use_date(found, first);
    }
    if (find_parts()) return;
    for (size_t i = 0; i < first.size(); ++i) {
      const bool number = parse_number(trimmed(first[i])).has_value();  // 2010 or 20100101 may be anything
      if (!number && date_in(first[i])) return use_date(int64_t(i), first);
    }
    std::string columns;
    for (const auto& name : header_) columns += (columns.empty() ? "" : ", ") + name.substr(0, 60);
    throw std::invalid_argument(table_.file + ": no column of dates is found (columns: " + columns.substr(0, 600) +
                                "); name it with date_column=NAME, or call it date, with dates such as 2016-07-01 00:00:00");
  }

  void use_date(int64_t place, const std::vector<std::string>& first) {
    dates_.single = place;
    dates_.unix_time = !date_in(first[size_t(place)]) && parse_unix_time(first[size_t(place)]).has_value();
    table_.date_column = header_[size_t(place)];
  }

  bool find_parts() {
    constexpr const char* kNames[] = {"year", "month", "day", "hour", "minute"};
    for (size_t i = 0; i < 5; ++i) dates_.parts[i] = column_called(kNames[i]);
    if (dates_.parts[0] < 0 || dates_.parts[1] < 0) {
      std::fill(std::begin(dates_.parts), std::end(dates_.parts), -1);
      return false;
    }
    table_.date_column = "date";
    return true;
  }

  void choose_columns() {
    if (!options_.columns.empty()) {
      for (const auto& name : options_.columns) {
        const int64_t place = column(name);
        if (dates_.holds(place)) throw std::invalid_argument(table_.file + ": column '" + name + "' holds the dates; it is no series");
        if (std::find(places_.begin(), places_.end(), place) != places_.end())
          throw std::invalid_argument(table_.file + ": column '" + name + "' is named twice");
        places_.push_back(place);
      }
    } else {
      std::vector<int64_t> ignored;
      for (const auto& name : options_.ignore) ignored.push_back(column(name));
      for (int64_t i = 0; i < int64_t(header_.size()); ++i) {
        const bool unnamed = header_[size_t(i)].empty();
        if (unnamed && !dates_.holds(i)) table_.notes.push_back("column " + std::to_string(i + 1) + " has no name and is left out");
        if (!unnamed && !dates_.holds(i) && std::find(ignored.begin(), ignored.end(), i) == ignored.end()) places_.push_back(i);
      }
    }
    for (const int64_t place : places_) table_.columns.push_back(header_[size_t(place)]);
    if (places_.empty()) throw std::invalid_argument(table_.file + ": no column of numbers is left beside the date");
  }

  Time date_of(const std::vector<std::string>& record) {
    if (dates_.single < 0) return date_of_parts(record);
    const std::string& cell = record[size_t(dates_.single)];
    if (dates_.unix_time) {
      if (const auto time = parse_unix_time(cell)) return *time;
    } else if (const auto time = parse_date(cell, day_first_)) {
      zoned_ += tells_zone(cell);
      if (!day_first_ && cell.find('/') != std::string::npos && cell.find('/') < 3) {
        ambiguous_ = ambiguous_ || parse_date(cell, true).has_value();
        decided_ = decided_ || !parse_date(cell, true).has_value();
      }
      return *time;
    } else if (!day_first_ && !decided_ && parse_date(cell, true)) {
      throw DayFirst{};
    }
    throw std::runtime_error(at(csv_.line()) + "column '" + table_.date_column + "': " + shown(cell) +
                             " is not a date (understood: 2016-07-01 13:00:00, 2016/7/1 13:00, 1.7.2016, 2016-07-01T13:00:00Z)");
  }

  Time date_of_parts(const std::vector<std::string>& record) const {
    int64_t values[5] = {0, 1, 1, 0, 0};
    for (size_t i = 0; i < 5; ++i) {
      if (dates_.parts[i] < 0) continue;
      const auto& cell = record[size_t(dates_.parts[i])];
      const auto number = parse_number(trimmed(cell));
      if (!number || *number != std::floor(*number) || std::abs(*number) > 9999)
        throw std::runtime_error(at(csv_.line()) + "column '" + header_[size_t(dates_.parts[i])] + "': " + shown(cell) + " is not a part of a date");
      values[i] = int64_t(*number);
    }
    const auto time = make_time(values[0], values[1], values[2], values[3], values[4]);
    if (!time || values[4] < 0 || values[4] > 59)
      throw std::runtime_error(at(csv_.line()) + "the columns year, month, day, hour, minute hold no date that exists");
    return *time;
  }

  void take_row(const std::vector<std::string>& record) {
    table_.dates.push_back(date_of(record));
    lines_.push_back(csv_.line());
    for (size_t i = 0; i < places_.size(); ++i) values_.push_back(number_in(record[size_t(places_[i])], i));
  }

  double number_in(const std::string& raw, size_t i) {
    double value = 0;
    const auto [end, error] = std::from_chars(raw.data(), raw.data() + raw.size(), value);
    if (error == std::errc() && end == raw.data() + raw.size() && std::isfinite(value)) return value;  // the usual cell
    const std::string cell = trimmed(raw);
    if (is_missing(cell)) {
      if (options_.refuse_missing)
        throw std::runtime_error(at(csv_.line()) + "column '" + table_.columns[i] + "': the value is missing (" + shown(cell) +
                                 "); missing=previous takes the one before it");
      if (++table_.missing == 1) first_missing_text_ = "line " + std::to_string(csv_.line()) + ", column '" + table_.columns[i] + "'";
      return kMissing;
    }
    if (const auto number = parse_number(cell); number && std::isfinite(*number)) return *number;
    const std::string word = lower(cell);
    const bool infinite = word.find("inf") != std::string::npos || error == std::errc::result_out_of_range;
    const char* hint = cell.find(',') != std::string::npos ? "decimals are written with a point, thousands without a separator; " : "";
    throw std::runtime_error(at(csv_.line()) + "column '" + table_.columns[i] + "': " + shown(cell) +
                             (infinite ? " is not finite (" : " is not a number (") + hint + "correct it, or leave the cell empty" +
                             (options_.columns.empty() ? "; or leave the column out with the option ignore=" + table_.columns[i] : "") + ")");
  }

  // Ascending, or sorted where that was asked for; no date twice.
  void put_in_order() {
    const auto& dates = table_.dates;
    for (size_t i = 1; i < dates.size() && !options_.sort; ++i) {
      if (dates[i] > dates[i - 1]) continue;
      if (dates[i] == dates[i - 1]) duplicate(lines_[i], lines_[i - 1], dates[i]);
      throw std::runtime_error(at(lines_[i]) + "the date " + date_text(dates[i]) + " comes after " + date_text(dates[i - 1]) +
                               (zoned_ > 0 ? " in UTC" : "") + "; rows must be in the order of time (the option sort=true sorts them)");
    }
    if (!options_.sort || std::is_sorted(dates.begin(), dates.end(), std::less_equal<>())) return;
    std::vector<size_t> order(dates.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return dates[a] < dates[b]; });
    std::vector<Time> sorted;
    std::vector<double> values;
    for (size_t i = 0; i < order.size(); ++i) {
      if (i > 0 && dates[order[i]] == dates[order[i - 1]]) duplicate(lines_[order[i]], lines_[order[i - 1]], dates[order[i]]);
      sorted.push_back(dates[order[i]]);
      const auto row = values_.begin() + int64_t(order[i] * places_.size());
      values.insert(values.end(), row, row + int64_t(places_.size()));
    }
    if (!std::is_sorted(dates.begin(), dates.end())) table_.notes.push_back("rows were not in the order of time and have been sorted");
    table_.dates = std::move(sorted);
    values_ = std::move(values);
  }

  [[noreturn]] void duplicate(int64_t line, int64_t earlier, Time date) const {
    throw std::runtime_error(at(line) + "the date " + date_text(date) + " is that of line " + std::to_string(earlier) +
                             " already; each date may come once (remove or average such rows; local clocks repeat an hour in autumn: use UTC)");
  }

  void fill_missing() {
    if (table_.missing == 0) return;
    const size_t width = places_.size(), rows = table_.dates.size();
    int64_t leading = 0;
    for (size_t c = 0; c < width; ++c) {
      size_t known = 0;
      while (known < rows && std::isnan(values_[known * width + c])) ++known;
      if (known == rows) throw std::runtime_error(table_.file + ": column '" + table_.columns[c] + "' holds no value at all (leave it out with ignore=" + table_.columns[c] + ")");
      leading += int64_t(known);
      for (size_t r = 0; r < known; ++r) values_[r * width + c] = values_[known * width + c];
      for (size_t r = known + 1; r < rows; ++r) {
        double& value = values_[r * width + c];
        if (std::isnan(value)) value = values_[(r - 1) * width + c];
      }
    }
    table_.notes.push_back(std::to_string(table_.missing) + " missing values, the first at " + first_missing_text_ + ", take the value before them" +
                           (leading > 0 ? " (" + std::to_string(leading) + " at the start: the first one that is known)" : "") +
                           "; missing=refuse makes them an error");
  }

  void report_gaps() {
    const auto& frequency = table_.frequency;
    int64_t irregular = 0;
    size_t first = 0;
    for (size_t i = 1; i < table_.dates.size(); ++i) {
      const auto steps = frequency.steps(table_.dates[i - 1], table_.dates[i]);
      if (steps == 1) continue;
      if (table_.gaps++ == 0) first = i;
      if (steps) table_.gap_steps += *steps - 1;
      else ++irregular;
    }
    if (table_.gaps == 0) return;
    std::string place = "the first after " + date_text(table_.dates[first - 1]);
    if (!options_.sort) place += " (line " + std::to_string(lines_[first - 1]) + ")";  // sorting has moved the rows
    const std::string what = std::to_string(table_.gaps) + " jumps in the dates (step: " + frequency.name() + "), " + place + "; " +
                             std::to_string(table_.gap_steps) + " rows are lacking" +
                             (irregular > 0 ? ", and " + std::to_string(irregular) + " dates do not lie a whole number of steps apart" : "");
    if (options_.gaps == SeriesOptions::Gaps::refuse) throw std::runtime_error(table_.file + ": " + what + " (gaps=keep or gaps=fill accept them)");
    if (options_.gaps == SeriesOptions::Gaps::fill && irregular > 0) throw std::runtime_error(table_.file + ": " + what + ", so gaps=fill cannot fill them");
    table_.notes.push_back(what + (options_.gaps == SeriesOptions::Gaps::fill ? "; they were filled with the row before" : "; rows count as if they followed each other (gaps=fill fills them)"));
    if (options_.gaps == SeriesOptions::Gaps::fill) fill_gaps();
  }

  void fill_gaps() {
    const size_t width = places_.size();
    if (table_.gap_steps > 10 * table_.rows() + 1000)
      throw std::runtime_error(table_.file + ": gaps=fill would add " + std::to_string(table_.gap_steps) + " rows to " + std::to_string(table_.rows()) + "; that is no gap any more");
    std::vector<Time> dates;
    std::vector<double> values;
    for (size_t i = 0; i < table_.dates.size(); ++i) {
      const auto row = values_.begin() + int64_t(i * width);
      const int64_t copies = i + 1 < table_.dates.size() ? *table_.frequency.steps(table_.dates[i], table_.dates[i + 1]) : 1;
      for (int64_t k = 0; k < copies; ++k) {
        dates.push_back(table_.frequency.advance(table_.dates[i], k));
        values.insert(values.end(), row, row + int64_t(width));
      }
    }
    table_.dates = std::move(dates);
    values_ = std::move(values);
  }

  void finish() {
    const int64_t rows = table_.rows(), width = int64_t(places_.size());
    table_.values = at::from_blob(values_.data(), {rows, width}, at::kDouble).clone();
    if (rows < 2) return;
    const at::Tensor flat = table_.values.eq(table_.values[0]).all(0);
    std::string constant;
    for (int64_t c = 0; c < width; ++c)
      if (flat[c].item<bool>()) constant += (constant.empty() ? "'" : ", '") + table_.columns[size_t(c)] + "'";
    if (!constant.empty()) table_.notes.push_back("constant, so without anything to learn: " + constant);
  }

  const SeriesOptions options_;
  const bool day_first_;
  CsvReader csv_;
  SeriesTable table_;
  std::vector<std::string> header_;
  DateColumns dates_;
  std::vector<int64_t> places_, lines_;
  std::vector<double> values_;  // row-major
  std::string first_missing_text_;
  bool ambiguous_ = false, decided_ = false;
  size_t zoned_ = 0;  // dates that tell their time zone
};

}  // namespace series_detail

SeriesTable read_series(const std::filesystem::path& path, const SeriesOptions& options) {
  try {
    return series_detail::Reader(path, options, /*day_first=*/false).read();
  } catch (const series_detail::DayFirst&) {
    return series_detail::Reader(path, options, /*day_first=*/true).read();
  }
}

}  // namespace zoo::data
