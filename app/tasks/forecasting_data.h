// Windows of a time series as a data set: which columns do what, the scaler, and what a checkpoint keeps of them
// (docs/forecasting.md).
#pragma once
#include <memory>
#include <optional>

#include "app/tasks/task.h"
#include "data/series.h"
#include "data/series_split.h"

namespace zoo::app {

// The options of a recipe's "data" and of --option.
struct ForecastOptions {
  data::SeriesOptions reading;
  std::string setting = "M";            // M: every column is read and forecast; MS: all are read, `target` is forecast; S: target alone
  std::string target;                   // empty: the last column
  std::vector<std::string> exogenous;   // columns that are known for the future: read, not forecast
  std::vector<std::string> indicators;  // technical indicators of the target, as further columns (data/indicators.h)
  std::string calendar;                 // resolution of the calendar features; empty: that of the step
  int64_t lookback = 0, horizon = 0;    // 0: the network's
  int64_t start = 0;                    // known steps that a decoder begins with; 0: the network's
  int64_t season = 0;                   // of the naive forecast and of MASE; 0: from the step
  bool scaled = true;                   // by the training part's mean and deviation; false: as the file has them (counts)
  int64_t drop_last = 0;                // leave out windows after the last whole batch of this size, as published loaders do
  Json split = "ratio";                 // data/series_split.h
};
// Strict: throws UsageError for unknown keys (with the nearest) and wrong values.
const std::vector<std::string>& forecast_option_names();
ForecastOptions read_forecast_options(const Json& options);

// Columns in the network's order: those known for the future, those only read, those forecast.
struct ColumnRoles {
  std::vector<std::string> columns;
  int64_t exogenous = 0, targets = 0;   // how many, at the front and at the end
  int64_t channels() const { return int64_t(columns.size()); }
  std::vector<std::string> target_names() const { return {columns.end() - targets, columns.end()}; }
};

// Standard scaler of the training part (population deviation; a constant column keeps its scale).
struct Scaler {
  at::Tensor mean, deviation;           // [C] double
  at::Tensor scale(const at::Tensor& values) const { return (values - mean) / deviation; }
};

// All that preprocessor_config.json keeps under "series".
struct SeriesSpec {
  Json options = Json::object();        // as given when training
  ColumnRoles roles;
  std::string setting = "M", calendar;
  data::Frequency frequency;
  int64_t lookback = 0, horizon = 0, season = 1;
  Scaler scaler;
  at::Tensor seasonal_error;            // [Ct] double: mean |y_t - y_(t - season)| of the scaled training part
  Json trained_on = Json::object();     // file, rows, from, to, train_from, train_to, borders

  std::string describe() const;         // "ETTh1.csv (7 columns every hour), rows from 2016-07-01 to ..."
};
// Nothing for a network that was never trained on series. Throws std::invalid_argument for a damaged one.
std::optional<SeriesSpec> read_series_spec(const Bundle& bundle);
Json write_series_spec(const SeriesSpec& spec);

// The file, read once however many splits are opened of it at a time. Notes go to the log on the first reading.
// Throws UsageError for what the user can mend by options, std::runtime_error for a damaged file.
std::shared_ptr<const data::SeriesTable> read_series_file(const std::filesystem::path& path, const data::SeriesOptions& options);
// The columns that a checkpoint was trained on, from another file; an error lists both. Warns of another step.
std::shared_ptr<const data::SeriesTable> read_like_trained(const std::filesystem::path& path, const SeriesSpec& spec, data::SeriesOptions options);

// The table with indicators of column `price` as its first columns, without the rows before they have seen enough prices.
std::shared_ptr<const data::SeriesTable> with_indicators(std::shared_ptr<const data::SeriesTable> table, const std::string& price,
                                                         const std::vector<std::string>& names);

ColumnRoles choose_roles(const data::SeriesTable& table, const ForecastOptions& options);
// The columns of `roles` [N, C].
at::Tensor select_columns(const data::SeriesTable& table, const ColumnRoles& roles);

// Rows [begin, end) of `values` [N, C], the columns of spec.roles in `table`, as the network reads them: scaled, float32. Throws UsageError
// that names the first value so far from the mean that float32 arithmetic cannot carry it.
at::Tensor scaled_rows(const data::SeriesTable& table, const SeriesSpec& spec, const at::Tensor& values, int64_t begin, int64_t end);

// The card's table of config keys that the data decides; empty for a network that does not forecast series.
Json series_keys(const Entry& entry);
// The number that the network's config holds for one of them ("lookback"); 0: none.
int64_t configured(const Bundle& bundle, const char* what);

// Examples are windows: `series` [B, L, C], `series_time` [B, L, F], `future_time` [B, H, F], `future_exogenous` [B, H, E],
// `target` [B, H, Ct], scaled. For measuring also `scale` [3, Ct] (mean, deviation, seasonal error) and `season` [].
class ForecastDataset : public Dataset {
 public:
  // Windows that lie in rows [begin, end). Throws UsageError when there is none.
  ForecastDataset(std::shared_ptr<const data::SeriesTable> table, SeriesSpec spec, int64_t begin, int64_t end, std::string split);

  int64_t size() const override { return count_; }
  Tensors get(std::span<const int64_t> indices, bool training, uint64_t seed) const override;
  int64_t batch_size() const override { return 256; }
  std::string split() const override { return split_; }
  std::string describe(int64_t index) const override;
  const SeriesSpec& spec() const { return spec_; }
  void keep(int64_t count) { count_ = std::min(count_, count); }

 private:
  at::Tensor windows(const at::Tensor& rows, std::span<const int64_t> indices, int64_t offset, int64_t length, int64_t from, int64_t width) const;

  std::shared_ptr<const data::SeriesTable> table_;
  SeriesSpec spec_;
  int64_t begin_ = 0, count_ = 0;
  std::string split_;
  at::Tensor values_, time_;            // rows [begin, end): scaled [n, C], calendar [n, F]
  at::Tensor scale_, season_;
};

std::unique_ptr<ForecastDataset> open_forecast_data(const std::filesystem::path& file, const Bundle& bundle, const DataOptions& options);
Json forecast_config(const std::filesystem::path& file, const Entry& entry, const DataOptions& options);

// The forecast of "nothing changes": the last value [B, H, Ct], and the value a season ago (undefined when the season is
// longer than the lookback, or one step).
at::Tensor naive_last(const at::Tensor& series, int64_t horizon, int64_t targets);
at::Tensor naive_seasonal(const at::Tensor& series, int64_t horizon, int64_t targets, int64_t season);

}  // namespace zoo::app
