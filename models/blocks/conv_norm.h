// ConvNorm: a convolution, the batch norm behind it and an activation, what convolutional networks repeat.
//
// In eval mode a batch norm multiplies and shifts each channel by constants. pack() folds it into a copy of the convolution's weight and
// makes a matrix of that: with channels last in memory the patches under the kernel are its rows, so convolutions run on the kernels
// and in the precisions that linear layers have (models/blocks/packed_weight.h), activation and residual included.
#pragma once
#include <memory>
#include <string>

#include "models/blocks/layers.h"
#include "models/blocks/packed_weight.h"

namespace zoo {

// Keys convolution.weight and normalization.*; the convolution has no bias and is padded by kernel / 2.
class ConvNormImpl : public Module {
 public:
  // `activation` as Hugging Face configs name it (models/blocks/layers.h); empty: none.
  ConvNormImpl(int64_t in, int64_t out, int64_t kernel, int64_t stride, const std::string& activation);
  // activation(norm(convolution(x)) + residual): [B, in, H, W] -> [B, out, ceil(H / stride), ceil(W / stride)]; residual may be undefined. Packed in bfloat16 it may
  // give that and takes it, where the processor multiplies it: what leaves a network of such layers must be turned to float32.
  Tensor forward(const Tensor& x, const Tensor& residual = {});
  bool pack(Precision precision = Precision::float32);  // as Linear's: whether there is a packed copy now

  Conv2d convolution;
  BatchNorm normalization;

 private:
  Tensor on_packed(const Tensor& x, const Tensor& residual) const;
  const int64_t kernel_, stride_;
  const std::string activation_;
  std::shared_ptr<const PackedWeight> packed_;
  bool half_ = false;  // packed in bfloat16
  Tensor shift_;       // [out], added to the packed product
};
ZOO_MODULE(ConvNorm);

// The patches that a kernel sees, zeros around the edge: x [B, C, H, W] float32 on the CPU -> [B, H', W', kernel * kernel * C], in the
// order of a weight [out, C, kernel, kernel] permuted to [out, kernel, kernel, C]. Padding is kernel / 2, so H' = ceil(H / stride).
Tensor patches(const Tensor& x, int64_t kernel, int64_t stride);

}  // namespace zoo
