#include "app/tasks/forecasting_run.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iostream>

#include "app/cli.h"
#include "app/report/svg.h"
#include "app/report/table.h"
#include "app/tasks/forecasting_data.h"
#include "app/tasks/forecasting_metrics.h"
#include "app/tasks/student_t.h"
#include "models/blocks/negative_binomial_mixture.h"
#include "app/tasks/text_batches.h"
#include "data/csv.h"
#include "models/names.h"

namespace zoo::app {
namespace fs = std::filesystem;
namespace forecasting_run_detail {

constexpr std::array<double, 3> kShares = {0.1, 0.5, 0.9};
constexpr std::array<const char*, 3> kQuantiles = {"q10", "q50", "q90"};

std::string value_text(double value) {
  std::array<char, 32> text;
  std::snprintf(text.data(), text.size(), "%.9g", value);
  return text.data();
}

struct Source {
  SeriesSpec spec;
  std::shared_ptr<const data::SeriesTable> table;
  at::Tensor values;              // [N, C] double, in the data's units
  data::Frequency frequency;
  bool only_day = false;          // dates are written without a time
};

// What a network says of the steps after row `origin`, in the data's units.
struct Forecast {
  int64_t origin = 0;             // first row that is forecast
  std::vector<data::Time> dates;  // [H]
  at::Tensor values;              // [H, Ct] double
  at::Tensor quantiles;           // [H, Ct, 3] double, undefined without a density
};

SeriesSpec spec_of(const Bundle& bundle) {
  auto spec = read_series_spec(bundle);
  if (!spec) throw UsageError(bundle.spec + ": was not trained on series here, so nothing is known of its columns and their scale; zoo train makes such a checkpoint");
  const int64_t lookback = configured(bundle, "lookback"), horizon = configured(bundle, "horizon");
  if ((lookback > 0 && lookback != spec->lookback) || (horizon > 0 && horizon != spec->horizon))
    throw UsageError(bundle.spec + ": config.json and preprocessor_config.json disagree about lookback or horizon");
  return *spec;
}

fs::path input_of(const RunOptions& options) {
  std::vector<std::string> inputs = options.inputs;
  if (!options.text.empty()) inputs.push_back(options.text);
  if (inputs.size() != 1) throw UsageError("forecasting takes one CSV file (--input FILE.csv); " + std::to_string(inputs.size()) + " are given");
  return inputs[0];
}

Source open_source(const Bundle& bundle, const RunOptions& options) {
  Source source;
  source.spec = spec_of(bundle);
  Json merged = source.spec.options;
  for (const auto& [key, value] : options.options.items()) merged[key] = value;
  source.table = read_like_trained(input_of(options), source.spec, read_forecast_options(merged).reading);
  source.values = select_columns(*source.table, source.spec.roles);
  source.frequency = source.table->frequency.known() ? source.table->frequency : source.spec.frequency;
  if (!source.frequency.known()) throw UsageError(source.table->file + ": one row only, so the step between dates is not known");
  source.only_day = source.frequency.whole_days() && std::all_of(source.table->dates.begin(), source.table->dates.end(), [](data::Time t) { return t % 86400 == 0; });
  if (source.table->rows() < source.spec.lookback)
    throw UsageError(source.table->file + ": " + std::to_string(source.table->rows()) + " rows; the network reads the last " +
                     std::to_string(source.spec.lookback) + " (lookback)");
  return source;
}

// ---- the network ----

// [H, E] scaled: known columns of the steps after `origin`, from the rows that are there or from the file of the future.
at::Tensor known_ahead(const Source& source, const Forecast& forecast, const data::SeriesTable* future) {
  const int64_t count = source.spec.roles.exogenous, horizon = source.spec.horizon;
  const at::Tensor mean = source.spec.scaler.mean.slice(0, 0, count), deviation = source.spec.scaler.deviation.slice(0, 0, count);
  const auto scaled = [&](const at::Tensor& rows) { return ((rows - mean) / deviation).to(at::kFloat); };
  if (forecast.origin + horizon <= source.table->rows()) return scaled(source.values.slice(0, forecast.origin, forecast.origin + horizon).slice(1, 0, count));
  const auto names = join({source.spec.roles.columns.begin(), source.spec.roles.columns.begin() + count});
  if (!future) throw UsageError("the network reads columns that are known for the future (" + names + "); give them with --option future=FILE.csv, from " + data::date_text(forecast.dates[0], source.only_day) + " on");
  const auto first = std::lower_bound(future->dates.begin(), future->dates.end(), forecast.dates[0]);
  const int64_t row = first - future->dates.begin();
  if (row + horizon > future->rows() || *first != forecast.dates[0] || future->dates[size_t(row + horizon - 1)] != forecast.dates.back())
    throw UsageError(future->file + ": does not hold the " + std::to_string(horizon) + " steps from " + data::date_text(forecast.dates[0], source.only_day) + " to " +
                     data::date_text(forecast.dates.back(), source.only_day));
  return scaled(future->values.slice(0, row, row + horizon));
}

std::shared_ptr<const data::SeriesTable> future_file(const Source& source, const RunOptions& options) {
  const Json name = options.options.value("future", Json(nullptr));
  if (name.is_null() || source.spec.roles.exogenous == 0) return nullptr;
  data::SeriesOptions reading;
  reading.columns = {source.spec.roles.columns.begin(), source.spec.roles.columns.begin() + source.spec.roles.exogenous};
  return read_series_file(name.is_string() ? name.get<std::string>() : name.dump(), reading);
}

at::Tensor quantiles_of(const Tensors& outputs, int64_t row, const at::Tensor& mean, const at::Tensor& deviation) {
  const bool counts = NegativeBinomialMixture::in(outputs);
  std::vector<at::Tensor> parts;  // [H, Ct, K] each
  if (counts) {
    const auto mixture = NegativeBinomialMixture::from(outputs);
    parts = {mixture.weight, mixture.total_count, mixture.logits};
  } else {
    const auto mixture = distribution_of(outputs);
    parts = {mixture.weight, mixture.df, mixture.loc, mixture.scale};
  }
  for (auto& part : parts) part = part[row].to(at::kCPU, at::kDouble).contiguous();
  const int64_t horizon = parts[0].size(0), targets = parts[0].size(1), components = parts[0].size(2);
  at::Tensor result = at::empty({horizon, targets, int64_t(kShares.size())}, at::kDouble);
  double* out = result.mutable_data_ptr<double>();
  for (int64_t cell = 0; cell < horizon * targets; ++cell) {
    std::vector<std::vector<double>> of;
    for (const auto& part : parts) {
      const double* data = part.const_data_ptr<double>() + cell * components;
      of.emplace_back(data, data + components);
    }
    for (const double share : kShares) *out++ = counts ? count_quantile(of[0], of[1], of[2], share) : mixture_quantile(of[0], of[1], of[2], of[3], share);
  }
  return result * deviation.unsqueeze(-1) + mean.unsqueeze(-1);
}

void predict(Bundle& bundle, const Source& source, std::span<Forecast> forecasts, const data::SeriesTable* future) {
  const auto& spec = source.spec;
  const int64_t first = spec.roles.channels() - spec.roles.targets;
  const at::Tensor mean = spec.scaler.mean.slice(0, first), deviation = spec.scaler.deviation.slice(0, first);
  std::vector<at::Tensor> series, series_time, future_time, exogenous;
  for (const auto& forecast : forecasts) {
    const int64_t begin = forecast.origin - spec.lookback;
    series.push_back(scaled_rows(*source.table, spec, source.values, begin, forecast.origin));
    series_time.push_back(data::calendar_features(std::span(source.table->dates).subspan(size_t(begin), size_t(spec.lookback)), spec.calendar));
    future_time.push_back(data::calendar_features(forecast.dates, spec.calendar));
    if (spec.roles.exogenous > 0) exogenous.push_back(known_ahead(source, forecast, future));
  }
  Tensors batch = {{"series", at::stack(series)}, {"series_time", at::stack(series_time)}, {"future_time", at::stack(future_time)}};
  if (!exogenous.empty()) batch["future_exogenous"] = at::stack(exogenous);
  const c10::InferenceMode inference;
  const Tensors outputs = bundle.model->forward(to_device(batch, bundle.device));
  const at::Tensor like = at::empty({int64_t(forecasts.size()), spec.horizon, spec.roles.targets}, at::kFloat);
  const at::Tensor scaled = forecast_of(outputs, like).to(at::kCPU, at::kDouble);
  if (!scaled.isfinite().all().item<bool>()) throw std::runtime_error(bundle.spec + ": the forecast holds values that are no number; the input lies far from what the network was trained on, or its weights are damaged");
  for (size_t i = 0; i < forecasts.size(); ++i) {
    forecasts[i].values = scaled[int64_t(i)] * deviation + mean;
    if (has_distribution(outputs)) forecasts[i].quantiles = quantiles_of(outputs, int64_t(i), mean, deviation);
  }
}

// ---- plots ----

// Plots below one another, as one file that stands alone.
std::string panels_svg(const std::vector<Plot>& plots) {
  const int64_t height = 260 * int64_t(plots.size());
  std::string svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"520\" height=\"" + std::to_string(height) + "\" viewBox=\"0 0 520 " + std::to_string(height) +
                    "\" font-family=\"sans-serif\" font-size=\"11\" style=\"--line:#ddd\"><rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n";
  for (size_t i = 0; i < plots.size(); ++i) svg += "<g transform=\"translate(0," + std::to_string(260 * i) + ")\">" + draw_svg(plots[i]) + "</g>\n";
  return svg + "</svg>\n";
}

// Column `c` of rows [begin, end) of the file, at x = row - zero.
Series past(const Source& source, int64_t c, int64_t begin, int64_t end, int64_t zero) {
  const int64_t column = source.spec.roles.channels() - source.spec.roles.targets + c;
  const at::Tensor values = source.values.slice(0, begin, end).select(1, column).contiguous();
  Series series{"data", {}, false};
  for (int64_t i = 0; i < end - begin; ++i) series.points.emplace_back(double(begin + i - zero), values.const_data_ptr<double>()[i]);
  return series;
}

Series curve(const std::string& name, const Forecast& forecast, const at::Tensor& values, int64_t zero) {
  Series series{name, {}, false};
  const at::Tensor flat = values.contiguous();
  for (int64_t h = 0; h < flat.size(0); ++h) series.points.emplace_back(double(forecast.origin - zero + h), flat.const_data_ptr<double>()[h]);
  return series;
}

// The tail of the data and what follows; at most 12 columns, because a reader looks at no more.
std::vector<Plot> forecast_plots(const Source& source, const std::vector<Forecast>& forecasts) {
  constexpr int64_t kMost = 12;
  const auto names = source.spec.roles.target_names();
  const int64_t rows = source.table->rows(), first = forecasts.front().origin, zero = forecasts.size() == 1 ? first : 0;
  const int64_t tail = std::max<int64_t>(0, first - std::min<int64_t>(2 * source.spec.lookback, 4 * source.spec.horizon + source.spec.lookback));
  std::vector<Plot> plots;
  for (int64_t c = 0; c < std::min<int64_t>(kMost, source.spec.roles.targets); ++c) {
    Plot plot{names[size_t(c)], zero > 0 ? "steps of " + source.frequency.name() + " from " + data::date_text(forecasts[0].dates[0], source.only_day) : "row of the file", {}};
    plot.series.push_back(past(source, c, tail, rows, zero));
    Series line{"forecast", {}, false};
    for (const auto& forecast : forecasts) {
      const auto part = curve("forecast", forecast, forecast.values.select(1, c), zero);
      line.points.insert(line.points.end(), part.points.begin(), part.points.end());
      if (forecasts.size() > 1) line.points.emplace_back(std::nan(""), 0.0);
    }
    plot.series.push_back(line);
    for (size_t q = 0; q < kShares.size() && forecasts.size() == 1 && forecasts[0].quantiles.defined(); q += 2)
      plot.series.push_back(curve(kQuantiles[q], forecasts[0], forecasts[0].quantiles.select(2, int64_t(q)).select(1, c), zero));
    plots.push_back(plot);
  }
  return plots;
}

// ---- documents ----

std::vector<std::vector<std::string>> forecast_table(const Source& source, const Forecast& forecast) {
  std::vector<std::string> header = {source.table->date_column};
  for (const auto& name : source.spec.roles.target_names()) {
    header.push_back(name);
    for (size_t q = 0; q < kQuantiles.size() && forecast.quantiles.defined(); ++q) header.push_back(name + "_" + kQuantiles[q]);
  }
  std::vector<std::vector<std::string>> table = {header};
  for (int64_t h = 0; h < forecast.values.size(0); ++h) {
    std::vector<std::string> row = {data::date_text(forecast.dates[size_t(h)], source.only_day)};
    for (int64_t c = 0; c < forecast.values.size(1); ++c) {
      row.push_back(value_text(forecast.values[h][c].item<double>()));
      for (size_t q = 0; q < kQuantiles.size() && forecast.quantiles.defined(); ++q) row.push_back(value_text(forecast.quantiles[h][c][int64_t(q)].item<double>()));
    }
    table.push_back(row);
  }
  return table;
}

std::vector<std::vector<std::string>> backtest_table(const Source& source, const std::vector<Forecast>& forecasts) {
  const auto& roles = source.spec.roles;
  std::vector<std::vector<std::string>> table = {{"origin", source.table->date_column}};
  for (const auto& name : roles.target_names()) table[0].insert(table[0].end(), {name, name + "_actual"});
  for (const auto& forecast : forecasts) {
    for (int64_t h = 0; h < source.spec.horizon; ++h) {
      std::vector<std::string> row = {data::date_text(forecast.dates[0], source.only_day), data::date_text(forecast.dates[size_t(h)], source.only_day)};
      for (int64_t c = 0; c < roles.targets; ++c) {
        row.push_back(value_text(forecast.values[h][c].item<double>()));
        row.push_back(value_text(source.values[forecast.origin + h][roles.channels() - roles.targets + c].item<double>()));
      }
      table.push_back(row);
    }
  }
  return table;
}

Json rows_json(const std::vector<std::vector<std::string>>& table) {
  Json rows = Json::array();
  for (size_t i = 1; i < table.size(); ++i) {
    Json row;
    for (size_t c = 0; c < table[i].size(); ++c) {
      const auto number = data::parse_number(table[i][c]);
      row[table[0][c]] = number && table[0][c] != table[0][0] ? Json(*number) : Json(table[i][c]);
    }
    rows.push_back(row);
  }
  return rows;
}

// Errors of the network and of the last value, in units of the training part's deviation and in the data's own.
Json errors_of(const Source& source, std::span<const Forecast> forecasts) {
  const auto& spec = source.spec;
  const int64_t first = spec.roles.channels() - spec.roles.targets;
  const at::Tensor deviation = spec.scaler.deviation.slice(0, first);
  std::vector<at::Tensor> errors, naive;
  for (const auto& forecast : forecasts) {
    const at::Tensor actual = source.values.slice(0, forecast.origin, forecast.origin + spec.horizon).slice(1, first);
    errors.push_back(forecast.values - actual);
    naive.push_back(source.values.slice(0, forecast.origin - 1, forecast.origin).slice(1, first) - actual);
  }
  const auto figures = [](const at::Tensor& error) {
    return Json{{"mse", error.square().mean().item<double>()}, {"mae", error.abs().mean().item<double>()}};
  };
  const at::Tensor all = at::stack(errors), last = at::stack(naive);
  Json result = figures(all / deviation);
  result["original"] = figures(all);
  result["naive"] = {{"last", figures(last / deviation)}};
  return result;
}

struct Delivery {
  Json document;
  std::vector<std::vector<std::string>> table;
  std::string plot;
};

fs::path plot_of(const fs::path& out) { return fs::path(out).replace_extension(".svg"); }

std::string format_of(const RunOptions& options) {
  const std::string extension = options.out.extension().string();
  const std::string format = !options.format.empty() ? options.format : extension == ".json" ? "json" : "csv";
  if (format != "csv" && format != "json") throw UsageError("format '" + format + "'; a forecast is written as csv or json");
  return format;
}

void check_outputs(const RunOptions& options) {
  format_of(options);
  if (options.out.empty()) return;
  if (options.out.extension() == ".svg") throw UsageError("--out " + options.out.string() + ": names the table (forecast.csv); the plot is written beside it");
  std::error_code error;
  if (fs::exists(options.out, error) && fs::equivalent(options.out, input_of(options), error))
    throw UsageError("--out " + options.out.string() + " is the input file; choose another name");
  refuse_existing(options.out, options.overwrite);
  refuse_existing(plot_of(options.out), options.overwrite);
}

Json deliver(Delivery delivery, const RunOptions& options) {
  std::string text;
  if (format_of(options) == "json") {
    text = delivery.document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  } else {
    for (const auto& row : delivery.table) text += data::csv_record(row);
  }
  if (options.out.empty()) {
    if (!options.json) std::cout << text << std::flush;
    return std::move(delivery.document);
  }
  write_output(options.out, text, options.overwrite);
  write_output(plot_of(options.out), delivery.plot, options.overwrite);
  spdlog::info("wrote {} and {}", options.out.string(), plot_of(options.out).string());
  delivery.document["out"] = options.out.string();
  delivery.document["plot"] = plot_of(options.out).string();
  return std::move(delivery.document);
}

Json heading(const Bundle& bundle, const Source& source) {
  return {{"task", "forecasting"}, {"model", bundle.spec}, {"input", source.table->file}, {"rows", source.table->rows()},
          {"step", source.frequency.name()}, {"trained_on", source.spec.trained_on}, {"columns", source.spec.roles.columns},
          {"lookback", source.spec.lookback}, {"horizon", source.spec.horizon}, {"notes", source.table->notes}};
}

Json forecast_ahead(Bundle& bundle, const Source& source, const RunOptions& options) {
  Forecast forecast;
  forecast.origin = source.table->rows();
  for (int64_t h = 1; h <= source.spec.horizon; ++h) forecast.dates.push_back(source.frequency.advance(source.table->dates.back(), h));
  std::vector<Forecast> forecasts = {forecast};
  const auto future = future_file(source, options);
  predict(bundle, source, forecasts, future.get());
  Delivery delivery{heading(bundle, source), forecast_table(source, forecasts[0]), panels_svg(forecast_plots(source, forecasts))};
  delivery.document["forecast"] = rows_json(delivery.table);
  return deliver(std::move(delivery), options);
}

Json backtest(Bundle& bundle, const Source& source, const RunOptions& options, int64_t count, int64_t stride) {
  const int64_t horizon = source.spec.horizon, rows = source.table->rows();
  const int64_t first = rows - horizon - (count - 1) * stride;
  if (first < source.spec.lookback)
    throw UsageError(source.table->file + ": " + std::to_string(count) + " forecasts, " + std::to_string(stride) + " steps apart, need " +
                     std::to_string(source.spec.lookback + horizon + (count - 1) * stride) + " rows; the file has " + std::to_string(rows));
  std::vector<Forecast> forecasts(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    auto& forecast = forecasts[size_t(i)];
    forecast.origin = first + i * stride;
    forecast.dates.assign(source.table->dates.begin() + forecast.origin, source.table->dates.begin() + forecast.origin + horizon);
  }
  const int64_t at_once = options.batch_size > 0 ? options.batch_size : 64;
  for (int64_t i = 0; i < count; i += at_once) predict(bundle, source, std::span(forecasts).subspan(size_t(i), size_t(std::min(at_once, count - i))), nullptr);
  Delivery delivery{heading(bundle, source), backtest_table(source, forecasts), panels_svg(forecast_plots(source, forecasts))};
  Json origins = Json::array();
  for (size_t i = 0; i < forecasts.size(); ++i) {
    Json line = {{"origin", data::date_text(forecasts[i].dates[0], source.only_day)}};
    line.update(errors_of(source, std::span(forecasts).subspan(i, 1)));
    origins.push_back(line);
  }
  delivery.document["metrics"] = errors_of(source, forecasts);
  delivery.document["backtest"] = origins;
  const auto& m = delivery.document["metrics"];
  spdlog::info("{} forecasts from the past: mse {} mae {} (last value: {} {}), in units of the training part's deviation", count,
               fixed_text(m["mse"].get<double>(), 4), fixed_text(m["mae"].get<double>(), 4), fixed_text(m["naive"]["last"]["mse"].get<double>(), 4),
               fixed_text(m["naive"]["last"]["mae"].get<double>(), 4));
  return deliver(std::move(delivery), options);
}

int64_t count_of(const Json& options, const char* key) {
  const auto found = options.find(key);
  if (found == options.end()) return 0;
  if (!found->is_number_integer() || found->get<double>() < 1 || found->get<double>() > 1e6)
    throw UsageError(std::string("option ") + key + " is " + found->dump().substr(0, 80) + "; expected a whole number from 1");
  return found->get<int64_t>();
}

}  // namespace forecasting_run_detail

Json run_forecast(Bundle& bundle, const RunOptions& options) {
  namespace d = forecasting_run_detail;
  d::check_outputs(options);
  const int64_t count = d::count_of(options.options, "backtest"), stride = d::count_of(options.options, "stride");
  const auto source = d::open_source(bundle, options);
  spdlog::info("{} was trained on {}", bundle.spec, source.spec.describe());
  if (count == 0) return d::forecast_ahead(bundle, source, options);
  return d::backtest(bundle, source, options, count, stride > 0 ? stride : source.spec.horizon);
}

}  // namespace zoo::app
