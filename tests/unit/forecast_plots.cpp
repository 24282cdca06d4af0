// What a report draws of forecasts.
#include "app/report/forecast_plots.h"

#include "tests/catch.h"

namespace zoo::test::forecast_plots_tests {
using namespace zoo::app;

// Ten windows of a ramp in three columns, the last two of them targets; column c at time t is 100 c + t.
struct Ramp : Dataset {
  int64_t size() const override { return 10; }
  Tensors get(std::span<const int64_t> indices, bool, uint64_t) const override {
    const at::Tensor time = at::arange(6, at::kFloat).reshape({1, 6, 1}) + static_cast<double>(indices[0]);
    const at::Tensor all = time + at::arange(3, at::kFloat).reshape({1, 1, 3}) * 100;
    return {{"series", all.slice(1, 0, 4)}, {"target", all.slice(1, 4).slice(2, 1)}};
  }
};

// Says the last value again.
struct Last : Task {
  std::string name() const override { return "last"; }
  std::unique_ptr<Dataset> open(const std::filesystem::path&, const Bundle&, const DataOptions&) const override { return std::make_unique<Ramp>(); }
  at::Tensor loss(const Tensors&, const Tensors&, const Json&) const override { return {}; }
  std::unique_ptr<Metrics> metrics(const Bundle&) const override { return nullptr; }
  std::string primary_metric() const override { return "mse"; }
  Tensors forward(Model&, const Tensors& batch) const override {
    if (!forecasts) return {{"logits", at::zeros({1, 2})}};
    return {{"forecast", batch.at("series").slice(1, 3).expand({1, 2, 3})}};
  }
  Json run(Bundle&, const RunOptions&) const override { return {}; }
  bool forecasts = true;
};

struct Nothing : Model {
  Tensors forward(const Tensors&) override { return {}; }
};

TEST_CASE("windows of a forecast show each target column where it belongs", "[report]") {
  Bundle bundle;
  bundle.model = std::make_shared<Nothing>();
  Last task;
  const auto plots = forecast_plots(task, bundle, Ramp());
  REQUIRE(plots.size() == 6);
  const auto& series = plots[1].series;  // window 1, and the first target: column 1 of the three
  REQUIRE(series.size() == 3);
  CHECK(plots[1].title == "window 1, target 1 of 2");
  CHECK(series[0].points == std::vector<std::pair<double, double>>{{-3, 101}, {-2, 102}, {-1, 103}, {0, 104}});
  CHECK(series[1].points == std::vector<std::pair<double, double>>{{1, 105}, {2, 106}});
  CHECK(series[2].points == std::vector<std::pair<double, double>>{{1, 104}, {2, 104}});
  CHECK(plots[5].series[1].points.front() == std::pair<double, double>(1, 113));  // the last window
  task.forecasts = false;
  CHECK(forecast_plots(task, bundle, Ramp()).empty());
}

TEST_CASE("errors by steps ahead, where a task tells them", "[report]") {
  const auto plots = error_plots(Json::parse(R"({"per_step": [{"step": 1, "mse": 0.5, "mae": 1}, {"step": 2, "mse": null, "mae": 2}]})"));
  REQUIRE(plots.size() == 1);
  CHECK(plots[0].series[0].points.size() == 1);
  CHECK(plots[0].series[1].points.back() == std::pair<double, double>(2, 2));
  CHECK(error_plots(Json()).empty());
  CHECK(error_plots(Json::object()).empty());
}

}  // namespace zoo::test::forecast_plots_tests
