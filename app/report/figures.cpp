#include "app/report/figures.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <string_view>

#include "app/report/table.h"

namespace zoo::app {
namespace figures_detail {

constexpr std::array<std::string_view, 20> kLower = {"loss", "mse", "mae", "rmse", "mape", "smape", "mase", "nll", "crps", "perplexity",
                                                     "wer", "cer", "error", "fid", "eer", "mpjpe", "rmsle", "brier", "ece", "mdape"};
constexpr std::array<std::string_view, 18> kShares = {"accuracy", "f1", "precision", "recall", "auc", "map", "iou", "miou", "dice",
                                                      "exact_match", "top1", "top5", "ap", "ndcg", "mrr", "average_precision", "share", "pck"};
constexpr std::array<std::string_view, 16> kHigher = {"spearman", "pearson", "kendall", "bleu", "rouge", "r2", "matthews", "kappa", "psnr",
                                                       "chrf", "chrf++", "rouge1", "rouge2", "rougeL", "rougeLsum", "ngram"};

// "validation.macro_f1" ends in the word "f1": the whole last part, or what follows one of its underscores.
template <size_t N>
bool ends_in(const std::string& metric, const std::array<std::string_view, N>& words) {
  const std::string_view part = std::string_view(metric).substr(metric.find_last_of('.') + 1);
  return std::any_of(words.begin(), words.end(), [&](std::string_view word) {
    return part.ends_with(word) && (part.size() == word.size() || part[part.size() - word.size() - 1] == '_');
  });
}

void collect(const Json& metrics, const std::string& prefix, std::vector<std::pair<std::string, double>>& figures) {
  for (const auto& [name, value] : metrics.items()) {
    if (value.is_number()) figures.emplace_back(prefix + name, value.get<double>());
    else if (value.is_object()) collect(value, prefix + name + ".", figures);
  }
}

}  // namespace figures_detail

Better better(const std::string& metric) {
  namespace d = figures_detail;
  if (d::ends_in(metric, d::kLower)) return Better::lower;
  return d::ends_in(metric, d::kShares) || d::ends_in(metric, d::kHigher) ? Better::higher : Better::unknown;
}

bool is_share(const std::string& metric) { return figures_detail::ends_in(metric, figures_detail::kShares); }

std::vector<std::pair<std::string, double>> flat_figures(const Json& metrics) {
  std::vector<std::pair<std::string, double>> figures;
  if (metrics.is_object()) figures_detail::collect(metrics, "", figures);
  return figures;
}

std::optional<double> figure(const Json& metrics, const std::string& dotted) {
  for (const auto& [name, value] : flat_figures(metrics)) {
    if (name == dotted) return value;
  }
  return std::nullopt;
}

std::string figure_text(double value) {
  const double size = std::abs(value);
  if (value == 0 || (value == std::floor(value) && size >= 2 && size < 1e9)) return fixed_text(value, 0);  // most likely a count
  if ((size >= 0.01 && size < 1000) || !std::isfinite(value)) return fixed_text(value, 4);
  std::array<char, 32> text;
  std::snprintf(text.data(), text.size(), "%.4g", value);
  return text.data();
}

Spread spread(const std::vector<double>& values) {
  Spread result;
  result.count = values.size();
  if (values.empty()) return result;
  for (const double value : values) result.mean += value / static_cast<double>(values.size());
  double squares = 0;
  for (const double value : values) squares += (value - result.mean) * (value - result.mean);
  if (values.size() > 1) result.deviation = std::sqrt(squares / static_cast<double>(values.size() - 1));
  return result;
}

std::string deviation_text(const Spread& spread) {
  if (spread.count < 2) return "";
  const double size = std::abs(spread.mean);
  return size >= 0.01 && size < 1000 && spread.deviation >= 0.00005 ? fixed_text(spread.deviation, 4) : figure_text(spread.deviation);
}

std::string spread_text(const Spread& spread) {
  if (spread.count == 0) return "";
  return figure_text(spread.mean) + (spread.deviation == 0 ? "" : " ± " + deviation_text(spread));
}

}  // namespace zoo::app
