// Correlation of two lists of numbers, as scipy.stats gives it.
#pragma once
#include <span>
#include <vector>

namespace zoo::app {

// Ranks from 1; equal values share the mean of their ranks.
std::vector<double> average_ranks(std::span<const double> values);
// Both return NaN for fewer than two values, for constant lists and for lists with a value that is not finite.
// They throw std::invalid_argument for lists of different lengths.
double pearson(std::span<const double> a, std::span<const double> b);
double spearman(std::span<const double> a, std::span<const double> b);

}  // namespace zoo::app
