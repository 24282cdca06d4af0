// Options of the forecasting task, and what a checkpoint keeps: JSON to structs and back.
#include <algorithm>
#include <cmath>

#include "app/cli.h"
#include "app/tasks/forecasting_data.h"
#include "models/names.h"
#include "models/registry.h"

namespace zoo::app {
namespace forecasting_options_detail {

// What the task reads from its options somewhere: here, in the loss, in the metrics or in `zoo run`.
const std::vector<std::string>& known_options() {
  static const std::vector<std::string> names = {"lookback", "horizon", "setting", "target", "columns", "ignore", "exogenous", "indicators", "date_column", "sort",
                                                 "missing", "gaps", "delimiter", "split", "calendar", "season", "start", "scaler", "drop_last", "loss", "delta",
                                                 "backtest", "stride", "future"};
  return names;
}

std::string shown(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace).substr(0, 80); }

[[noreturn]] void wrong(const char* key, const Json& seen, const std::string& expected) {
  throw UsageError(std::string("option ") + key + " is " + shown(seen) + "; expected " + expected);
}

const Json* find(const Json& options, const char* key) {
  const auto found = options.find(key);
  return found == options.end() || found->is_null() ? nullptr : &*found;
}

// A column may be called 0, which the command line makes a number.
std::string text(const Json& options, const char* key, const std::string& fallback = "") {
  const Json* value = find(options, key);
  if (!value) return fallback;
  if (value->is_structured()) wrong(key, *value, "a text");
  return value->is_string() ? value->get<std::string>() : value->dump();
}

// ["a", "b"] or "a,b".
std::vector<std::string> texts(const Json& options, const char* key) {
  std::vector<std::string> words;
  const Json* value = find(options, key);
  if (!value) return words;
  if (value->is_array()) {
    for (const auto& item : *value) {
      if (item.is_structured()) wrong(key, *value, "names of columns");
      words.push_back(item.is_string() ? item.get<std::string>() : item.dump());
    }
    return words;
  }
  const std::string all = text(options, key);
  for (size_t begin = 0; begin < all.size();) {
    const size_t end = std::min(all.find(',', begin), all.size());
    words.push_back(all.substr(begin, end - begin));
    begin = end + 1;
  }
  return words;
}

int64_t whole(const Json& options, const char* key, int64_t fallback) {
  const Json* value = find(options, key);
  if (!value) return fallback;
  if (!value->is_number_integer() || value->get<double>() < 1 || value->get<double>() > 1e7) wrong(key, *value, "a whole number from 1 to 10000000");
  return value->get<int64_t>();
}

std::string one_of(const Json& options, const char* key, const std::string& fallback, const std::vector<std::string>& allowed) {
  const std::string value = text(options, key, fallback);
  if (std::find(allowed.begin(), allowed.end(), value) == allowed.end()) wrong(key, value, "one of " + join(allowed));
  return value;
}

bool flag(const Json& options, const char* key) {
  const Json* value = find(options, key);
  if (value && !value->is_boolean()) wrong(key, *value, "true or false");
  return value && value->get<bool>();
}

data::SeriesOptions reading(const Json& options) {
  using Gaps = data::SeriesOptions::Gaps;
  data::SeriesOptions r;
  r.date_column = text(options, "date_column");
  r.columns = texts(options, "columns");
  r.ignore = texts(options, "ignore");
  r.sort = flag(options, "sort");
  r.refuse_missing = one_of(options, "missing", "previous", {"previous", "refuse"}) == "refuse";
  const auto gaps = one_of(options, "gaps", "keep", {"keep", "fill", "refuse"});
  r.gaps = gaps == "keep" ? Gaps::keep : gaps == "fill" ? Gaps::fill : Gaps::refuse;
  const auto delimiter = text(options, "delimiter");
  if (delimiter.size() > 1) wrong("delimiter", delimiter, "one character");
  if (!delimiter.empty()) r.delimiter = delimiter[0];
  return r;
}

at::Tensor numbers(const Json& values, int64_t count, const char* what) {
  if (!values.is_array() || int64_t(values.size()) != count) throw std::invalid_argument(std::string(what) + " must hold " + std::to_string(count) + " numbers");
  std::vector<double> list;
  for (const auto& value : values) {
    if (!value.is_number() || !std::isfinite(value.get<double>())) throw std::invalid_argument(std::string(what) + " holds " + shown(value) + ", which is no finite number");
    list.push_back(value.get<double>());
  }
  return at::tensor(list, at::kDouble);
}

Json list_of(const at::Tensor& values) {
  const at::Tensor flat = values.to(at::kDouble).contiguous();
  const double* data = flat.const_data_ptr<double>();
  return std::vector<double>(data, data + flat.numel());
}

SeriesSpec spec_from(const Json& json) {
  SeriesSpec spec;
  spec.options = json.value("options", Json::object());
  spec.roles.columns = json.at("columns").get<std::vector<std::string>>();
  spec.roles.exogenous = json.at("exogenous").get<int64_t>();
  spec.roles.targets = json.at("targets").get<int64_t>();
  spec.setting = json.at("setting").get<std::string>();
  spec.calendar = json.at("calendar").get<std::string>();
  spec.lookback = json.at("lookback").get<int64_t>();
  spec.horizon = json.at("horizon").get<int64_t>();
  spec.season = json.at("season").get<int64_t>();
  spec.trained_on = json.value("trained_on", Json::object());
  const int64_t columns = spec.roles.channels();
  const bool counts = columns > 0 && spec.roles.targets > 0 && spec.roles.targets <= columns && spec.roles.exogenous >= 0 && spec.roles.exogenous <= columns;
  if (!counts || spec.lookback < 1 || spec.horizon < 1 || spec.season < 1) throw std::invalid_argument("its counts of columns and steps do not fit together");
  data::calendar_width(spec.calendar);
  const auto frequency = json.at("frequency").get<std::string>();
  if (const auto known = data::parse_frequency(frequency)) spec.frequency = *known;
  spec.scaler = {numbers(json.at("scaler").at("mean"), columns, "scaler.mean"), numbers(json.at("scaler").at("std"), columns, "scaler.std")};
  if (!spec.scaler.deviation.gt(0).all().item<bool>()) throw std::invalid_argument("scaler.std must be above 0");
  spec.seasonal_error = numbers(json.at("seasonal_error"), spec.roles.targets, "seasonal_error");
  return spec;
}

}  // namespace forecasting_options_detail

const std::vector<std::string>& forecast_option_names() { return forecasting_options_detail::known_options(); }

ForecastOptions read_forecast_options(const Json& options) {
  namespace d = forecasting_options_detail;
  for (const auto& [key, value] : options.items()) {
    if (std::find(d::known_options().begin(), d::known_options().end(), key) == d::known_options().end())
      throw UsageError("unknown option '" + key.substr(0, 80) + "'; nearest: " + join(nearest(key, d::known_options())) + " (known: " + join(d::known_options()) + ")");
  }
  ForecastOptions result;
  result.reading = d::reading(options);
  result.setting = d::one_of(options, "setting", "M", {"M", "S", "MS"});
  result.target = d::text(options, "target");
  result.exogenous = d::texts(options, "exogenous");
  result.indicators = d::texts(options, "indicators");
  result.calendar = d::text(options, "calendar");
  if (!result.calendar.empty()) d::one_of(options, "calendar", "", data::calendar_resolutions());
  result.lookback = d::whole(options, "lookback", 0);
  result.horizon = d::whole(options, "horizon", 0);
  result.start = d::whole(options, "start", 0);
  result.season = d::whole(options, "season", 0);
  result.scaled = d::one_of(options, "scaler", "standard", {"standard", "none"}) == "standard";
  result.drop_last = d::whole(options, "drop_last", 0);
  if (const Json* split = d::find(options, "split")) result.split = *split;
  return result;
}

std::optional<SeriesSpec> read_series_spec(const Bundle& bundle) {
  if (!bundle.preprocessor.is_object() || !bundle.preprocessor.contains("series")) return std::nullopt;
  try {
    return forecasting_options_detail::spec_from(bundle.preprocessor.at("series"));
  } catch (const std::exception& error) {
    throw std::invalid_argument((bundle.folder / "preprocessor_config.json").string() + ": key \"series\" is damaged: " + error.what());
  }
}

Json write_series_spec(const SeriesSpec& spec) {
  namespace d = forecasting_options_detail;
  return {{"options", spec.options}, {"columns", spec.roles.columns}, {"exogenous", spec.roles.exogenous}, {"targets", spec.roles.targets},
          {"setting", spec.setting}, {"calendar", spec.calendar}, {"frequency", spec.frequency.name()}, {"lookback", spec.lookback},
          {"horizon", spec.horizon}, {"season", spec.season},
          {"scaler", {{"mean", d::list_of(spec.scaler.mean)}, {"std", d::list_of(spec.scaler.deviation)}}},
          {"seasonal_error", d::list_of(spec.seasonal_error)}, {"trained_on", spec.trained_on}};
}

std::string SeriesSpec::describe() const {
  const auto fact = [&](const char* key) { return trained_on.value(key, std::string("?")); };
  return fact("file") + " (" + std::to_string(roles.channels()) + " columns: " + join(roles.columns).substr(0, 300) + "; step " + frequency.name() +
         "), its rows from " + fact("train_from") + " to " + fact("train_to") + "; reads " + std::to_string(lookback) + " steps, forecasts " +
         std::to_string(horizon) + " of " + join(roles.target_names()).substr(0, 300);
}

Json series_keys(const Entry& entry) { return card(entry.name).value("series", Json::object()); }

int64_t configured(const Bundle& bundle, const char* what) {
  for (const auto& key : series_keys(*bundle.entry).value(what, Json::array())) {
    const auto found = bundle.config.find(key.get<std::string>());
    if (found != bundle.config.end() && found->is_number_integer()) return found->get<int64_t>();
  }
  return 0;
}

}  // namespace zoo::app
