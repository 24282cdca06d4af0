// What both implementations of Informer (Zhou et al., 2021, arXiv:2012.07436) share: ProbSparse attention, circular convolution
// and the distilling between encoder layers.
#pragma once
#include "models/blocks/layers.h"

namespace zoo {

// Attention over [B, H, L, d] for the `active` queries of each head that differ most from uniform attention, judged by the keys
// that `sample` [Lq or 1, U] names with repetitions: M = max - sum / Lk of the query's scores with them (equation 4; the
// references divide by the number of all keys). The other queries take the mean of the values; with `causal`, the sum of those
// so far, and the active ones see no later keys. `dropout` acts on the attention weights; pass 0 in eval mode.
Tensor sparse_attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& sample, int64_t active, bool causal,
                        double dropout = 0.0);

// Indices below `keys` of the given shape: by PyTorch's generator in training, else always the same, so that forecasts repeat.
Tensor draw_sample(at::IntArrayRef shape, int64_t keys, bool training, at::Device device);

// A convolution of kernel 3 along the steps of [B, L, in] that wraps around at both ends -> [B, L, out]; weight [out, in, 3].
Tensor circular_convolution(const Tensor& x, const Tensor& weight, const Tensor& bias);

// Convolution, batch norm, ELU and max-pooling that halves the length (equation 5): [B, L, D] -> [B, (L + 1) / 2, D]. In
// training the norm's statistics are the batch's and its buffers move, as PyTorch's do.
class DistilImpl : public Module {
 public:
  explicit DistilImpl(int64_t width);
  Tensor forward(const Tensor& x);
  void init() override;

  Tensor weight, bias;  // downConv: [D, D, 3], [D]
  BatchNorm norm;
};
ZOO_MODULE(Distil);

}  // namespace zoo
