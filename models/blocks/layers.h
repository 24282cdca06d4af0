// The small layers every network is made of, with PyTorch's keys (weight, bias) and PyTorch's default starting values.
#pragma once
#include <utility>

#include "models/blocks/adaptable.h"

namespace zoo {

// (x - mean) / sqrt(var + eps) * weight + bias over the last axis (Ba et al., 2016, arXiv:1607.06450).
class LayerNormImpl : public Module {
 public:
  explicit LayerNormImpl(int64_t width, double eps = 1e-5);
  Tensor forward(const Tensor& x);
  // forward(x), or with `order` [places] int64 forward(x [B, N, width]).index_select(1, order); in inference on a CPU one pass, in bfloat16 if `half`.
  Tensor rows(const Tensor& x, bool half, const Tensor& order = {});
  void init() override;
  Tensor weight, bias;  // [width]
  double eps() const { return eps_; }

 private:
  bool goes_by_rows(const Tensor& x) const;
  double eps_;
};
ZOO_MODULE(LayerNorm);

// x [B, N, width] + more [B, M, width].index_select(1, order [N]); in inference on a CPU one pass.
Tensor added_rows(const Tensor& x, const Tensor& more, const Tensor& order);

// {s, norm(s)} for s = x + change, or x itself: where s goes on beside the norm. In training on a GPU the gradients of both come of one pass.
std::pair<Tensor, Tensor> with_norm(LayerNorm& norm, const Tensor& x, const Tensor& change = {});

// x / sqrt(mean x^2 + eps) * weight over the last axis, the mean in float32 (Zhang & Sennrich, 2019, arXiv:1910.07467); weight [width].
Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps);

// Rows of a table: ids [...] int64 -> [..., width].
class EmbeddingImpl : public Module {
 public:
  EmbeddingImpl(int64_t rows, int64_t width);
  Tensor forward(const Tensor& ids);
  void init() override;  // standard normal
  Tensor weight;         // [rows, width]
};
ZOO_MODULE(Embedding);

// 2-D convolution: [B, in, H, W] -> [B, out, H', W']. On a GPU patches that lie side by side are multiplied as rows.
class Conv2dImpl : public AdaptableLayer {
 public:
  Conv2dImpl(int64_t in, int64_t out, int64_t kernel, int64_t stride = 1, int64_t padding = 0, bool with_bias = true);
  Tensor forward(const Tensor& x);
  void init() override;  // uniform in +-1/sqrt(in * kernel^2); weight [out, in, kernel, kernel]
  Tensor product(const Tensor& x, const Tensor& other) override;
  Tensor mix_channels(const Tensor& x, const Tensor& other, const Tensor& with) override;
  Tensor per_channel(const Tensor& values) const override { return values.view({-1, 1, 1}); }

 private:
  int64_t stride_, padding_;
};
ZOO_MODULE(Conv2d);

// Batch norm (Ioffe & Szegedy, 2015, arXiv:1502.03167) of each channel of [B, width] or [B, width, ...]. In training by the batch's own
// mean and variance, towards which the running ones, buffers of the checkpoint, move by a tenth; in eval mode by the running ones.
class BatchNormImpl : public Module {
 public:
  explicit BatchNormImpl(int64_t width, double eps = 1e-5);
  Tensor forward(const Tensor& x);
  void init() override;
  Tensor weight, bias, running_mean, running_var;  // [width]
  Tensor num_batches_tracked;                      // [] int64: how many batches moved the running ones
  double eps() const { return eps_; }

 private:
  double eps_;
};
ZOO_MODULE(BatchNorm);

// Stochastic depth per sample (Huang et al., 2016, arXiv:1603.09382): in training a whole residual branch [B, ...] is dropped
// with probability p and the kept ones are scaled by 1 / (1 - p).
Tensor drop_path(const Tensor& branch, double p, bool training);

// The activation that a Hugging Face config names: gelu (exact), gelu_new (tanh), relu, silu, tanh, ...
using Activation = Tensor (*)(const Tensor&);
Activation activation(const std::string& name);  // throws std::invalid_argument for unknown names
const std::vector<std::string>& activation_names();

}  // namespace zoo
