#include "data/indicators.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

namespace zoo::data {
namespace indicators_detail {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

void check(const Prices& price, int period, int least, const char* what) {
  if (period < least) {
    throw std::invalid_argument(std::string(what) + ": period is " + std::to_string(period) + "; expected " + std::to_string(least) + " or more");
  }
  for (size_t i = 0; i < price.size(); ++i) {
    if (!std::isfinite(price[i])) {
      throw std::invalid_argument(std::string(what) + ": price " + std::to_string(i) + " is " + std::to_string(price[i]) +
                                  "; expected a finite number (fill or drop missing values first)");
    }
  }
}

// The average of price[from ...], placed as in the whole series.
Prices exponential_from(const Prices& price, size_t from, size_t period) {
  Prices out(price.size(), kNaN);
  if (from + period > price.size()) return out;
  double average = 0.0;
  for (size_t i = from; i < from + period; ++i) average += price[i];
  average /= static_cast<double>(period);
  out[from + period - 1] = average;
  for (size_t i = from + period; i < price.size(); ++i) {
    average += (price[i] - average) * 2.0 / static_cast<double>(period + 1);
    out[i] = average;
  }
  return out;
}

Prices minus(const Prices& a, const Prices& b) {
  Prices out(a.size());
  for (size_t i = 0; i < a.size(); ++i) out[i] = a[i] - b[i];
  return out;
}

const std::vector<std::string>& with_period() {
  static const std::vector<std::string> names = {"rsi", "sma", "ema", "bollinger_upper", "bollinger_middle", "bollinger_lower"};
  return names;
}

[[noreturn]] void unknown(const std::string& name) {
  std::string known;
  for (const auto& each : indicator_names()) known += (known.empty() ? "" : ", ") + each;
  throw std::invalid_argument("unknown indicator '" + name.substr(0, 80) + "'; known: " + known + " (other periods from 2 to 10000 too)");
}

// "sma_20" -> ("sma", 20); "macd_signal" -> ("macd_signal", 0)
std::pair<std::string, int> parse(const std::string& name) {
  const auto bar = name.rfind('_');
  const std::string tail = bar == std::string::npos ? "" : name.substr(bar + 1);
  const bool digits = !tail.empty() && tail.size() <= 5 && tail.find_first_not_of("0123456789") == std::string::npos;
  if (!digits) {
    if (name == "macd" || name == "macd_signal" || name == "macd_histogram") return {name, 0};
    unknown(name);
  }
  const int period = std::stoi(tail);
  const auto stem = name.substr(0, bar);
  const auto& known = with_period();
  if (period < 2 || period > 10000 || std::find(known.begin(), known.end(), stem) == known.end()) unknown(name);
  return {stem, period};
}

Prices column(const Prices& price, const std::string& stem, int period) {
  if (stem == "macd") return moving_average_convergence(price).line;
  if (stem == "macd_signal") return moving_average_convergence(price).signal;
  if (stem == "macd_histogram") return moving_average_convergence(price).histogram;
  if (stem == "rsi") return relative_strength_index(price, period);
  if (stem == "sma") return simple_moving_average(price, period);
  if (stem == "ema") return exponential_moving_average(price, period);
  auto bands = bollinger_bands(price, period);
  return stem == "bollinger_upper" ? bands.upper : stem == "bollinger_middle" ? bands.middle : bands.lower;
}

}  // namespace indicators_detail

Prices simple_moving_average(const Prices& price, int period) {
  indicators_detail::check(price, period, 1, "simple moving average");
  const size_t n = static_cast<size_t>(period);
  Prices out(price.size(), indicators_detail::kNaN);
  for (size_t i = n - 1; i < price.size(); ++i) {  // summed afresh, so that errors do not pile up over a long series
    double sum = 0.0;
    for (size_t j = i + 1 - n; j <= i; ++j) sum += price[j];
    out[i] = sum / period;
  }
  return out;
}

Prices exponential_moving_average(const Prices& price, int period) {
  indicators_detail::check(price, period, 1, "exponential moving average");
  return indicators_detail::exponential_from(price, 0, static_cast<size_t>(period));
}

Prices relative_strength_index(const Prices& price, int period) {
  indicators_detail::check(price, period, 2, "relative strength index");
  const size_t n = static_cast<size_t>(period);
  Prices out(price.size(), indicators_detail::kNaN);
  double gain = 0.0, loss = 0.0;
  for (size_t i = 1; i < price.size(); ++i) {
    const double change = price[i] - price[i - 1], up = std::max(change, 0.0), down = std::max(-change, 0.0);
    if (i <= n) {
      gain += up / period;
      loss += down / period;
    } else {
      gain += (up - gain) / period;
      loss += (down - loss) / period;
    }
    if (i >= n) out[i] = gain + loss > 0.0 ? 100.0 * gain / (gain + loss) : 0.0;
  }
  return out;
}

Macd moving_average_convergence(const Prices& price, int fast, int slow, int signal) {
  namespace d = indicators_detail;
  for (const int period : {fast, signal}) d::check(price, period, 1, "moving average convergence");
  if (slow <= fast) {
    throw std::invalid_argument("moving average convergence: slow period is " + std::to_string(slow) + "; expected more than the fast one, " +
                                std::to_string(fast));
  }
  const size_t lead = static_cast<size_t>(slow - fast), first = static_cast<size_t>(slow - 1);
  Macd out;
  out.line = d::minus(d::exponential_from(price, lead, static_cast<size_t>(fast)), d::exponential_from(price, 0, static_cast<size_t>(slow)));
  out.signal = d::exponential_from(out.line, first, static_cast<size_t>(signal));
  // All three begin where the signal does.
  const size_t warm_up = std::min(price.size(), first + static_cast<size_t>(signal) - 1);
  std::fill(out.line.begin(), out.line.begin() + static_cast<std::ptrdiff_t>(warm_up), d::kNaN);
  out.histogram = d::minus(out.line, out.signal);
  return out;
}

Bands bollinger_bands(const Prices& price, int period, double width) {
  indicators_detail::check(price, period, 2, "Bollinger bands");
  Bands out;
  out.middle = simple_moving_average(price, period);
  out.upper = out.lower = Prices(price.size(), indicators_detail::kNaN);
  const size_t n = static_cast<size_t>(period);
  for (size_t i = n - 1; i < price.size(); ++i) {
    double squares = 0.0;
    for (size_t j = i + 1 - n; j <= i; ++j) squares += (price[j] - out.middle[i]) * (price[j] - out.middle[i]);
    const double deviation = std::sqrt(squares / period);
    out.upper[i] = out.middle[i] + width * deviation;
    out.lower[i] = out.middle[i] - width * deviation;
  }
  return out;
}

std::vector<std::string> indicator_names() {
  return {"rsi_14", "macd", "macd_signal", "macd_histogram", "sma_20", "ema_20", "bollinger_upper_20", "bollinger_middle_20", "bollinger_lower_20"};
}

std::vector<std::pair<std::string, Prices>> indicator_columns(const Prices& price, const std::vector<std::string>& names) {
  std::vector<std::pair<std::string, Prices>> columns;
  for (const auto& name : names) {
    const auto [stem, period] = indicators_detail::parse(name);
    auto values = indicators_detail::column(price, stem, period);
    if (values.empty() || std::isnan(values.back())) {
      throw std::invalid_argument("indicator '" + name + "': the series has only " + std::to_string(price.size()) +
                                  " prices, too few for a first value (choose a shorter period or a longer series)");
    }
    columns.emplace_back(name, std::move(values));
  }
  return columns;
}

}  // namespace zoo::data
