// Which rows of a series are learned from, choose the checkpoint, and measure it.
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "data/series.h"

namespace zoo::data {

// Rows [0, train) to learn from, [train, validation) to choose by, [validation, test) to measure on. Windows of the last two
// begin a lookback before their border, so that their first forecast is of the border's row.
struct Borders {
  int64_t train = 0, validation = 0, test = 0;
  std::string rule;  // in words, for the log
};

// `rule` is one of
//   "ratio"                                    70 / 10 / 20 % of the rows; {"train": 0.6, "validation": 0.2, "test": 0.2} other shares
//   "ett"                                      12, 4 and 4 months of 30 days (Zhou et al., 2021); the rest is not used
//   "ett_or_ratio"                             ett for steps below a day and 20 to 30 such months of data, else ratio
//   {"train": 8640, "validation": 2880, "test": 2880}                   rows
//   {"validation": "2017-07-01", "test": "2017-11-01", "end": "..."}    dates on which a part begins; "end" may be left out
// Throws std::invalid_argument that says what the file has and what the rule needs.
Borders split_series(const SeriesTable& series, const nlohmann::ordered_json& rule);

}  // namespace zoo::data
