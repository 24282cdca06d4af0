#include "app/tasks/forecasting_metrics.h"

#include <array>
#include <cmath>

#include "app/cli.h"
#include "app/tasks/forecasting_data.h"
#include "app/tasks/student_t.h"

namespace zoo::app {
namespace forecasting_metrics_detail {

Json number_or_null(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

double ratio(double sum, double count) { return count > 0 ? sum / count : std::nan(""); }

double sum_of(const at::Tensor& values) { return values.sum().item<double>(); }

// Sums of errors, from which the figures follow exactly.
struct Errors {
  double count = 0, squared = 0, absolute = 0, percent = 0, percent_count = 0, scaled = 0, scaled_count = 0;

  // seasonal_error [Ct], 0 where a column's training part repeats itself exactly (no MASE there); undefined: no MASE.
  void add(const at::Tensor& forecast, const at::Tensor& target, const at::Tensor& seasonal_error = {}) {
    const at::Tensor error = (forecast - target).abs();
    count += double(error.numel());
    squared += sum_of(error.square());
    absolute += sum_of(error);
    const at::Tensor nonzero = target.ne(0);
    percent += sum_of(at::where(nonzero, error / target.abs(), at::zeros_like(error)));
    percent_count += double(nonzero.sum().item<int64_t>());
    if (!seasonal_error.defined()) return;
    const at::Tensor usable = seasonal_error.gt(0).expand_as(error);
    scaled += sum_of(at::where(usable, error / seasonal_error, at::zeros_like(error)));
    scaled_count += double(usable.sum().item<int64_t>());
  }
  double mse() const { return ratio(squared, count); }
  void put(Json& json) const {
    json["mse"] = number_or_null(mse());
    json["mae"] = number_or_null(ratio(absolute, count));
    json["rmse"] = number_or_null(std::sqrt(mse()));
    json["mape"] = number_or_null(ratio(percent, percent_count));
    if (scaled_count > 0) json["mase"] = number_or_null(ratio(scaled, scaled_count));
  }
};

class ForecastMetrics : public Metrics {
 public:
  explicit ForecastMetrics(const Bundle& bundle) {
    if (const auto spec = read_series_spec(bundle)) names_ = spec->roles.target_names();
  }

  void add(const Tensors& outputs, const Tensors& batch, std::span<const int64_t> indices) override {
    const auto on_cpu = [](const at::Tensor& tensor) { return tensor.to(at::kCPU, at::kDouble); };
    const at::Tensor target = on_cpu(batch.at("target")), forecast = on_cpu(forecast_of(outputs, batch.at("target")));
    const at::Tensor series = on_cpu(batch.at("series")), scale = on_cpu(batch.at("scale"));
    const int64_t horizon = target.size(1), targets = target.size(2);
    season_ = batch.at("season").item<int64_t>();
    const auto original = [&](const at::Tensor& values) { return values * scale[1] + scale[0]; };
    windows_ += int64_t(indices.size());
    errors_.add(forecast, target, scale[2]);
    original_.add(original(forecast), original(target));
    last_.add(naive_last(series, horizon, targets), target, scale[2]);
    if (const at::Tensor seasonal = naive_seasonal(series, horizon, targets, season_); seasonal.defined()) seasonal_.add(seasonal, target, scale[2]);
    const at::Tensor squared = (forecast - target).square(), absolute = (forecast - target).abs();
    accumulate(by_step_, at::stack({squared.mean(2).sum(0), absolute.mean(2).sum(0)}));
    accumulate(by_column_, at::stack({squared.mean(1).sum(0), absolute.mean(1).sum(0)}));
    if (!has_distribution(outputs)) return;
    constexpr int64_t kDraws = 100;  // as GluonTS draws; the estimate is unbiased, so the mean over windows is far sharper
    Tensors density;
    for (const auto& [name, values] : outputs)
      if (name.starts_with("distribution.")) density[name] = on_cpu(values);
    nll_ -= sum_of(log_density(density, target));
    crps_ += sum_of(crps(density, target, kDraws, uint64_t(indices.front()) + 1));
    densities_ += double(target.numel());
  }

  Json result() const override {
    Json json;
    errors_.put(json);
    if (densities_ > 0) {
      json["nll"] = number_or_null(nll_ / densities_);
      json["crps"] = number_or_null(crps_ / densities_);
    }
    json["loss"] = densities_ > 0 ? json["nll"] : json["mse"];
    Json last, seasonal = {{"season", season_}};
    last_.put(last);
    seasonal_.put(seasonal);
    json["naive"] = {{"last", last}};
    if (seasonal_.count > 0) json["naive"]["seasonal"] = seasonal;
    original_.put(json["original"]);
    json["samples"] = windows_;
    return json;
  }

  // Errors of each step ahead and of each column.
  Json details() const override {
    Json steps = Json::array(), columns = Json::array();
    if (!by_step_.defined()) return Json::object();
    const double count = double(windows_);
    for (int64_t h = 0; h < by_step_.size(1); ++h)
      steps.push_back({{"step", h + 1}, {"mse", by_step_[0][h].item<double>() / count}, {"mae", by_step_[1][h].item<double>() / count}});
    for (int64_t c = 0; c < by_column_.size(1); ++c) {
      const std::string name = size_t(c) < names_.size() ? names_[size_t(c)] : std::to_string(c);
      columns.push_back({{"column", name}, {"mse", by_column_[0][c].item<double>() / count}, {"mae", by_column_[1][c].item<double>() / count}});
    }
    return {{"per_step", steps}, {"per_column", columns}};
  }

 private:
  static void accumulate(at::Tensor& sum, const at::Tensor& more) { sum = sum.defined() ? sum + more : more; }

  std::vector<std::string> names_;
  Errors errors_, original_, last_, seasonal_;
  at::Tensor by_step_, by_column_;
  int64_t windows_ = 0, season_ = 1;
  double nll_ = 0, crps_ = 0, densities_ = 0;
};

}  // namespace forecasting_metrics_detail

std::unique_ptr<Metrics> forecasting_metrics(const Bundle& bundle) {
  return std::make_unique<forecasting_metrics_detail::ForecastMetrics>(bundle);
}

at::Tensor forecast_of(const Tensors& outputs, const at::Tensor& target) {
  const auto found = outputs.find("forecast");
  if (found == outputs.end()) throw std::runtime_error("the network gives no forecast; it cannot serve the task forecasting");
  const at::Tensor& forecast = found->second;
  const bool fits = forecast.dim() == 3 && forecast.size(0) == target.size(0) && forecast.size(1) == target.size(1) && forecast.size(2) >= target.size(2);
  if (!fits) throw std::runtime_error("the network's forecast is " + c10::str(forecast.sizes()) + "; expected " + c10::str(target.sizes()));
  return forecast.slice(2, forecast.size(2) - target.size(2));
}

at::Tensor forecasting_loss(const Tensors& outputs, const Tensors& batch, const Json& options) {
  const at::Tensor& target = batch.at("target");
  if (has_distribution(outputs)) return log_density(outputs, target).mean().neg();
  const std::string name = options.value("loss", "mse");
  const at::Tensor forecast = forecast_of(outputs, target);
  if (name == "mse") return at::mse_loss(forecast, target);
  if (name == "mae") return at::l1_loss(forecast, target);
  if (name == "huber") return at::huber_loss(forecast, target, at::Reduction::Mean, options.value("delta", 1.0));
  throw UsageError("option loss is '" + name.substr(0, 80) + "'; expected mse, mae or huber");
}

}  // namespace zoo::app
