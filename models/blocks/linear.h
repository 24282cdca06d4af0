// Linear: y = x W^T + b over the last axis, on the fastest kernel this machine has.
//
// torch::nn::Linear adds the bias in a second pass for inputs of more than two axes; this one never does. On CPUs where
// MKL takes its slow path (all but Intel's) oneDNN's operator, registered in the same library, is two to seven times faster
// at the same fp32 result, in training too. pack() gives inference weights in oneDNN's own block layout, which is the
// fastest everywhere (here by 5 to 30 %, most for few rows) and costs a second copy of the weights.
#pragma once
#include "models/blocks/adaptable.h"

namespace zoo {

class LinearImpl : public AdaptableLayer {
 public:
  LinearImpl(int64_t in_features, int64_t out_features, bool with_bias = true);
  Tensor forward(const Tensor& x);  // [..., in] -> [..., out]; weight [out, in]
  void init() override;             // PyTorch's default: uniform in +-1/sqrt(in)
  // Prepares for inference: keeps a copy of the weight in the kernel's layout if that is faster here, else does nothing.
  bool pack();  // whether there is a packed copy now

  Tensor product(const Tensor& x, const Tensor& other) override;
  Tensor mix_channels(const Tensor& x, const Tensor& other, const Tensor& with) override;
  Tensor per_channel(const Tensor& values) const override { return values; }

 private:
  Tensor packed_;
};
ZOO_MODULE(Linear);

// The same for a weight that belongs to another layer (tied heads).
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias);

// "oneDNN" or "at::linear", and whether pack() has one: what CPU float32 layers use here, for `zoo doctor` and `zoo bench`.
std::string linear_kernel_name();

}  // namespace zoo
