// Time series from CSV files: a column of dates and columns of numbers.
#pragma once
#include <ATen/ATen.h>

#include <filesystem>
#include <string>
#include <vector>

#include "data/series_dates.h"

namespace zoo::data {

struct SeriesOptions {
  std::string date_column;            // empty: found by name (date, timestamp, ...), else the first column of dates
  std::vector<std::string> columns = {};  // to read, in this order; empty: all beside the date
  std::vector<std::string> ignore = {};   // not to read
  bool sort = false;                  // put unsorted rows in order instead of refusing them
  bool refuse_missing = false;        // an empty, NA or NaN cell is an error instead of the value before it
  enum class Gaps { keep, fill, refuse } gaps = Gaps::keep;  // keep: rows count as if nothing were missing between them
  char delimiter = 0;                 // 0: found in the first line (comma, semicolon, tab)
  bool operator==(const SeriesOptions&) const = default;
};

struct SeriesTable {
  std::string file, date_column;
  std::vector<std::string> columns;
  std::vector<Time> dates;            // ascending, none twice
  at::Tensor values;                  // [N, C] double, finite
  Frequency frequency;
  int64_t missing = 0, gaps = 0, gap_steps = 0;  // cells that were filled; jumps between dates and the rows that they lack
  std::vector<std::string> notes;     // what a user must know: filled cells, gaps, constant columns ...

  int64_t rows() const { return int64_t(dates.size()); }
};

// Reads a .csv or .tsv once, row by row; memory is that of the numbers. Dates: see parse_date; also columns
// year, month, day, hour, minute. Missing: empty, NA, N/A, NaN, null, none, -, ?.
// Throws std::runtime_error that names file, line and column for cells that are no number or not finite, dates that are none,
// come twice or go back; std::invalid_argument for columns that are not there (with the nearest) or named twice.
SeriesTable read_series(const std::filesystem::path& path, const SeriesOptions& options = {});

}  // namespace zoo::data
