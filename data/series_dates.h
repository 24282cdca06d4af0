// Dates of time series: reading them, the step between them, and what of a date a network is shown.
#pragma once
#include <ATen/ATen.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace zoo::data {

// Seconds since 1970-01-01 00:00 on the clock that the file uses. Dates with an offset (+02:00) are taken to UTC.
using Time = int64_t;

// With slashes the file decides: 3/4/2020 is the 4th of March, unless `day_first`. D.M.YYYY is always the day first.
// Also: YYYY-MM-DD, YYYY/M/D, YYYYMMDD, YYYY-MM, YYYY, YYYYQ3, each with H, H:MM or H:MM:SS after a blank or T, AM or PM,
// fractions of a second that are zero, and Z, UTC or +HH[:MM]. Nothing for all other texts and for days that do not exist.
std::optional<Time> parse_date(std::string_view text, bool day_first = false);
// A number of 10 or 13 digits as Unix seconds or milliseconds; for columns that are called a timestamp.
std::optional<Time> parse_unix_time(std::string_view text);
// Nothing for a day that does not exist.
std::optional<Time> make_time(int64_t year, int64_t month, int64_t day, int64_t hour = 0, int64_t minute = 0, int64_t second = 0);
// "2016-07-01 00:00:00", or "2016-07-01" when `only_day`.
std::string date_text(Time time, bool only_day = false);

// The step of a series.
struct Frequency {
  enum class Unit { second, business_day, month };
  Unit unit = Unit::second;
  int64_t count = 0;       // 0: unknown (fewer than two dates)
  bool month_end = false;  // for months: always the last day

  bool known() const { return count > 0; }
  bool operator==(const Frequency&) const = default;
  std::string name() const;             // "1 hour", "15 minutes", "1 business day", "3 months", "unknown"
  Time advance(Time from, int64_t steps) const;
  // Whole steps from one date to a later one; nothing when they do not lie a whole number of steps apart.
  std::optional<int64_t> steps(Time from, Time to) const;
  double seconds() const;               // about: a month has 30.44 days
  bool whole_days() const;              // dates of such a series need no time of day
};
// What name() writes, or one of second, minute, hour, day, week, month, quarter, year with an optional number.
std::optional<Frequency> parse_frequency(const std::string& name);

// The most common step. `dates` ascend.
Frequency infer_frequency(std::span<const Time> dates);

// Calendar features [N, F] in -0.5 .. 0.5, those of Time-Series-Library's time_features (utils/timefeatures.py):
//   second: second, then as minute     minute: minute, then as hour     hour: hour, then as day
//   day, business_day: weekday, day of month, day of year     week: day of month, week of year     month, quarter, year: month
// Throws std::invalid_argument for another resolution.
at::Tensor calendar_features(std::span<const Time> dates, const std::string& resolution);
int64_t calendar_width(const std::string& resolution);
// The resolution that a step asks for.
std::string calendar_resolution(const Frequency& frequency);
const std::vector<std::string>& calendar_resolutions();

// How many steps until the series is likely to repeat: minutes and hours a day, days a week, months a year; else 1.
int64_t default_season(const Frequency& frequency);

}  // namespace zoo::data
