// Forecasting: the next steps of a time series. Networks read "series" and give "forecast" [B, H, Ct] (models/model.h).
#include <spdlog/spdlog.h>

#include "app/cli.h"
#include "app/tasks/forecasting_data.h"
#include "app/tasks/forecasting_metrics.h"
#include "app/tasks/forecasting_run.h"

namespace zoo::app {
namespace forecasting_detail {

class Forecasting : public Task {
 public:
  std::string name() const override { return "forecasting"; }
  std::vector<std::string> option_names() const override { return forecast_option_names(); }
  std::string primary_metric() const override { return "mse"; }
  bool higher_is_better() const override { return false; }
  std::unique_ptr<Metrics> metrics(const Bundle& bundle) const override { return forecasting_metrics(bundle); }

  Json config_for(const std::filesystem::path& data, const Entry& entry, const DataOptions& options) const override {
    return forecast_config(data, entry, options);
  }

  std::unique_ptr<Dataset> open(const std::filesystem::path& data, const Bundle& bundle, const DataOptions& options) const override {
    return open_forecast_data(data, bundle, options);
  }

  void prepare_training(Bundle& bundle, const Dataset& training) const override {
    const auto* data = dynamic_cast<const ForecastDataset*>(&training);
    if (!data) throw std::logic_error("forecasting: prepare_training needs a data set that forecasting opened");
    bundle.preprocessor["series"] = write_series_spec(data->spec());
  }

  at::Tensor loss(const Tensors& outputs, const Tensors& batch, const Json& options) const override {
    return forecasting_loss(outputs, batch, options);
  }

  // Windows of one set are all alike: as many terms each.
  double loss_terms(const Tensors& batch) const override { return static_cast<double>(batch.at("target").size(0)); }

  Json run(Bundle& bundle, const RunOptions& options) const override { return run_forecast(bundle, options); }
};

}  // namespace forecasting_detail

const Task& forecasting_task() {
  static const forecasting_detail::Forecasting task;
  return task;
}

}  // namespace zoo::app
