#include "app/tasks/forecasting_data.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <mutex>
#include <sstream>

#include "app/cli.h"
#include "data/csv.h"
#include "data/indicators.h"
#include "models/names.h"

namespace zoo::app {
namespace fs = std::filesystem;
namespace forecasting_data_detail {

// The tables that some data set holds at the moment, so that the splits of one file share it; and the one read last, so that building
// a network for a file and then opening it reads it once.
struct Shared {
  fs::path path;
  data::SeriesOptions options;
  uintmax_t bytes;
  fs::file_time_type changed;
  std::weak_ptr<const data::SeriesTable> table;
};

// Read with the same options; or with others about columns only, and it has all that are wanted (they are chosen by name afterwards).
bool serves(const data::SeriesTable& table, data::SeriesOptions read, const data::SeriesOptions& wanted) {
  if (read == wanted) return true;
  const auto absent = [&](const auto& name) { return std::find(table.columns.begin(), table.columns.end(), name) == table.columns.end(); };
  if (wanted.columns.empty() || std::any_of(wanted.columns.begin(), wanted.columns.end(), absent)) return false;
  read.columns = wanted.columns;
  read.ignore = wanted.ignore;
  return read == wanted;
}

std::shared_ptr<const data::SeriesTable> shared_table(const fs::path& path, const data::SeriesOptions& options) {
  static std::mutex mutex;
  static std::vector<Shared> tables;
  static std::shared_ptr<const data::SeriesTable> last;
  std::error_code error;
  const auto place = fs::weakly_canonical(path, error);
  const auto bytes = fs::file_size(path, error);
  const auto changed = fs::last_write_time(path, error);
  const std::lock_guard lock(mutex);
  std::erase_if(tables, [](const Shared& item) { return item.table.expired(); });
  for (const auto& item : tables) {
    if (item.path != place || item.bytes != bytes || item.changed != changed) continue;
    if (auto table = item.table.lock(); table && serves(*table, item.options, options)) return last = table;
  }
  last = nullptr;  // freed before the next is read
  auto table = std::make_shared<const data::SeriesTable>(data::read_series(path, options));
  for (const auto& note : table->notes) spdlog::warn("{}: {}", table->file, note);
  tables.push_back({place, options, bytes, changed, table});
  return last = table;
}

std::vector<std::string> header_of(const fs::path& path, char delimiter) {
  std::vector<std::string> header;
  data::CsvReader(path, delimiter).next(header);
  for (auto& name : header) {
    name.erase(0, std::min(name.find_first_not_of(' '), name.size()));
    name.erase(name.find_last_not_of(' ') + 1);
  }
  return header;
}

size_t place_of(const data::SeriesTable& table, const std::string& name, const char* option) {
  const auto found = std::find(table.columns.begin(), table.columns.end(), name);
  if (found == table.columns.end())
    throw UsageError(table.file + ": option " + option + " names '" + name.substr(0, 80) + "', which is no column of numbers there; nearest: " +
                     join(nearest(name, table.columns)));
  return size_t(found - table.columns.begin());
}

std::string target_of(const data::SeriesTable& table, const ForecastOptions& options) {
  if (!options.target.empty()) return options.target;
  const auto known_ahead = [&](const auto& name) { return std::find(options.exogenous.begin(), options.exogenous.end(), name) != options.exogenous.end(); };
  const auto last = std::find_if_not(table.columns.rbegin(), table.columns.rend(), known_ahead);
  return last == table.columns.rend() ? table.columns.back() : *last;
}

Scaler fit_scaler(const at::Tensor& training) {
  at::Tensor deviation = training.std(0, /*unbiased=*/false);
  const at::Tensor mean = training.mean(0);
  // A constant column has a deviation of rounding errors only; as in scikit-learn it is centred and keeps its scale.
  const at::Tensor flat = training.eq(training[0]).all(0).logical_or(deviation.le(1e-12 * mean.abs()));
  deviation = at::where(flat, at::ones_like(deviation), deviation);
  return {mean, deviation};
}

void warn_of_constants(const at::Tensor& training, const data::SeriesTable& table, const ColumnRoles& roles) {
  const at::Tensor flat = training.eq(training[0]).all(0);
  for (int64_t c = 0; c < roles.channels(); ++c) {
    if (!flat[c].item<bool>()) continue;
    spdlog::warn("{}: column '{}' is constant in the training part ({}); its forecast teaches nothing and it is only centred (leave it out with ignore={})",
                 table.file, roles.columns[size_t(c)], training[0][c].item<double>(), roles.columns[size_t(c)]);
  }
}

// Finite values, but a variance beyond double's range.
void refuse_endless(const SeriesSpec& spec, const data::SeriesTable& table, const at::Tensor& training) {
  const at::Tensor good = spec.scaler.mean.isfinite().logical_and(spec.scaler.deviation.isfinite());
  for (int64_t c = 0; c < spec.roles.channels(); ++c) {
    if (good[c].item<bool>()) continue;
    std::ostringstream largest;
    largest << training.select(1, c).abs().max().item<double>();
    throw UsageError(table.file + ": column '" + spec.roles.columns[size_t(c)] + "' holds values up to " + largest.str() +
                     " in the training part, too large for a mean and deviation; correct them, or leave the column out with ignore=" + spec.roles.columns[size_t(c)]);
  }
}

at::Tensor seasonal_error(const at::Tensor& training, int64_t season, int64_t targets) {
  const int64_t rows = training.size(0), channels = training.size(1);
  if (rows <= season) return at::zeros({targets}, at::kDouble);
  const at::Tensor y = training.slice(1, channels - targets);
  return (y.slice(0, season) - y.slice(0, 0, rows - season)).abs().mean(0);
}

// The network's own length and the option must agree.
int64_t agreed(const Bundle& bundle, const char* what, int64_t wanted) {
  const int64_t own = configured(bundle, what);
  if (own > 0 && wanted > 0 && own != wanted)
    throw UsageError(std::string("option ") + what + " is " + std::to_string(wanted) + ", but the network " + bundle.spec + " is built for " + std::to_string(own));
  if (own == 0 && wanted == 0) throw UsageError(std::string("option ") + what + " is missing: how many steps? (" + what + "=96)");
  return own > 0 ? own : wanted;
}

// What the command line says, over what was said when the network was trained.
Json merged_options(const std::optional<SeriesSpec>& trained, const Json& given) {
  Json merged = trained ? trained->options : Json::object();
  for (const auto& [key, value] : given.items()) merged[key] = value;
  return merged;
}

SeriesSpec fresh_spec(const data::SeriesTable& table, const Bundle& bundle, const ForecastOptions& options, const Json& given) {
  SeriesSpec spec;
  spec.options = given;
  spec.roles = choose_roles(table, options);
  spec.setting = options.setting;
  spec.frequency = table.frequency;
  spec.calendar = options.calendar.empty() ? data::calendar_resolution(table.frequency) : options.calendar;
  spec.lookback = agreed(bundle, "lookback", options.lookback);
  spec.horizon = agreed(bundle, "horizon", options.horizon);
  spec.season = options.season > 0 ? options.season : data::default_season(table.frequency);
  const int64_t channels = configured(bundle, "channels");
  if (channels > 0 && channels != spec.roles.channels())
    throw UsageError(table.file + ": " + std::to_string(spec.roles.channels()) + " columns (" + join(spec.roles.columns).substr(0, 200) + "); the network " +
                     bundle.spec + " reads " + std::to_string(channels) + " (choose with columns=...; zoo train fits the network to the data)");
  return spec;
}

void fit(SeriesSpec& spec, const data::SeriesTable& table, const data::Borders& borders, bool scaled) {
  const at::Tensor values = select_columns(table, spec.roles);
  if (borders.train < 2) throw UsageError(table.file + ": the training part has " + std::to_string(borders.train) + " rows; at least 2 are needed");
  const at::Tensor training = values.slice(0, 0, borders.train);
  warn_of_constants(training, table, spec.roles);
  spec.scaler = fit_scaler(training);
  refuse_endless(spec, table, training);
  if (!scaled) spec.scaler = {at::zeros_like(spec.scaler.mean), at::ones_like(spec.scaler.deviation)};
  scaled_rows(table, spec, values, 0, table.rows());  // what is wrong with the test part is told now, not after the training
  spec.seasonal_error = seasonal_error(spec.scaler.scale(training), spec.season, spec.roles.targets);
  const bool day = table.frequency.whole_days();
  const auto date = [&](int64_t row) { return data::date_text(table.dates[size_t(row)], day); };
  spec.trained_on = {{"file", fs::path(table.file).filename().string()}, {"rows", table.rows()}, {"from", date(0)}, {"to", date(table.rows() - 1)},
                     {"train_from", date(0)}, {"train_to", date(borders.train - 1)},
                     {"borders", {borders.train, borders.validation, borders.test}}, {"split", borders.rule}};
}

// Roles and lengths of a trained network are fixed; what was asked for must be the same.
void refuse_other_roles(const SeriesSpec& spec, const Json& given) {
  for (const char* key : {"setting", "target", "columns", "ignore", "exogenous", "indicators", "calendar", "scaler", "lookback", "horizon"}) {
    const auto wanted = given.find(key);
    if (wanted == given.end() || (spec.options.contains(key) && spec.options.at(key) == *wanted)) continue;
    const Json own = std::string(key) == "lookback" ? Json(spec.lookback) : std::string(key) == "horizon" ? Json(spec.horizon)
                     : std::string(key) == "setting" ? Json(spec.setting) : std::string(key) == "calendar" ? Json(spec.calendar)
                     : spec.options.value(key, Json(nullptr));
    if (own == *wanted) continue;
    throw UsageError(std::string("option ") + key + " is " + wanted->dump().substr(0, 80) + ", but the network was trained with " +
                     (own.is_null() ? "none" : own.dump().substr(0, 200)) + "; leave it out, or train anew");
  }
}

struct Part {
  int64_t begin = 0, end = 0;
  std::string name;
};

Part part_of(const data::SeriesTable& table, const data::Borders& borders, const std::string& split, int64_t lookback) {
  if (split == "train") return {0, borders.train, split};
  if (split == "validation") return {std::max<int64_t>(0, borders.train - lookback), borders.validation, split};
  if (split == "test") return {std::max<int64_t>(0, borders.validation - lookback), borders.test, split};
  if (split == "all") return {0, table.rows(), split};
  throw UsageError("split '" + split.substr(0, 80) + "'; expected train, validation, test or all");
}

// Without a wish: what follows the training, be it the test part or a file that is all new.
std::string natural_split(const data::SeriesTable& table, const std::optional<SeriesSpec>& trained) {
  if (!trained) return "test";
  const auto end = data::parse_date(trained->trained_on.value("to", std::string()));
  if (!end || table.dates.front() <= *end) return "test";
  spdlog::info("{}: begins after the data that the network was trained on; all of it is measured", table.file);
  return "all";
}

data::Borders borders_of(const data::SeriesTable& table, const Json& rule) {
  try {
    return data::split_series(table, rule);
  } catch (const std::invalid_argument& error) {
    throw UsageError(error.what());
  }
}

int64_t whole_batches(int64_t count, int64_t batch) { return count / batch * batch; }

}  // namespace forecasting_data_detail

std::shared_ptr<const data::SeriesTable> read_series_file(const fs::path& path, const data::SeriesOptions& options) {
  std::error_code error;
  if (fs::is_directory(path, error)) throw UsageError(path.string() + ": a folder; a CSV file of dates and numbers is expected");
  if (!fs::exists(path, error)) throw UsageError(path.string() + ": no such file");
  try {
    return forecasting_data_detail::shared_table(path, options);
  } catch (const std::invalid_argument& failure) {
    throw UsageError(failure.what());
  }
}

std::shared_ptr<const data::SeriesTable> read_like_trained(const fs::path& path, const SeriesSpec& spec, data::SeriesOptions options) {
  const auto indicators = read_forecast_options(spec.options).indicators;
  options.columns = spec.roles.columns;
  std::erase_if(options.columns, [&](const auto& name) { return std::find(indicators.begin(), indicators.end(), name) != indicators.end(); });
  options.ignore.clear();
  std::shared_ptr<const data::SeriesTable> table;
  try {
    table = read_series_file(path, options);
  } catch (const UsageError& error) {
    if (!std::string(error.what()).starts_with(path.string() + ": no column '")) throw;
    throw UsageError(std::string(error.what()) + "\n  the network was trained on: " + join(options.columns) + "\n  the file has: " +
                     join(forecasting_data_detail::header_of(path, options.delimiter)));
  }
  if (table->frequency.known() && spec.frequency.known() && !(table->frequency == spec.frequency))
    spdlog::warn("{}: its step is {}; the network was trained on steps of {}", table->file, table->frequency.name(), spec.frequency.name());
  return with_indicators(table, spec.roles.columns.back(), indicators);
}

std::shared_ptr<const data::SeriesTable> with_indicators(std::shared_ptr<const data::SeriesTable> table, const std::string& price,
                                                         const std::vector<std::string>& names) {
  if (names.empty()) return table;
  for (const auto& name : names) {
    if (std::find(table->columns.begin(), table->columns.end(), name) != table->columns.end())
      throw UsageError(table->file + ": option indicators names '" + name + "', which is a column of the file already");
  }
  const at::Tensor column = table->values.select(1, int64_t(forecasting_data_detail::place_of(*table, price, "target"))).contiguous();
  const double* prices = column.const_data_ptr<double>();
  auto result = std::make_shared<data::SeriesTable>(*table);
  std::vector<at::Tensor> columns;
  try {
    for (const auto& [name, values] : data::indicator_columns({prices, prices + column.numel()}, names)) columns.push_back(at::tensor(values, at::kDouble));
  } catch (const std::invalid_argument& error) {
    throw UsageError(table->file + ": option indicators: " + error.what());
  }
  const at::Tensor all = at::cat({at::stack(columns, 1), table->values}, 1);
  const int64_t warm_up = all.isnan().any(1).sum().item<int64_t>();  // at the start only
  result->values = all.slice(0, warm_up).contiguous();
  result->dates.erase(result->dates.begin(), result->dates.begin() + warm_up);
  result->columns = names;
  result->columns.insert(result->columns.end(), table->columns.begin(), table->columns.end());
  return result;
}

ColumnRoles choose_roles(const data::SeriesTable& table, const ForecastOptions& options) {
  namespace d = forecasting_data_detail;
  std::vector<size_t> exogenous, rest;
  for (const auto& name : options.exogenous) exogenous.push_back(d::place_of(table, name, "exogenous"));
  const auto known_ahead = [&](size_t i) { return std::find(exogenous.begin(), exogenous.end(), i) != exogenous.end(); };
  for (size_t i = 0; i < table.columns.size(); ++i)
    if (!known_ahead(i)) rest.push_back(i);
  if (rest.empty()) throw UsageError(table.file + ": every column is named as exogenous; none is left to forecast");
  const size_t target = options.target.empty() ? rest.back() : d::place_of(table, options.target, "target");
  if (known_ahead(target)) throw UsageError("option target names '" + options.target + "', which option exogenous names too; a column is one or the other");
  if (options.setting == "S" && !exogenous.empty()) throw UsageError("setting S reads the target alone; use MS for exogenous columns");
  std::erase(rest, target);
  rest.push_back(target);
  if (options.setting == "S") rest = {target};
  ColumnRoles roles;
  for (const size_t i : exogenous) roles.columns.push_back(table.columns[i]);
  for (const size_t i : rest) roles.columns.push_back(table.columns[i]);
  roles.exogenous = int64_t(exogenous.size());
  roles.targets = options.setting == "M" ? int64_t(rest.size()) : 1;
  return roles;
}

at::Tensor select_columns(const data::SeriesTable& table, const ColumnRoles& roles) {
  if (table.columns == roles.columns) return table.values;
  std::vector<int64_t> places;
  for (const auto& name : roles.columns) places.push_back(int64_t(forecasting_data_detail::place_of(table, name, "columns")));
  return table.values.index_select(1, at::tensor(places, at::kLong));
}

at::Tensor scaled_rows(const data::SeriesTable& table, const SeriesSpec& spec, const at::Tensor& values, int64_t begin, int64_t end) {
  constexpr double kFarthest = 1e12;  // in deviations: networks square and cube what they read
  const at::Tensor scaled = spec.scaler.scale(values.slice(0, begin, end));
  const at::Tensor near = scaled.abs().le(kFarthest);
  if (!near.all().item<bool>()) {
    const at::Tensor first = near.logical_not().nonzero()[0];
    const int64_t row = begin + first[0].item<int64_t>(), column = first[1].item<int64_t>();
    std::ostringstream text;
    text << table.file << ": column '" << spec.roles.columns[size_t(column)] << "' at " << data::date_text(table.dates[size_t(row)], table.frequency.whole_days()) << " is "
         << values[row][column].item<double>() << ", which is too far from what the network is scaled for (" << spec.scaler.mean[column].item<double>() << " ± "
         << spec.scaler.deviation[column].item<double>() << ") to be computed with in float32; correct it";
    throw UsageError(text.str());
  }
  return scaled.to(at::kFloat).contiguous();
}

// ---- windows ----

ForecastDataset::ForecastDataset(std::shared_ptr<const data::SeriesTable> table, SeriesSpec spec, int64_t begin, int64_t end, std::string split)
    : table_(std::move(table)), spec_(std::move(spec)), begin_(begin), split_(std::move(split)) {
  const int64_t window = spec_.lookback + spec_.horizon;
  count_ = end - begin - window + 1;
  if (count_ < 1) {
    const bool whole = split_ == "test" && table_->rows() >= window;
    throw UsageError(table_->file + ": its " + (split_ == "all" ? "" : split_ + " part of ") + std::to_string(end - begin) + " rows" +
                     (split_ == "all" || split_ == "train" ? "" : ", the lookback before it included,") + " holds no window of lookback " +
                     std::to_string(spec_.lookback) + " + horizon " + std::to_string(spec_.horizon) + " steps; the file has " +
                     std::to_string(table_->rows()) + " rows (take a longer file, another split rule, or " +
                     (whole ? "--split all to measure on the whole file)" : "shorter windows)"));
  }
  values_ = scaled_rows(*table_, spec_, select_columns(*table_, spec_.roles), begin, end);
  time_ = data::calendar_features(std::span(table_->dates).subspan(size_t(begin), size_t(end - begin)), spec_.calendar);
  const int64_t first = spec_.roles.channels() - spec_.roles.targets;
  scale_ = at::stack({spec_.scaler.mean.slice(0, first), spec_.scaler.deviation.slice(0, first), spec_.seasonal_error});
  season_ = at::scalar_tensor(spec_.season, at::kLong);
}

// Columns [from, from + width) of rows offset .. offset + length of each window: [B, length, width].
at::Tensor ForecastDataset::windows(const at::Tensor& rows, std::span<const int64_t> indices, int64_t offset, int64_t length, int64_t from, int64_t width) const {
  at::Tensor result = at::empty({int64_t(indices.size()), length, width}, at::kFloat);
  const float* source = rows.const_data_ptr<float>();
  float* out = result.mutable_data_ptr<float>();
  const int64_t columns = rows.size(1);
  for (const int64_t index : indices) {
    const float* start = source + (index + offset) * columns + from;
    if (width == columns) {
      std::memcpy(out, start, sizeof(float) * size_t(length * width));
      out += length * width;
      continue;
    }
    for (int64_t step = 0; step < length; ++step, out += width) std::memcpy(out, start + step * columns, sizeof(float) * size_t(width));
  }
  return result;
}

Tensors ForecastDataset::get(std::span<const int64_t> indices, bool training, uint64_t /*seed*/) const {
  const int64_t lookback = spec_.lookback, horizon = spec_.horizon, channels = spec_.roles.channels(), targets = spec_.roles.targets;
  Tensors batch;
  batch["series"] = windows(values_, indices, 0, lookback, 0, channels);
  batch["target"] = windows(values_, indices, lookback, horizon, channels - targets, targets);
  batch["series_time"] = windows(time_, indices, 0, lookback, 0, time_.size(1));
  batch["future_time"] = windows(time_, indices, lookback, horizon, 0, time_.size(1));
  if (spec_.roles.exogenous > 0) batch["future_exogenous"] = windows(values_, indices, lookback, horizon, 0, spec_.roles.exogenous);
  if (!training) {
    batch["scale"] = scale_;
    batch["season"] = season_;
  }
  return batch;
}

std::string ForecastDataset::describe(int64_t index) const {
  return "forecast from " + data::date_text(table_->dates[size_t(begin_ + index + spec_.lookback)], table_->frequency.whole_days());
}

std::unique_ptr<ForecastDataset> open_forecast_data(const fs::path& file, const Bundle& bundle, const DataOptions& options) {
  namespace d = forecasting_data_detail;
  auto trained = read_series_spec(bundle);
  const Json given = options.options.is_object() ? options.options : Json::object();
  const Json merged = d::merged_options(trained, given);
  const auto wishes = read_forecast_options(merged);
  std::shared_ptr<const data::SeriesTable> table;
  SeriesSpec spec;
  if (trained && !options.training) {
    d::refuse_other_roles(*trained, given);
    spec = *trained;
    if (wishes.season > 0) spec.season = wishes.season;
    table = read_like_trained(file, spec, wishes.reading);
  } else {
    table = read_series_file(file, wishes.reading);
    table = with_indicators(table, d::target_of(*table, wishes), wishes.indicators);
    spec = d::fresh_spec(*table, bundle, wishes, merged);
  }
  const std::string split = !options.split.empty() ? options.split : options.training ? "train" : d::natural_split(*table, trained);
  const bool needs_borders = split != "all" || !trained || options.training;
  const auto borders = needs_borders ? d::borders_of(*table, wishes.split) : data::Borders{};
  if (!trained || options.training) d::fit(spec, *table, borders, wishes.scaled);
  if (needs_borders && split != "validation") spdlog::info("{}: split {}", table->file, borders.rule);
  const auto part = d::part_of(*table, borders, split, spec.lookback);
  auto dataset = std::make_unique<ForecastDataset>(table, spec, part.begin, part.end, part.name);
  if (wishes.drop_last > 0 && !options.training) {
    const int64_t kept = d::whole_batches(dataset->size(), wishes.drop_last);
    if (kept == 0) throw UsageError("drop_last=" + std::to_string(wishes.drop_last) + " leaves none of the " + std::to_string(dataset->size()) + " windows");
    dataset->keep(kept);
  }
  if (options.limit > 0) dataset->keep(options.limit);
  return dataset;
}

Json forecast_config(const fs::path& file, const Entry& entry, const DataOptions& options) {
  const auto wishes = read_forecast_options(options.options);
  auto table = read_series_file(file, wishes.reading);
  table = with_indicators(table, forecasting_data_detail::target_of(*table, wishes), wishes.indicators);
  const auto roles = choose_roles(*table, wishes);
  const auto keys = series_keys(entry);
  const auto resolution = wishes.calendar.empty() ? data::calendar_resolution(table->frequency) : wishes.calendar;
  if (roles.exogenous > 0 && keys.value("exogenous", Json::array()).empty())
    spdlog::warn("{} does not use what is known of the future: exogenous columns are read like the others, and their forecast is cut off", entry.name);
  Json config = Json::object();
  const auto set = [&](const char* what, const Json& value) {
    for (const auto& key : keys.value(what, Json::array())) config[key.get<std::string>()] = value;
  };
  if (wishes.lookback > 0) set("lookback", wishes.lookback);
  if (wishes.horizon > 0) set("horizon", wishes.horizon);
  if (wishes.start > 0) set("start", wishes.start);
  set("channels", roles.channels());
  set("targets", roles.targets);
  set("calendar", data::calendar_width(resolution));
  set("exogenous", roles.exogenous);
  set("setting", wishes.setting);
  return config;
}

at::Tensor naive_last(const at::Tensor& series, int64_t horizon, int64_t targets) {
  return series.slice(1, -1).slice(2, series.size(2) - targets).expand({series.size(0), horizon, targets});
}

at::Tensor naive_seasonal(const at::Tensor& series, int64_t horizon, int64_t targets, int64_t season) {
  const int64_t lookback = series.size(1);
  if (season < 2 || season > lookback) return {};
  const at::Tensor steps = at::arange(horizon, at::TensorOptions(at::kLong).device(series.device())).remainder(season).add(lookback - season);
  return series.slice(2, series.size(2) - targets).index_select(1, steps);
}

}  // namespace zoo::app
