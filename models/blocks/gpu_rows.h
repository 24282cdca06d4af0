// What single tokens are made of on a GPU, in kernels of our own: products of few rows, RMS norms and attention of one query. There a step's time is
// not arithmetic but the number of kernels and how much of the GPU each keeps busy (docs/performance.md). And the layer norm of any number of
// rows, which is a pass over memory that LibTorch's kernel makes at half the speed.
//
// All functions give an undefined tensor where the kernels do not apply (on a CPU, while gradients are wanted, under autocast, for other types or
// shapes, without NVRTC, which LibTorch brings, or a build without CUDA's headers): then do it in another way.
#pragma once
#include <ATen/ATen.h>

#include <array>
#include <vector>

#include "models/blocks/panels.h"

namespace zoo {

// after(x W^T + bias) + residual for x [..., in] of at most 8 rows; weight [out, in], bias [out] and residual [..., out] or undefined.
at::Tensor gpu_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, Pointwise after, const at::Tensor& residual);

// x W^T + bias for three weights of one shape at once (queries, keys, values); all undefined where it does not apply.
struct LinearWeight {
  at::Tensor weight, bias;
};
std::array<at::Tensor, 3> gpu_linear(const at::Tensor& x, const std::array<LinearWeight, 3>& weights);

// x / sqrt(mean x^2 + eps) * weight over the last axis, for at most 8 rows.
at::Tensor gpu_rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps);

// (s - mean) / sqrt(variance + eps) * weight + bias over the last axis of s = x + residual, for any number of rows; weight and bias [width], residual as
// x or undefined. `sum`, unless null, becomes s.
at::Tensor gpu_layer_norm(const at::Tensor& x, const at::Tensor& residual, const at::Tensor& weight, const at::Tensor& bias, double eps, at::Tensor* sum);

// softmax(scale q K^T + mask) V of one query a row: q [rows, heads, 1, d] -> the same. keys and values [N, heads, S, d], dense; rows are N times
// so many beams that read one copy. mask [1 or N, 1 or heads, 1, S], added to the scores, or undefined.
at::Tensor gpu_attend(const at::Tensor& q, const at::Tensor& keys, const at::Tensor& values, const at::Tensor& mask, double scale);

// The same for a row's own tokens, of which the newest key and value [rows, heads, 1, d] are written at `position` [1] int64 first; nothing
// beyond is read. origin [rows, S] int64: the row of the cache that holds a position; undefined: every row its own.
struct Newest {
  at::Tensor key, value, position, origin;
};
at::Tensor gpu_attend(const at::Tensor& q, const Newest& newest, const at::Tensor& keys, const at::Tensor& values, const at::Tensor& mask, double scale);

}  // namespace zoo
