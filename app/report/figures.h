// Figures: what tasks' metrics are called, which way is better, how they are printed, mean and deviation.
#pragma once
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "models/model.h"

namespace zoo::app {

enum class Better { unknown, higher, lower };
// By the last words of the name: "mse", "validation.mae" lower; "accuracy", "macro_f1" higher; "samples" unknown.
Better better(const std::string& metric);
// Whether it is a share between 0 and 1 that people read in percent.
bool is_share(const std::string& metric);

// Every number of an object, objects in it by their dotted path: {"mse": 1, "naive": {"last": {"mse": 2}}} gives "mse" and
// "naive.last.mse".
std::vector<std::pair<std::string, double>> flat_figures(const Json& metrics);
std::optional<double> figure(const Json& metrics, const std::string& dotted);

std::string figure_text(double value);  // four decimals from 0.01 to 1000, whole numbers without, else four significant digits

struct Spread {
  double mean = 0, deviation = 0;  // the sample's (n - 1); 0 for one value
  size_t count = 0;
};
Spread spread(const std::vector<double>& values);
std::string deviation_text(const Spread& spread);  // with the decimals of the mean; empty for one value
std::string spread_text(const Spread& spread);     // "0.3861 ± 0.0012"; without deviation where all values are alike

}  // namespace zoo::app
