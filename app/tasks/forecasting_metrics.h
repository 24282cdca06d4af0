// Errors of forecasts: on scaled values, as the literature reports them, and in the data's own units.
#pragma once
#include "app/tasks/task.h"

namespace zoo::app {

// Over all windows, steps and columns: mse, mae, rmse, mape, mase; for networks that give a density nll and crps; the same
// of "the last value" and "a season ago" under naive; original.* in the data's units.
std::unique_ptr<Metrics> forecasting_metrics(const Bundle& bundle);

// The last Ct columns of a network's forecast: one that forecasts all its inputs is cut to those that count. Throws
// std::runtime_error for another shape.
at::Tensor forecast_of(const Tensors& outputs, const at::Tensor& target);

// Mean squared (mse), absolute (mae) or Huber error (delta), or -log p(target) where the network gives a density.
at::Tensor forecasting_loss(const Tensors& outputs, const Tensors& batch, const Json& options);

}  // namespace zoo::app
