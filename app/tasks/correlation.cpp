#include "app/tasks/correlation.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <string>

namespace zoo::app {
namespace correlation_detail {

bool all_finite(std::span<const double> values) {
  return std::all_of(values.begin(), values.end(), [](double value) { return std::isfinite(value); });
}

double mean(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / double(values.size());
}

}  // namespace correlation_detail

std::vector<double> average_ranks(std::span<const double> values) {
  std::vector<int64_t> order(values.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (size_t begin = 0, end; begin < order.size(); begin = end) {
    for (end = begin + 1; end < order.size() && values[order[end]] == values[order[begin]];) ++end;
    for (size_t i = begin; i < end; ++i) ranks[order[i]] = (double(begin + 1) + double(end)) / 2;
  }
  return ranks;
}

double pearson(std::span<const double> a, std::span<const double> b) {
  if (a.size() != b.size())
    throw std::invalid_argument("correlation of " + std::to_string(a.size()) + " and " + std::to_string(b.size()) + " values");
  constexpr double undefined = std::numeric_limits<double>::quiet_NaN();
  if (a.size() < 2 || !correlation_detail::all_finite(a) || !correlation_detail::all_finite(b)) return undefined;
  const double mean_a = correlation_detail::mean(a), mean_b = correlation_detail::mean(b);
  double products = 0, squares_a = 0, squares_b = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double x = a[i] - mean_a, y = b[i] - mean_b;
    products += x * y;
    squares_a += x * x;
    squares_b += y * y;
  }
  if (squares_a == 0 || squares_b == 0) return undefined;
  return std::clamp(products / (std::sqrt(squares_a) * std::sqrt(squares_b)), -1.0, 1.0);
}

double spearman(std::span<const double> a, std::span<const double> b) {
  if (a.size() != b.size() || !correlation_detail::all_finite(a) || !correlation_detail::all_finite(b)) return pearson(a, b);
  return pearson(average_ranks(a), average_ranks(b));
}

}  // namespace zoo::app
