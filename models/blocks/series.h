// What the forecasting networks of one family share (Informer, and iTransformer and TimeXer, which grew from its code):
// the attention layer, 1x1 convolutions, instance normalisation, the position table and the options of their scripts.
#pragma once
#include "models/blocks/linear.h"
#include "models/config.h"
#include "models/module.h"

namespace zoo {

// A convolution of kernel 1 along the tokens, which is a linear layer whose weight is stored as [out, in, 1]. Tokens stay on
// the second axis: [B, T, in] -> [B, T, out]; a trace sees the reference's [B, out, T].
class PointwiseConvImpl : public AdaptableLayer {
 public:
  PointwiseConvImpl(int64_t in, int64_t out);
  Tensor forward(const Tensor& x);
  void init() override;  // PyTorch's default: uniform in +-1/sqrt(in)
  Tensor product(const Tensor& x, const Tensor& other) override { return linear(x, other.squeeze(-1), Tensor()); }
  Tensor mix_channels(const Tensor& x, const Tensor& other, const Tensor& with) override { return linear(x, other.squeeze(-1), with); }
  Tensor per_channel(const Tensor& values) const override { return values; }
};
ZOO_MODULE(PointwiseConv);

// Multi-head attention with the family's key names. `dropout` acts on the attention weights.
class SeriesAttentionImpl : public Module {
 public:
  SeriesAttentionImpl(int64_t width, int64_t heads, double dropout);
  Tensor forward(const Tensor& x, const Tensor& memory);  // [B, T, D] reads [B, S, D] -> [B, T, D]

 private:
  int64_t width_, heads_;
  double dropout_;

 public:
  Linear query = add("query_projection", Linear(width_, width_));
  Linear key = add("key_projection", Linear(width_, width_));
  Linear value = add("value_projection", Linear(width_, width_));
  Linear out = add("out_projection", Linear(width_, width_));
};
ZOO_MODULE(SeriesAttention);

// Each series of a window [B, L, C] with mean 0 and variance 1 (biased, 1e-5 inside the root): Non-stationary Transformers
// (Liu et al., 2022, arXiv:2205.14415), equation 1. restore() takes a forecast [B, H, C] back.
struct WindowNorm {
  Tensor series, mean, deviation;  // [B, L, C], [B, 1, C], [B, 1, C]
  explicit WindowNorm(const Tensor& window);
  Tensor restore(const Tensor& forecast) const;
  void keep_last();  // restore() is to take the last series' forecast [B, H, 1] only
};

// [rows, width], width even: sines at even and cosines at odd columns, in float32 as the family computes it.
Tensor series_position_table(int64_t rows, int64_t width);

// A switch that configs of the family store as true/false or as 1/0.
void read_switch(Fields& f, const std::string& key, bool& value);

// The options of the family's command lines that do not change the network: accepted in a config, not read.
void ignore_run_options(Fields& f);

}  // namespace zoo
