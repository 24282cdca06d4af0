#include "models/blocks/series.h"

#include <cmath>

#include "models/blocks/attention.h"

namespace zoo {

PointwiseConvImpl::PointwiseConvImpl(int64_t in, int64_t out) {
  weight = param("weight", {out, in, 1});
  bias = param("bias", {out});
}

Tensor PointwiseConvImpl::forward(const Tensor& x) {
  const Tensor y = adapted(linear(x, weight.squeeze(-1), bias), x);
  if (Trace::active()) Trace::record(this, y.transpose(1, -1));
  return y;
}

void PointwiseConvImpl::init() {
  const double bound = 1.0 / std::sqrt(static_cast<double>(weight.size(1)));
  at::NoGradGuard no_grad;
  weight.uniform_(-bound, bound);
  bias.uniform_(-bound, bound);
}

SeriesAttentionImpl::SeriesAttentionImpl(int64_t width, int64_t heads, double dropout) : width_(width), heads_(heads), dropout_(dropout) {}

Tensor SeriesAttentionImpl::forward(const Tensor& x, const Tensor& memory) {
  const Tensor q = split_heads(query(x), heads_), k = split_heads(key(memory), heads_), v = split_heads(value(memory), heads_);
  return out(merge_heads(attention(q, k, v, {}, is_training() ? dropout_ : 0.0)));
}

WindowNorm::WindowNorm(const Tensor& window) {
  const auto [variance, average] = at::var_mean(window, at::IntArrayRef{1}, /*correction=*/at::Scalar(0), /*keepdim=*/true);
  mean = average;
  deviation = at::sqrt(variance + 1e-5);
  series = (window - mean) / deviation;
}

Tensor WindowNorm::restore(const Tensor& forecast) const { return at::addcmul(mean, forecast, deviation); }

void WindowNorm::keep_last() {
  mean = mean.slice(2, -1);
  deviation = deviation.slice(2, -1);
}

Tensor series_position_table(int64_t rows, int64_t width) {
  const Tensor position = at::arange(rows, at::kFloat).unsqueeze(1);
  const Tensor rate = (at::arange(0, width, 2, at::kFloat) * static_cast<float>(-(std::log(10000.0) / static_cast<double>(width)))).exp();
  const Tensor angle = position * rate;  // [rows, width / 2]
  return at::stack({angle.sin(), angle.cos()}, -1).reshape({rows, width});
}

void read_switch(Fields& f, const std::string& key, bool& value) {
  const auto found = f.json().find(key);
  if (found == f.json().end() || !found->is_number()) return f.flag(key, value);
  int64_t number = value;
  f.count(key, number);
  value = number != 0;
}

void ignore_run_options(Fields& f) {
  f.ignored({"task_name", "is_training", "model_id", "model", "data", "root_path", "data_path", "target", "checkpoints", "seasonal_patterns",
             "inverse", "mask_rate", "anomaly_ratio", "expand", "d_conv", "top_k", "num_kernels", "moving_avg", "factor", "distil", "embed",
             "freq", "output_attention", "channel_independence", "decomp_method", "down_sampling_layers", "down_sampling_window",
             "down_sampling_method", "seg_len", "label_len", "dec_in", "c_out", "d_layers", "class_strategy", "exp_name", "patch_len",
             "num_class", "cols", "padding", "des", "detail_freq"});
}

}  // namespace zoo
