#include "data/series_dates.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <map>
#include <numeric>
#include <stdexcept>

namespace zoo::data {
namespace series_dates_detail {

namespace chrono = std::chrono;
constexpr Time kDay = 86400;

int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }

struct Civil {
  int64_t year, month, day, hour, minute, second, weekday, day_of_year;  // weekday 0: Monday; day_of_year from 1
};

Civil civil(Time time) {
  const int64_t days = floor_div(time, kDay), rest = time - days * kDay;
  const chrono::sys_days date{chrono::days{days}};
  const chrono::year_month_day ymd{date};
  const auto first = chrono::sys_days{ymd.year() / chrono::January / 1};
  return {int(ymd.year()), unsigned(ymd.month()), unsigned(ymd.day()), rest / 3600, rest / 60 % 60, rest % 60,
          int64_t(chrono::weekday{date}.iso_encoding()) - 1, (date - first).count() + 1};
}

int64_t days_in_month(int64_t year, int64_t month) {
  return unsigned(chrono::year_month_day_last{chrono::year{int(year)} / chrono::month{unsigned(month)} / chrono::last}.day());
}

// ISO 8601: the week of the year's first Thursday is week 1.
int64_t iso_week(const Civil& date) {
  const int64_t week = (date.day_of_year - 1 - date.weekday + 10) / 7;
  const auto long_year = [](int64_t year) {  // has 53 weeks
    const auto first = civil(*make_time(year, 1, 1)).weekday, last = civil(*make_time(year, 12, 31)).weekday;
    return first == 3 || last == 3;
  };
  if (week < 1) return long_year(date.year - 1) ? 53 : 52;
  return week == 53 && !long_year(date.year) ? 1 : week;
}

// Reads a date from left to right.
class Cursor {
 public:
  explicit Cursor(std::string_view text) : rest_(text) {}
  bool done() const { return rest_.empty(); }
  char peek() const { return rest_.empty() ? '\0' : rest_.front(); }
  bool take(char c) {
    if (peek() != c || rest_.empty()) return false;
    rest_.remove_prefix(1);
    return true;
  }
  bool take_word(std::string_view word) {
    if (rest_.size() < word.size()) return false;
    for (size_t i = 0; i < word.size(); ++i)
      if (std::toupper(static_cast<unsigned char>(rest_[i])) != word[i]) return false;
    rest_.remove_prefix(word.size());
    return true;
  }
  void blanks() {
    while (take(' ')) {
    }
  }
  // `low` to `high` digits.
  std::optional<int64_t> number(size_t low, size_t high) {
    const size_t length = digits();
    if (length < low || length > high) return std::nullopt;
    int64_t value = 0;
    std::from_chars(rest_.data(), rest_.data() + length, value);
    rest_.remove_prefix(length);
    return value;
  }
  size_t digits() const {
    size_t n = 0;
    while (n < rest_.size() && rest_[n] >= '0' && rest_[n] <= '9') ++n;
    return n;
  }

 private:
  std::string_view rest_;
};

struct Day {
  int64_t year = 0, month = 1, day = 1;
};

std::optional<Day> year_first(Cursor& in) {
  Day date;
  date.year = *in.number(4, 4);
  if (in.take('Q') || in.take('q')) {
    const auto quarter = in.number(1, 1);
    if (!quarter || *quarter < 1 || *quarter > 4) return std::nullopt;
    date.month = 3 * *quarter - 2;
    return date;
  }
  const char separator = in.peek();
  if (separator != '-' && separator != '/' && separator != '.') return date;
  in.take(separator);
  if (in.take('Q') || in.take('q')) {
    const auto quarter = in.number(1, 1);
    if (!quarter || *quarter < 1 || *quarter > 4) return std::nullopt;
    date.month = 3 * *quarter - 2;
    return date;
  }
  const auto month = in.number(1, 2);
  if (!month) return std::nullopt;
  date.month = *month;
  if (!in.take(separator)) return date;
  const auto day = in.number(1, 2);
  if (!day) return std::nullopt;
  date.day = *day;
  return date;
}

std::optional<Day> year_last(Cursor& in, bool day_first) {
  const auto first = in.number(1, 2);
  const char separator = in.peek();
  if (!first || (separator != '.' && separator != '/' && separator != '-')) return std::nullopt;
  in.take(separator);
  const auto second = in.number(1, 2);
  if (!second || !in.take(separator)) return std::nullopt;
  const auto year = in.number(4, 4);
  if (!year) return std::nullopt;
  const bool day_leads = day_first || separator == '.';
  return Day{*year, day_leads ? *second : *first, day_leads ? *first : *second};
}

std::optional<Day> day_of(Cursor& in, bool day_first) {
  if (in.digits() == 8) {
    const auto number = in.number(8, 8);
    return Day{*number / 10000, *number / 100 % 100, *number % 100};
  }
  return in.digits() == 4 ? year_first(in) : year_last(in, day_first);
}

// "H", "H:MM", "H:MM:SS", "H:MM:SS.000", with AM or PM: seconds of the day.
std::optional<Time> time_of(Cursor& in) {
  auto hour = in.number(1, 2);
  std::optional<int64_t> minute = 0, second = 0;
  if (!hour) return std::nullopt;
  if (in.take(':')) {
    minute = in.number(2, 2);
    if (minute && in.take(':')) second = in.number(2, 2);
  }
  if (!minute || !second || *minute > 59 || *second > 59) return std::nullopt;
  if (in.take('.') || in.take(',')) {
    const auto fraction = in.number(1, 9);
    if (!fraction || *fraction != 0) return std::nullopt;
  }
  in.blanks();
  const bool am = in.take_word("AM"), pm = !am && in.take_word("PM");
  if ((am || pm) && (*hour < 1 || *hour > 12)) return std::nullopt;
  if (am || pm) hour = *hour % 12 + (pm ? 12 : 0);
  if (*hour > 24 || (*hour == 24 && (*minute || *second))) return std::nullopt;
  return *hour * 3600 + *minute * 60 + *second;
}

// Seconds east of Greenwich.
std::optional<Time> offset_of(Cursor& in) {
  in.blanks();
  if (in.done() || in.take_word("Z") || in.take_word("UTC") || in.take_word("GMT")) return 0;
  const bool west = in.take('-');
  if (!west && !in.take('+')) return std::nullopt;
  const bool together = in.digits() == 4;
  auto hours = in.number(1, 4);
  if (!hours) return std::nullopt;
  int64_t minutes = 0;
  if (together) minutes = *hours % 100, hours = *hours / 100;
  if (!together && in.take(':')) {
    const auto more = in.number(2, 2);
    if (!more) return std::nullopt;
    minutes = *more;
  }
  if (*hours > 18 || minutes > 59) return std::nullopt;
  return (west ? -1 : 1) * (*hours * 3600 + minutes * 60);
}

std::string_view trimmed(std::string_view text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

int64_t month_number(Time time) {
  const auto date = civil(time);
  return date.year * 12 + date.month - 1;
}

// Months of at least 28 days each, always on one day of the month or always on the last.
std::optional<Frequency> monthly(std::span<const Time> dates, Time common_step) {
  if (common_step < 28 * kDay) return std::nullopt;
  const auto first = civil(dates[0]);
  bool same_day = true, month_end = true;
  std::map<int64_t, int64_t> counts;
  for (size_t i = 0; i < dates.size(); ++i) {
    const auto date = civil(dates[i]);
    same_day &= date.day == first.day;
    month_end &= date.day == days_in_month(date.year, date.month);
    if (i > 0) ++counts[month_number(dates[i]) - month_number(dates[i - 1])];
  }
  if ((!same_day && !month_end) || counts.contains(0)) return std::nullopt;
  const auto common = std::max_element(counts.begin(), counts.end(), [](auto& a, auto& b) { return a.second < b.second; })->first;
  return Frequency{Frequency::Unit::month, common, month_end && !same_day};
}

int64_t business_days_since_epoch(Time time) {
  const int64_t days = floor_div(time, kDay) + 3;  // 1970-01-01 was a Thursday
  return floor_div(days, 7) * 5 + std::min<int64_t>(days - floor_div(days, 7) * 7, 5);
}

bool business_days(std::span<const Time> dates) {
  bool weekend_skipped = false;
  for (size_t i = 0; i < dates.size(); ++i) {
    if (civil(dates[i]).weekday > 4 || floor_div(dates[i], kDay) * kDay != dates[i]) return false;
    weekend_skipped |= i > 0 && dates[i] - dates[i - 1] == 3 * kDay;
  }
  return weekend_skipped;
}

const std::array<std::pair<const char*, int64_t>, 5> kUnits = {{{"week", 7 * kDay}, {"day", kDay}, {"hour", 3600}, {"minute", 60}, {"second", 1}}};

std::string counted(int64_t count, const std::string& unit) { return std::to_string(count) + " " + unit + (count == 1 ? "" : "s"); }

}  // namespace series_dates_detail

std::optional<Time> make_time(int64_t year, int64_t month, int64_t day, int64_t hour, int64_t minute, int64_t second) {
  namespace c = std::chrono;
  if (year < 1 || year > 9999 || month < 1 || month > 12 || day < 1 || day > 31 || hour < 0 || hour > 24) return std::nullopt;
  const c::year_month_day date{c::year{int(year)}, c::month{unsigned(month)}, c::day{unsigned(day)}};
  if (!date.ok()) return std::nullopt;
  return Time(c::sys_days{date}.time_since_epoch().count()) * 86400 + hour * 3600 + minute * 60 + second;
}

std::optional<Time> parse_date(std::string_view text, bool day_first) {
  namespace d = series_dates_detail;
  text = d::trimmed(text);
  if (text.size() < 4 || text.size() > 48) return std::nullopt;
  d::Cursor in(text);
  const auto day = d::day_of(in, day_first);
  if (!day) return std::nullopt;
  const auto midnight = make_time(day->year, day->month, day->day);
  if (!midnight || in.done()) return midnight;
  if (!in.take('T') && !in.take('t') && !in.take(' ')) return std::nullopt;
  in.blanks();
  const auto seconds = d::time_of(in);
  if (!seconds) return std::nullopt;
  const auto offset = d::offset_of(in);
  in.blanks();
  if (!offset || !in.done()) return std::nullopt;
  return *midnight + *seconds - *offset;
}

std::optional<Time> parse_unix_time(std::string_view text) {
  text = series_dates_detail::trimmed(text);
  series_dates_detail::Cursor in(text);
  if (text.size() != 10 && text.size() != 13) return std::nullopt;
  const auto number = in.number(10, 13);
  if (!number || !in.done()) return std::nullopt;
  return text.size() == 13 ? *number / 1000 : *number;
}

std::string date_text(Time time, bool only_day) {
  const auto date = series_dates_detail::civil(time);
  std::array<char, 64> text;
  const int length = std::snprintf(text.data(), text.size(), "%04d-%02d-%02d", int(date.year), int(date.month), int(date.day));
  if (only_day) return {text.data(), size_t(length)};
  std::array<char, 32> clock;
  std::snprintf(clock.data(), clock.size(), " %02d:%02d:%02d", int(date.hour), int(date.minute), int(date.second));
  return std::string(text.data(), size_t(length)) + clock.data();
}

// ---- frequency ----

std::string Frequency::name() const {
  namespace d = series_dates_detail;
  if (!known()) return "unknown";
  if (unit == Unit::business_day) return d::counted(count, "business day");
  if (unit == Unit::month) {
    const std::string end = month_end ? " (last day)" : "";
    if (count % 12 == 0) return d::counted(count / 12, "year") + end;
    return (count % 3 == 0 ? d::counted(count / 3, "quarter") : d::counted(count, "month")) + end;
  }
  for (const auto& [word, length] : d::kUnits)
    if (count % length == 0) return d::counted(count / length, word);
  return d::counted(count, "second");
}

std::optional<Frequency> parse_frequency(const std::string& name) {
  namespace d = series_dates_detail;
  std::string text = name;
  Frequency result;
  if (const auto end = text.find(" (last day)"); end != std::string::npos) text.resize(end), result.month_end = true;
  int64_t number = 1;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc() && (number < 1 || number > 1000000)) return std::nullopt;
  std::string word(error == std::errc() ? rest : text.data());
  word.erase(0, std::min(word.find_first_not_of(' '), word.size()));
  if (word.size() > 1 && word.back() == 's') word.pop_back();
  result.count = number;
  if (word == "business day") result.unit = Frequency::Unit::business_day;
  else if (word == "month" || word == "quarter" || word == "year") {
    result.unit = Frequency::Unit::month;
    result.count *= word == "year" ? 12 : word == "quarter" ? 3 : 1;
  } else {
    const auto found = std::find_if(d::kUnits.begin(), d::kUnits.end(), [&](const auto& item) { return word == item.first; });
    if (found == d::kUnits.end()) return std::nullopt;
    result.count *= found->second;
  }
  if (result.month_end && result.unit != Frequency::Unit::month) return std::nullopt;
  return result;
}

Time Frequency::advance(Time from, int64_t steps) const {
  namespace d = series_dates_detail;
  if (unit == Unit::second) return from + steps * count;
  if (unit == Unit::month) {
    const auto date = d::civil(from);
    const int64_t month = d::month_number(from) + steps * count, last = d::days_in_month(d::floor_div(month, 12), month % 12 + 1);
    const auto day = make_time(d::floor_div(month, 12), month % 12 + 1, month_end ? last : std::min(date.day, last));
    if (!day) throw std::invalid_argument("a date after " + date_text(from) + " would lie beyond the year 9999");
    return *day + (from - d::floor_div(from, d::kDay) * d::kDay);
  }
  Time time = from;
  for (int64_t left = steps * count; left > 0;) {
    time += d::kDay;
    left -= d::civil(time).weekday < 5;
  }
  return time;
}

std::optional<int64_t> Frequency::steps(Time from, Time to) const {
  namespace d = series_dates_detail;
  if (!known()) return std::nullopt;
  const int64_t units = unit == Unit::second ? to - from
                        : unit == Unit::month ? d::month_number(to) - d::month_number(from)
                                              : d::business_days_since_epoch(to) - d::business_days_since_epoch(from);
  if (units % count != 0) return std::nullopt;
  if (unit != Unit::second && advance(from, units / count) != to) {
    // Clipped to a short month: the 28th of February follows the 31st of January, and the 31st of March follows it.
    const auto a = d::civil(from), b = d::civil(to);
    const bool clipped = unit == Unit::month && a.day == d::days_in_month(a.year, a.month) && b.day >= a.day;
    if (!clipped) return std::nullopt;
  }
  return units / count;
}

double Frequency::seconds() const {
  return unit == Unit::second ? double(count) : unit == Unit::month ? double(count) * 2629746.0 : double(count) * 86400.0 * 1.4;
}

bool Frequency::whole_days() const { return unit != Unit::second || count % 86400 == 0; }

Frequency infer_frequency(std::span<const Time> dates) {
  namespace d = series_dates_detail;
  if (dates.size() < 2) return {};
  std::map<Time, int64_t> counts;
  for (size_t i = 1; i < dates.size(); ++i) ++counts[dates[i] - dates[i - 1]];
  const Time common = std::max_element(counts.begin(), counts.end(), [](auto& a, auto& b) { return a.second < b.second; })->first;
  if (const auto months = d::monthly(dates, common)) return *months;
  if (common == d::kDay && d::business_days(dates)) return {Frequency::Unit::business_day, 1};
  return {Frequency::Unit::second, common};
}

// ---- calendar ----

const std::vector<std::string>& calendar_resolutions() {
  static const std::vector<std::string> names = {"second", "minute", "hour", "day", "business_day", "week", "month", "quarter", "year"};
  return names;
}

int64_t calendar_width(const std::string& resolution) {
  static const std::map<std::string, int64_t> widths = {{"second", 6}, {"minute", 5}, {"hour", 4}, {"day", 3}, {"business_day", 3},
                                                        {"week", 2}, {"month", 1}, {"quarter", 1}, {"year", 1}};
  const auto found = widths.find(resolution);
  if (found != widths.end()) return found->second;
  std::string known;
  for (const auto& name : calendar_resolutions()) known += (known.empty() ? "" : ", ") + name;
  throw std::invalid_argument("calendar is '" + resolution.substr(0, 80) + "'; expected one of " + known);
}

at::Tensor calendar_features(std::span<const Time> dates, const std::string& resolution) {
  namespace d = series_dates_detail;
  const int64_t width = calendar_width(resolution);
  at::Tensor result = at::empty({int64_t(dates.size()), width}, at::kFloat);
  float* out = result.mutable_data_ptr<float>();
  for (const Time time : dates) {
    const auto c = d::civil(time);
    const auto put = [&](int64_t value, int64_t highest) { *out++ = float(double(value) / double(highest) - 0.5); };
    if (width >= 6) put(c.second, 59);
    if (width >= 5) put(c.minute, 59);
    if (width >= 4) put(c.hour, 23);
    if (width >= 3) put(c.weekday, 6), put(c.day - 1, 30), put(c.day_of_year - 1, 365);
    if (width == 2) put(c.day - 1, 30), put(d::iso_week(c) - 1, 52);
    if (width == 1) put(c.month - 1, 11);
  }
  return result;
}

std::string calendar_resolution(const Frequency& frequency) {
  if (!frequency.known()) return "hour";
  if (frequency.unit == Frequency::Unit::business_day) return "business_day";
  if (frequency.unit == Frequency::Unit::month) return frequency.count % 12 == 0 ? "year" : frequency.count % 3 == 0 ? "quarter" : "month";
  const int64_t step = frequency.count;
  if (step % 60 != 0) return "second";
  if (step % 3600 != 0) return "minute";
  if (step % 86400 != 0) return "hour";
  return step % (7 * 86400) == 0 ? "week" : "day";
}

int64_t default_season(const Frequency& frequency) {
  if (!frequency.known()) return 1;
  if (frequency.unit == Frequency::Unit::business_day) return frequency.count == 1 ? 5 : 1;
  if (frequency.unit == Frequency::Unit::month) return 12 % frequency.count == 0 ? 12 / frequency.count : 1;
  const int64_t step = frequency.count, day = 86400;
  if (step < day) return day % step == 0 ? day / step : 1;
  return step == day ? 7 : step == 7 * day ? 52 : 1;
}

}  // namespace zoo::data
