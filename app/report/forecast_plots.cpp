#include "app/report/forecast_plots.h"

#include <algorithm>
#include <array>

#include "app/tasks/text_batches.h"

namespace zoo::app {
namespace forecast_plots_detail {

constexpr int64_t kWindows = 6;

// A column [T] as points from x = first on.
Series curve(const std::string& name, const at::Tensor& column, int64_t first, int colour) {
  Series series{name, {}, false, colour};
  const at::Tensor values = column.to(at::kCPU, at::kDouble).contiguous();
  for (int64_t i = 0; i < values.size(0); ++i) series.points.emplace_back(static_cast<double>(first + i), values.data_ptr<double>()[i]);
  return series;
}

bool is_series(const Tensors& tensors, const char* name) {
  const auto found = tensors.find(name);
  return found != tensors.end() && found->second.defined() && found->second.dim() == 3;
}

// The data's own words for a window, else its number.
std::string title_of(const Dataset& data, int64_t index) {
  const std::string words = data.describe(index);
  return words == std::to_string(index) ? "window " + words : words;
}

// Targets stand last among the columns, both of the series and of the forecast.
Plot window_plot(const Tensors& batch, const at::Tensor& forecast, int64_t target_column, const std::string& title) {
  const at::Tensor& target = batch.at("target");
  const int64_t from_end = target.size(2) - target_column;
  Plot plot{title, "steps ahead", {}};
  if (is_series(batch, "series") && batch.at("series").size(2) >= from_end) {
    const at::Tensor& series = batch.at("series");
    plot.series.push_back(curve("given", series[0].select(1, series.size(2) - from_end), 1 - series.size(1), 4));
  }
  plot.series.push_back(curve("came", target[0].select(1, target_column), 1, 0));
  plot.series.push_back(curve("forecast", forecast[0].select(1, forecast.size(2) - from_end), 1, 1));
  return plot;
}

}  // namespace forecast_plots_detail

std::vector<Plot> forecast_plots(const Task& task, const Bundle& bundle, const Dataset& data) {
  namespace d = forecast_plots_detail;
  const at::NoGradGuard no_grad;
  std::vector<Plot> plots;
  const int64_t windows = std::min(d::kWindows, data.size());
  for (int64_t i = 0; i < windows; ++i) {
    const std::array<int64_t, 1> index = {windows > 1 ? i * (data.size() - 1) / (windows - 1) : 0};
    const Tensors batch = data.get(index, /*training=*/false, 0);
    if (!d::is_series(batch, "target")) return {};
    const Tensors outputs = task.forward(*bundle.model, to_device(batch, bundle.device));
    if (!d::is_series(outputs, "forecast") || outputs.at("forecast").size(2) < batch.at("target").size(2)) return {};
    const int64_t columns = batch.at("target").size(2), column = columns - 1 - i % columns;
    const std::string which = columns > 1 ? ", target " + std::to_string(column + 1) + " of " + std::to_string(columns) : "";
    plots.push_back(d::window_plot(batch, outputs.at("forecast"), column, d::title_of(data, index[0]) + which));
  }
  return plots;
}

std::vector<Plot> error_plots(const Json& details) {
  const auto steps = details.find("per_step");
  if (steps == details.end() || !steps->is_array() || steps->size() < 2) return {};
  Plot plot{"error by steps ahead", "steps ahead", {{"mse", {}}, {"mae", {}}}};
  for (const auto& step : *steps) {
    for (auto& series : plot.series) {
      if (step.contains(series.name) && step[series.name].is_number()) series.points.emplace_back(step.value("step", 0), step[series.name].get<double>());
    }
  }
  return {plot};
}

}  // namespace zoo::app
