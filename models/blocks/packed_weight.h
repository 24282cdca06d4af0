// PackedWeight: a linear layer's weight made ready for inference, in the layout and precision of the fastest kernel that this
// machine has (docs/performance.md):
//
//   precision | processor                | kernel
//   float32   | AVX-512                  | models/blocks/wide_panels.h
//             | AVX2                     | models/blocks/panels.h
//   bfloat16  | with AVX512-BF16 or AMX  | wide panels: activations are rounded to bfloat16, sums are float32
//             | with AVX2                | panels: weights in bfloat16, all else in float32
//   int8      | with VNNI or AMX         | wide panels: one scale an output, activations rounded row by row as they come
//             | with AVX2                | as int8-weights
//   int8- and | with AVX2                | panels of codes: only the weights are rounded, activations keep 16 bits
//   int4-weights
#pragma once
#include <ATen/ATen.h>

#include <array>
#include <memory>
#include <string>

#include "models/blocks/panels.h"

namespace zoo {

// Of the products of a network that is prepared for inference; everything else stays in its own type.
enum class Precision { float32, bfloat16, int8, int8_weights, int4_weights };

// What a weight [out, kernel * kernel * channels] is the matrix of, if of a convolution; padding is kernel / 2.
struct Convolution {
  int64_t kernel = 0, stride = 1;  // no kernel: of a linear layer
};

class PackedWeight {
 public:
  virtual ~PackedWeight() = default;
  // x [..., in], float32 on the CPU -> after(x W^T + bias) + residual [..., out]; bias and residual may be undefined.
  virtual at::Tensor multiply(const at::Tensor& x, const at::Tensor& bias, Pointwise after, const at::Tensor& residual) const = 0;

  // The same in the type in which the next product best takes its rows (bfloat16 for products in bfloat16 or int8 on AVX512-BF16), without a residual.
  virtual at::Tensor multiply_for_product(const at::Tensor& x, const at::Tensor& bias, Pointwise after) const { return multiply(x, bias, after, at::Tensor()); }
  // Whether multiply() and the other two take bfloat16, too.
  virtual bool halves() const { return false; }

  // What this and two more make of the same x in one pass, in the type of multiply_for_product() if `for_product`; all undefined where the three are not alike.
  virtual std::array<at::Tensor, 3> multiply_together(const std::array<const PackedWeight*, 3>& /*weights*/, const std::array<at::Tensor, 3>& /*biases*/, const at::Tensor& /*x*/,
                                                      bool /*for_product*/) const {
    return {};
  }

  // The convolution that the weight was packed for: x [batch, height, width, channels] -> after(convolution + bias + residual) [batch, height / stride, width / stride, out]
  // (rounded up), in the type of multiply_for_product(); undefined where the weight can only multiply patches that lie apart.
  virtual at::Tensor multiply_patches(const at::Tensor& /*x*/, const at::Tensor& /*bias*/, Pointwise /*after*/, const at::Tensor& /*residual*/) const { return {}; }
};

// weight [out, in] (any strides), bias [out] or undefined; convolution: see multiply_patches(). Null where the plain weight is as good: on another device, in another
// type, or where this LibTorch lacks the kernel for float32. Throws std::runtime_error where it lacks that of another precision.
std::shared_ptr<const PackedWeight> pack_weight(const at::Tensor& weight, const at::Tensor& bias, Precision precision, Convolution convolution = {});

// Whether panels, wide or not, multiply float32 here: the processor's choice, or ZOO_LINEAR_KERNEL's.
bool panels_wanted();
// x W^T + bias by panels that are laid out for this product alone: x [rows, in] dense, weight [out, in] (any strides), bias [out] or undefined. For
// float32 on the CPU where panels_wanted().
at::Tensor multiply_once(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);

// What pack_weight() uses here, for people: "panels (AVX2)", "packed oneDNN".
std::string packed_kernel_name(Precision precision);

}  // namespace zoo
