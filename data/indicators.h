// Technical indicators of a price series, as TA-Lib computes them (its figures are in tests/fixtures/files/indicators.json).
//
// Every function returns one value per price. Values before the indicator has seen enough prices are NaN; how many is said at
// each. A period below 1 (RSI: below 2; Bollinger bands: below 2), and a price that is not finite, is a std::invalid_argument
// that names the value and its place.
#pragma once
#include <string>
#include <utility>
#include <vector>

namespace zoo::data {

using Prices = std::vector<double>;

// Mean of the last `period` prices. NaN: period - 1.
Prices simple_moving_average(const Prices& price, int period);

// e += (p - e) * 2 / (period + 1), starting from the mean of the first `period` prices. NaN: period - 1.
Prices exponential_moving_average(const Prices& price, int period);

// Relative strength index of Wilder (1978), 0 to 100: averages of gains and losses start from the mean of the first `period`
// changes and decay by 1 / period. 0 where the price never moved. NaN: period.
Prices relative_strength_index(const Prices& price, int period = 14);

// Difference of a fast and a slow exponential average, its own exponential average (signal), and the difference of both.
// Both averages start at the same price. NaN in all three: slow + signal - 2.
struct Macd {
  Prices line, signal, histogram;
};
Macd moving_average_convergence(const Prices& price, int fast = 12, int slow = 26, int signal = 9);

// Simple moving average, and `width` standard deviations (of the population) above and below. NaN: period - 1.
struct Bands {
  Prices upper, middle, lower;
};
Bands bollinger_bands(const Prices& price, int period = 20, double width = 2.0);

// The names that indicator_columns understands with their usual periods: "rsi_14", "macd", "macd_signal", "macd_histogram",
// "sma_20", "ema_20", "bollinger_upper_20", ... Any period from 2 to 10000 may stand behind the last underscore.
std::vector<std::string> indicator_names();

// One column per name, for a price column. Throws std::invalid_argument for an unknown name (it lists the known ones), and
// when a name's warm-up is longer than the series.
std::vector<std::pair<std::string, Prices>> indicator_columns(const Prices& price, const std::vector<std::string>& names);

}  // namespace zoo::data
