// Forecasts beside what came, for the report of a network that forecasts.
#pragma once
#include <vector>

#include "app/report/svg.h"
#include "app/tasks/task.h"

namespace zoo::app {

// Up to six windows spread over the data (each of another target column, where there are several): what was given, what came,
// what was forecast, in the units that the network sees. Empty for data without a "target" and networks without a "forecast".
std::vector<Plot> forecast_plots(const Task& task, const Bundle& bundle, const Dataset& data);

// Metrics::details() of a forecasting task: {"per_step": [{"step", "mse", "mae"}]} as a plot of errors by steps ahead, or none.
std::vector<Plot> error_plots(const Json& details);

}  // namespace zoo::app
