// The forecasting task: windows, scaler, errors against scikit-learn and scipy, the golden figures of the naive forecasts.
#include <ATen/ATen.h>

#include <numeric>

#include "app/cli.h"
#include "app/tasks/forecasting_data.h"
#include "app/tasks/forecasting_metrics.h"
#include "app/tasks/student_t.h"
#include "models/registry.h"
#include "tests/catch.h"
#include "tests/cli/program.h"
#include "tests/external.h"

namespace forecasting_tests {
using namespace zoo;
using namespace zoo::app;
using zoo::test::has;
using zoo::test::Scratch;

const Json& golden() {
  static const Json json = Json::parse(std::ifstream(std::string(ZOO_TEST_DIR) + "/fixtures/files/forecasting.json"));
  return json;
}

std::vector<double> list(const Json& json) { return json.get<std::vector<double>>(); }

at::Tensor matrix(const Json& rows) {
  std::vector<at::Tensor> parts;
  for (const auto& row : rows) parts.push_back(at::tensor(list(row), at::kDouble));
  return at::stack(parts);
}

// A network that nothing ties to a length: the options decide.
Bundle plain_bundle() {
  Bundle bundle;
  bundle.spec = "test";
  bundle.entry = &registry().front();
  bundle.config = Json::object();
  bundle.preprocessor = Json::object();
  return bundle;
}

std::string usage_error(const std::function<void()>& action) {
  try {
    action();
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

std::string csv_of(const Json& values) {
  std::string text = "date,a,b,c\n";
  for (size_t i = 0; i < values.size(); ++i) {
    text += data::date_text(*data::make_time(2020, 1, 1) + 3600 * int64_t(i));
    for (const auto& value : values[i]) text += "," + value.dump();
    text += "\n";
  }
  return text;
}

DataOptions with(const Json& options, const std::string& split = "", bool training = false) {
  DataOptions result;
  result.split = split;
  result.training = training;
  result.options = options;
  return result;
}

TEST_CASE("scaler, windows and errors equal scikit-learn's", "[forecasting]") {
  const Scratch scratch;
  const Json& errors = golden().at("errors");
  const auto file = scratch.write("x.csv", csv_of(errors.at("values")));
  const Json options = {{"lookback", 5}, {"horizon", 10}, {"split", {{"train", 25}, {"validation", 5}, {"test", 10}}}};
  const auto test = open_forecast_data(file, plain_bundle(), with(options));
  REQUIRE(test->size() == 1);  // the test part begins a lookback before its border
  const auto& spec = test->spec();
  const auto mean = list(errors.at("mean")), deviation = list(errors.at("std"));
  for (int64_t c = 0; c < 3; ++c) {
    CHECK(spec.scaler.mean[c].item<double>() == Approx(mean[size_t(c)]).epsilon(1e-12));
    CHECK(spec.scaler.deviation[c].item<double>() == Approx(deviation[size_t(c)]).epsilon(1e-12));
  }
  const std::vector<int64_t> indices = {0};
  const Tensors batch = test->get(indices, false, 0);
  CHECK(batch.at("series").sizes() == at::IntArrayRef{1, 5, 3});
  CHECK(batch.at("series_time").sizes() == at::IntArrayRef{1, 5, 4});
  CHECK(batch.at("future_time").sizes() == at::IntArrayRef{1, 10, 4});
  CHECK(at::allclose(batch.at("target")[0].to(at::kDouble), matrix(errors.at("truth")), 1e-5, 1e-6));

  const auto metrics = forecasting_metrics(plain_bundle());
  metrics->add({{"forecast", matrix(errors.at("guess")).unsqueeze(0)}}, batch, indices);
  const Json result = metrics->result();
  CHECK(result.at("mse").get<double>() == Approx(errors.at("mse").get<double>()).epsilon(1e-5));
  CHECK(result.at("mae").get<double>() == Approx(errors.at("mae").get<double>()).epsilon(1e-5));
  CHECK(result.at("mape").get<double>() == Approx(errors.at("mape").get<double>()).epsilon(1e-4));
  CHECK(result.at("rmse").get<double>() == Approx(std::sqrt(errors.at("mse").get<double>())).epsilon(1e-5));
  CHECK(result.at("original").at("mse").get<double>() == Approx(errors.at("original_mse").get<double>()).epsilon(1e-5));
  CHECK(result.at("samples") == 1);
  // MASE by its definition (Hyndman & Koehler, 2006); season 24 of 25 training rows leaves one difference a column.
  const at::Tensor scaled = spec.scaler.scale(matrix(errors.at("values")));
  const at::Tensor by_hand = ((matrix(errors.at("guess")) - matrix(errors.at("truth"))).abs() / (scaled[24] - scaled[0]).abs()).mean();
  CHECK(result.at("mase").get<double>() == Approx(by_hand.item<double>()).epsilon(1e-5));
}

TEST_CASE("settings decide which columns are read and forecast", "[forecasting]") {
  const Scratch scratch;
  const auto file = scratch.write("x.csv", csv_of(golden().at("errors").at("values")));
  const auto open = [&](Json options) {
    options["lookback"] = 4;
    options["horizon"] = 2;
    return open_forecast_data(file, plain_bundle(), with(options, "train", true));
  };
  using Names = std::vector<std::string>;
  CHECK(open(Json::object())->spec().roles.columns == Names{"a", "b", "c"});
  CHECK(open({{"target", "a"}})->spec().roles.columns == Names{"b", "c", "a"});
  CHECK(open({{"target", "a"}, {"setting", "S"}})->spec().roles.columns == Names{"a"});
  const auto mixed = open({{"setting", "MS"}, {"exogenous", "b"}});
  CHECK(mixed->spec().roles.columns == Names{"b", "a", "c"});
  const std::vector<int64_t> indices = {0, 7};
  const Tensors batch = mixed->get(indices, true, 0);
  CHECK(batch.at("target").sizes() == at::IntArrayRef{2, 2, 1});
  CHECK(batch.at("future_exogenous").sizes() == at::IntArrayRef{2, 2, 1});
  CHECK_FALSE(batch.contains("scale"));
  const at::Tensor scaled = mixed->spec().scaler.scale(matrix(golden().at("errors").at("values")).index_select(1, at::tensor({1, 0, 2}, at::kLong))).to(at::kFloat);
  CHECK(at::equal(batch.at("series")[1], scaled.slice(0, 7, 11)));
  CHECK(at::equal(batch.at("target")[1], scaled.slice(0, 11, 13).slice(1, 2)));
  CHECK(at::equal(batch.at("future_exogenous")[1], scaled.slice(0, 11, 13).slice(1, 0, 1)));
  CHECK(has(usage_error([&] { open({{"target", "d"}}); }), "option target names 'd'"));
  CHECK(has(usage_error([&] { open({{"setting", "S"}, {"exogenous", "a"}}); }), "setting S reads the target alone"));
  CHECK(has(usage_error([&] { open({{"horizn", 3}}); }), "unknown option 'horizn'; nearest: horizon"));
  CHECK(has(usage_error([&] { open({{"setting", "X"}}); }), "option setting is \"X\"; expected one of M, S, MS"));
  CHECK(has(usage_error([&] { open({{"split", "ett"}}); }), "the file has 40"));
  CHECK(has(usage_error([&] { open_forecast_data(file, plain_bundle(), with({{"lookback", 40}, {"horizon", 2}})); }), "holds no window of lookback 40 + horizon 2"));
  CHECK(has(usage_error([&] { open_forecast_data(file, plain_bundle(), with({{"lookback", 4}})); }), "option horizon is missing"));
}

TEST_CASE("a checkpoint keeps what it was trained on", "[forecasting]") {
  const Scratch scratch;
  const auto file = scratch.write("x.csv", csv_of(golden().at("errors").at("values")));
  const auto trained = open_forecast_data(file, plain_bundle(), with({{"lookback", 4}, {"horizon", 2}}, "train", true));
  Bundle bundle = plain_bundle();
  bundle.preprocessor["series"] = Json::parse(write_series_spec(trained->spec()).dump());
  const auto spec = read_series_spec(bundle);
  REQUIRE(spec);
  CHECK(at::equal(spec->scaler.mean, trained->spec().scaler.mean));
  CHECK(at::equal(spec->scaler.deviation, trained->spec().scaler.deviation));
  CHECK(spec->frequency == trained->spec().frequency);
  CHECK(has(spec->describe(), "x.csv (3 columns: a, b, c; step 1 hour), its rows from 2020-01-01 00:00:00 to 2020-01-02 03:00:00"));

  const auto other = scratch.write("other.csv", "date,a,b,d\n2020-01-01,1,2,3\n2020-01-02,1,2,3\n");
  const auto says = usage_error([&] { open_forecast_data(other, bundle, with(Json::object())); });
  CHECK(has(says, "no column 'c'; nearest:"));
  CHECK(has(says, "the network was trained on: a, b, c"));
  CHECK(has(says, "the file has: date, a, b, d"));
  CHECK(has(usage_error([&] { open_forecast_data(file, bundle, with({{"horizon", 3}})); }), "option horizon is 3, but the network was trained with 2"));
  // A file that begins after the training data is measured as a whole, with the training's scaler.
  Json later = golden().at("errors").at("values");
  std::string text = csv_of(later);
  for (size_t at = 0; (at = text.find("2020-", at)) != std::string::npos; at += 4) text.replace(at, 4, "2021");
  const auto fresh = open_forecast_data(scratch.write("later.csv", text), bundle, with(Json::object()));
  CHECK(fresh->split() == "all");
  CHECK(fresh->size() == 40 - 6 + 1);
  CHECK(at::equal(fresh->spec().scaler.mean, trained->spec().scaler.mean));
  bundle.preprocessor["series"]["scaler"]["std"][0] = 0;
  CHECK_THROWS_WITH(read_series_spec(bundle), ContainsSubstring("scaler.std must be above 0"));
}

TEST_CASE("indicators of the target are further columns", "[forecasting]") {
  const Scratch scratch;
  const Json& values = golden().at("errors").at("values");
  const auto file = scratch.write("x.csv", csv_of(values));
  const Json options = {{"lookback", 4}, {"horizon", 2}, {"setting", "MS"}, {"indicators", {"sma_3", "rsi_4"}}};
  const auto trained = open_forecast_data(file, plain_bundle(), with(options, "all", true));
  const auto& spec = trained->spec();
  CHECK(spec.roles.columns == std::vector<std::string>{"sma_3", "rsi_4", "a", "b", "c"});
  CHECK(trained->size() == 40 - 4 - 6 + 1);  // rsi_4 needs five prices
  const std::vector<int64_t> first = {0};
  const Tensors batch = trained->get(first, true, 0);
  const double mean = (values[2][2].get<double>() + values[3][2].get<double>() + values[4][2].get<double>()) / 3;
  const double shown = batch.at("series")[0][0][0].item<double>() * spec.scaler.deviation[0].item<double>() + spec.scaler.mean[0].item<double>();
  CHECK(shown == Approx(mean).epsilon(1e-5));
  Bundle bundle = plain_bundle();
  bundle.preprocessor["series"] = write_series_spec(spec);
  const auto again = open_forecast_data(file, bundle, with(Json::object(), "all"));
  CHECK(at::equal(again->get(first, true, 0).at("series"), batch.at("series")));
  CHECK(has(usage_error([&] { open_forecast_data(file, plain_bundle(), with({{"lookback", 4}, {"horizon", 2}, {"indicators", "sma"}})); }), "option indicators"));
}

TEST_CASE("a constant column is centred, and never gives NaN", "[forecasting]") {
  const Scratch scratch;
  std::string text = "date,a,b\n";
  for (int i = 0; i < 60; ++i) text += data::date_text(*data::make_time(2020, 1, 1) + 3600 * i) + "," + std::to_string(i % 5) + ",0.1\n";
  const auto data = open_forecast_data(scratch.write("x.csv", text), plain_bundle(), with({{"lookback", 4}, {"horizon", 2}}));
  const std::vector<int64_t> indices = {0, 1};
  const Tensors batch = data->get(indices, false, 0);
  CHECK(batch.at("series").isfinite().all().item<bool>());
  CHECK(batch.at("series").select(2, 1).abs().max().item<float>() < 1e-6);
  const auto metrics = forecasting_metrics(plain_bundle());
  metrics->add({{"forecast", at::zeros_like(batch.at("target"))}}, batch, indices);
  for (const char* key : {"mse", "mae", "rmse", "mape", "mase"}) CHECK((metrics->result().value(key, Json(0.0)).is_number()));
}

TEST_CASE("mixtures of Student-t equal scipy's", "[forecasting]") {
  for (const auto& point : golden().at("mixtures").at("cdf"))
    CHECK(student_t_cdf(point[0].get<double>(), point[1].get<double>()) == Approx(point[2].get<double>()).epsilon(1e-9).margin(1e-13));
  for (const auto& c : golden().at("mixtures").at("cases")) {
    const auto weight = list(c.at("weight")), df = list(c.at("df")), loc = list(c.at("loc")), scale = list(c.at("scale"));
    const auto row = [](const std::vector<double>& values) { return at::tensor(values, at::kDouble).unsqueeze(0); };
    const StudentMixture mixture{row(weight), row(df), row(loc), row(scale)};
    const at::Tensor y = at::tensor({c.at("y").get<double>()}, at::kDouble);
    CHECK(log_density(mixture, y).item<double>() == Approx(c.at("log_density").get<double>()).epsilon(1e-10));
    for (size_t q = 0; q < 3; ++q) {
      const double p = std::vector<double>{0.1, 0.5, 0.9}[q];
      CHECK(mixture_quantile(weight, df, loc, scale, p) == Approx(c.at("quantiles")[q].get<double>()).epsilon(1e-8));
    }
    // 20000 draws: the standard error is below 1 % of these figures, so 3 % is more than three of them.
    CHECK(crps(mixture, y, 20000, 1).item<double>() == Approx(c.at("crps").get<double>()).epsilon(0.03));
    // Few draws are noisy but not biased: the mean over many cells is as sharp.
    const StudentMixture many{mixture.weight.expand({4000, -1}), mixture.df.expand({4000, -1}), mixture.loc.expand({4000, -1}), mixture.scale.expand({4000, -1})};
    CHECK(crps(many, y.expand({4000}), 10, 2).mean().item<double>() == Approx(c.at("crps").get<double>()).epsilon(0.03));
  }
}

TEST_CASE("normal densities are Student's of infinitely many degrees", "[forecasting]") {
  CHECK(student_t_cdf(1.959963984540054, std::numeric_limits<double>::infinity()) == Approx(0.975).epsilon(1e-12));
  const auto row = [](std::vector<double> values) { return at::tensor(values, at::kDouble).unsqueeze(0); };
  const Tensors outputs = {{"distribution.weight", row({1.0})}, {"distribution.loc", row({2.0})}, {"distribution.scale", row({3.0}).requires_grad_()}};
  const at::Tensor y = at::tensor({5.0}, at::kDouble), log_p = log_density(outputs, y);
  CHECK(log_p.item<double>() == Approx(-0.5 - std::log(3.0) - 0.5 * std::log(2 * M_PI)).epsilon(1e-12));
  log_p.sum().backward();  // d/ds (-z^2 / 2 - log s) = (z^2 - 1) / s = 0 at z = 1
  CHECK(outputs.at("distribution.scale").grad().item<double>() == Approx(0.0).margin(1e-12));
  // Gneiting & Raftery, 2007, equation 21: s (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi)).
  const double exact = 3.0 * ((2.0 * 0.8413447460685429 - 1.0) + 2.0 * std::exp(-0.5) / std::sqrt(2 * M_PI) - 1.0 / std::sqrt(M_PI));
  CHECK(crps(outputs, y, 20000, 1).item<double>() == Approx(exact).epsilon(0.03));
}

TEST_CASE("negative binomial densities: three failures of a fair coin", "[forecasting]") {
  const auto row = [](std::vector<double> values) { return at::tensor(values, at::kDouble).unsqueeze(0); };
  const Tensors outputs = {{"distribution.weight", row({1.0})}, {"distribution.total_count", row({3.0})}, {"distribution.logits", row({0.0})}};
  const auto p = [&](double x) { return std::exp(log_density(outputs, at::tensor({x}, at::kDouble)).item<double>()); };
  CHECK(p(0) == Approx(0.125).epsilon(1e-12));
  CHECK(p(1) == Approx(0.1875).epsilon(1e-12));
  CHECK(p(2) == Approx(0.1875).epsilon(1e-12));
  CHECK(count_quantile({1.0}, {3.0}, {0.0}, 0.12) == 0.0);
  CHECK(count_quantile({1.0}, {3.0}, {0.0}, 0.4999) == 2.0);
  CHECK(count_quantile({1.0}, {3.0}, {0.0}, 0.5001) == 3.0);
  double exact = 0, below = 0;  // the sum of (F(x) - 1[x >= y])^2
  for (int x = 0; x < 200; ++x) {
    below += p(x);
    exact += std::pow(below - (x >= 4 ? 1.0 : 0.0), 2);
  }
  CHECK(crps(outputs, at::tensor({4.0}, at::kDouble), 20000, 1).item<double>() == Approx(exact).epsilon(0.03));
  CHECK_THROWS_AS(log_density(outputs, at::tensor({0.5}, at::kDouble)), UsageError);
  CHECK_THROWS_AS(log_density(outputs, at::tensor({-1.0}, at::kDouble)), UsageError);
}

TEST_CASE("losses", "[forecasting]") {
  const at::Tensor target = at::tensor({0.0, 1.0, 4.0}, at::kFloat).view({1, 3, 1});
  const Tensors batch = {{"target", target}}, outputs = {{"forecast", at::zeros({1, 3, 1})}};
  CHECK(forecasting_loss(outputs, batch, Json::object()).item<double>() == Approx(17.0 / 3));
  CHECK(forecasting_loss(outputs, batch, {{"loss", "mae"}}).item<double>() == Approx(5.0 / 3));
  CHECK(forecasting_loss(outputs, batch, {{"loss", "huber"}, {"delta", 2.0}}).item<double>() == Approx((0.5 + 2.0 * (4.0 - 1.0)) / 3));
  CHECK_THROWS_WITH(forecasting_loss(outputs, batch, {{"loss", "mes"}}), ContainsSubstring("expected mse, mae or huber"));
  CHECK_THROWS_WITH(forecasting_loss({{"forecast", at::zeros({1, 2, 1})}}, batch, Json::object()), ContainsSubstring("expected [1, 3, 1]"));
  // A network that forecasts all its columns is judged by the last ones.
  CHECK(forecasting_loss({{"forecast", at::cat({at::ones({1, 3, 1}), target}, 2)}}, batch, Json::object()).item<double>() == 0.0);
}

// The task's own path from the file to the figures, with "the last value" as the network.
std::pair<double, double> last_value_figures(const std::filesystem::path& file, int64_t horizon, const std::string& rule, int64_t drop_last) {
  Json options = {{"lookback", 96}, {"horizon", horizon}, {"split", rule}};
  if (drop_last > 0) options["drop_last"] = drop_last;
  const auto data = open_forecast_data(file, plain_bundle(), with(options));
  const auto metrics = forecasting_metrics(plain_bundle());
  std::vector<int64_t> order(size_t(data->size()));
  std::iota(order.begin(), order.end(), int64_t{0});
  for (size_t begin = 0; begin < order.size(); begin += 256) {
    const auto indices = std::span(order).subspan(begin, std::min<size_t>(256, order.size() - begin));
    const Tensors batch = data->get(indices, false, 0);
    const auto& target = batch.at("target");
    metrics->add({{"forecast", naive_last(batch.at("series"), horizon, target.size(2))}}, batch, indices);
  }
  const Json result = metrics->result();
  CHECK(result.at("naive").at("last").at("mse") == result.at("mse"));
  return {result.at("mse").get<double>(), result.at("mae").get<double>()};
}

TEST_CASE("golden figures: repeat the last value", "[forecasting]") {
  const auto folder = zoo::test::data_folder();
  NEEDS(folder, "../shared/data (or $ZOO_DATA)");
  struct Row {
    const char *file, *rule;
    int64_t horizon, drop_last;
    double mse, mae;
  };
  // shared/data/README.md; three digits are given there.
  for (const Row& row : {Row{"ETTh1.csv", "ett", 96, 32, 1.295, .713}, Row{"ETTh1.csv", "ett", 192, 32, 1.325, .733}, Row{"ETTh1.csv", "ett", 96, 0, 1.294, .713},
                         Row{"ETTh1.csv", "ett_or_ratio", 192, 0, 1.325, .733}, Row{"exchange_rate.csv", "ratio", 96, 0, .081, .196},
                         Row{"exchange_rate.csv", "ratio", 192, 0, .167, .289}, Row{"exchange_rate.csv", "ett_or_ratio", 336, 0, .306, .398},
                         Row{"exchange_rate.csv", "ratio", 720, 0, .810, .676}, Row{"exchange_rate.csv", "ratio", 336, 32, .305, .396},
                         Row{"exchange_rate.csv", "ratio", 720, 32, .823, .681}}) {
    INFO(row.file << " " << row.horizon << " drop_last " << row.drop_last);
    const auto [mse, mae] = last_value_figures(*folder / "forecasting" / row.file, row.horizon, row.rule, row.drop_last);
    CHECK(std::round(mse * 1000) / 1000 == Approx(row.mse));
    CHECK(std::round(mae * 1000) / 1000 == Approx(row.mae));
  }
}

}  // namespace forecasting_tests
