// Linear: y = x W^T + b over the last axis, on the fastest kernel this machine has.
//
// torch::nn::Linear adds the bias in a second pass for inputs of more than two axes; this one never does. On CPUs where
// MKL takes its slow path (all but Intel's) oneDNN's operator, registered in the same library, is two to seven times faster
// at the same fp32 result, in training too. pack() makes the weight ready for inference (models/blocks/packed_weight.h): a second
// copy of it, faster products, and with them what follows a product: activated(), added().
#pragma once
#include <array>

#include "models/blocks/adaptable.h"
#include "models/blocks/gpu_rows.h"
#include "models/blocks/layers.h"
#include "models/blocks/packed_weight.h"
#include "models/trace.h"

namespace zoo {

// What linear layers do, however they store their weight (outputs_first() is [out, in]).
class LinearLayer : public AdaptableLayer {
 public:
  Tensor forward(const Tensor& x);  // [..., in] -> [..., out]
  // Prepares for inference: keeps a copy of the weight in the kernel's layout if that is faster here, else does nothing.
  bool pack(Precision precision = Precision::float32);  // whether there is a packed copy now
  // after(forward(x)) + residual in one pass, or undefined where that is not possible: with adapters, on a CPU without a packed copy, ...
  Tensor fused(const Tensor& x, Pointwise after, const Tensor& residual);
  // after(forward(x)) in the type in which the next product takes its rows (PackedWeight), or undefined where there is none but x's own.
  Tensor fused_for_product(const Tensor& x, Pointwise after);
  // Whether it takes its rows in bfloat16 as gladly: what is made for it alone may be that.
  bool takes_half() const;
  // What three layers make of x in one pass, or all undefined: by packed weights of one kernel; on a GPU few rows (gpu_rows.h), in half precision many, by a copy of the three
  // weights side by side that is made at the first use after pack(), and in training, whose gradients of x are summed where they are written. The results may be parts of one
  // tensor. `for_product`: in that type.
  static std::array<Tensor, 3> together(const std::array<LinearLayer*, 3>& layers, const Tensor& x, bool for_product = false);

  Tensor product(const Tensor& x, const Tensor& other) override;
  Tensor mix_channels(const Tensor& x, const Tensor& other, const Tensor& with) override;
  Tensor per_channel(const Tensor& values) const override { return values; }

 private:
  struct Joined;
  static std::array<Tensor, 3> joined(const std::array<LinearLayer*, 3>& layers, const Tensor& x);

  std::shared_ptr<const PackedWeight> packed_;
  std::shared_ptr<Joined> joined_;  // with the first of three; none before pack(), since weights may change until then
};

class LinearImpl : public LinearLayer {
 public:
  LinearImpl(int64_t in_features, int64_t out_features, bool with_bias = true);  // weight [out, in]
  void init() override;  // PyTorch's default: uniform in +-1/sqrt(in)
};
ZOO_MODULE(Linear);

// The same for a weight that belongs to another layer (tied heads): registers it, and a bias if there is one, under its own path.
// Adapters and starting values leave it alone.
class TiedLinearImpl : public Module {
 public:
  explicit TiedLinearImpl(const Tensor& other_weight, const Tensor& other_bias = {});
  Tensor forward(const Tensor& x);
  bool pack(Precision precision = Precision::float32);
  Tensor weight, bias;

 private:
  std::shared_ptr<const PackedWeight> packed_;
};
ZOO_MODULE(TiedLinear);

// For a weight that is no layer's own.
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias);

// Whether x can be multiplied with the packed weight, of `out` rows, and `residual` (or none) added.
bool packed_takes(const PackedWeight& packed, const Tensor& x, int64_t out, const Tensor& residual);

// The pass that an activation of this name (models/blocks/layers.h) can be part of; none for those that cannot.
Pointwise pointwise_of(const std::string& activation);

// activation(layer(x)) and residual + layer(x), in one pass over memory where the layer is packed. A trace sees the layer alone.
Tensor activated_apart(const Tensor& y, const std::string& activation);
template <class Layer>
Tensor activated(Layer& layer, const Tensor& x, const std::string& activation) {
  const Pointwise after = Trace::active() ? Pointwise::none : pointwise_of(activation);
  const Tensor y = after == Pointwise::none ? Tensor() : layer->fused(x, after, Tensor());
  return y.defined() ? y : activated_apart(layer(x), activation);
}
// The same for what nothing but another linear layer reads: in bfloat16 if products are in that or in int8.
template <class Layer>
Tensor activated_for_product(Layer& layer, const Tensor& x, const std::string& activation) {
  const Pointwise after = Trace::active() ? Pointwise::none : pointwise_of(activation);
  const Tensor y = after == Pointwise::none ? Tensor() : layer->fused_for_product(x, after);
  return y.defined() ? y : activated(layer, x, activation);
}
template <class Layer>
Tensor added(Layer& layer, const Tensor& x, const Tensor& residual) {
  const Tensor y = Trace::active() ? Tensor() : layer->fused(x, Pointwise::none, residual);
  return y.defined() ? y : residual + layer(x);
}

// norm(x), or norm(x).index_select(1, order), for nothing but `reader` and layers like it: in bfloat16 if it takes that.
Tensor normed_for_product(LayerNorm& norm, const Tensor& x, const LinearLayer& reader, const Tensor& order = {});

// norm(residual + layer(x)); `sum`, unless null, becomes residual + layer(x). `reader`, unless null: what alone reads the norm.
template <class Layer>
Tensor added_and_normed(Layer& layer, LayerNorm& norm, const Tensor& x, const Tensor& residual, Tensor* sum = nullptr, const LinearLayer* reader = nullptr) {
  Tensor y = Trace::active() ? Tensor() : layer->fused(x, Pointwise::none, residual);
  if (!y.defined()) {
    const Tensor change = layer(x);
    const Tensor normed = Trace::active() ? Tensor() : gpu_layer_norm(change, residual, norm->weight, norm->bias, norm->eps(), sum);
    if (normed.defined()) return normed;
    y = residual + change;
  }
  if (sum) *sum = y;
  return reader ? normed_for_product(norm, y, *reader) : norm(y);
}

// Queries, keys and values of the same x. `for_attention`: that nothing but attention() reads, in bfloat16 likewise.
template <class Layer>
std::array<Tensor, 3> projections(Layer& q, Layer& k, Layer& v, const Tensor& x, bool for_attention = false) {
  auto y = Trace::active() ? std::array<Tensor, 3>() : LinearLayer::together({q.get(), k.get(), v.get()}, x, for_attention);
  if (!y[0].defined()) y = {q(x), k(x), v(x)};
  return y;
}

// "oneDNN" or "at::linear", and what packed weights use: what CPU float32 layers use here, for `zoo doctor` and `zoo bench`.
std::string linear_kernel_name();

}  // namespace zoo
