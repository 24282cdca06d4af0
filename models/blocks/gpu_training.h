// Training's passes over memory on a GPU, in kernels of our own: LibTorch sums the gradients of biases and of layer norms' weights at a third of the
// memory's speed, and what else passes there over the same numbers, the norm's input, the activation and residual sums, takes passes of its own.
//
// All functions give undefined tensors where the kernels do not apply (on a CPU, without gradients, for other types or shapes, ...): then do it in another
// way. Not differentiable twice.
#pragma once
#include <ATen/ATen.h>

#include <array>

#include "models/blocks/gpu_rows.h"

namespace zoo {

// The layer norm of x, or of x + residual, over the last axis; weight and bias [width], residual as x or undefined.
at::Tensor trained_layer_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, double eps);
// {s, norm of s} for s = x + residual, or x itself: for what goes on beside the norm, whose gradient is added in the norm's own pass.
std::array<at::Tensor, 2> trained_layer_norm_beside(const at::Tensor& x, const at::Tensor& residual, const at::Tensor& weight, const at::Tensor& bias, double eps);

// x W^T + bias of one layer, or of three of one shape and the same x; with `gelu` the exact GELU of the first. Under autocast in its type.
std::array<at::Tensor, 3> trained_linear(const at::Tensor& x, const std::array<LinearWeight, 3>& layers, bool gelu);

// The sums over the rows of [rows, width].
at::Tensor column_sums(const at::Tensor& x);

}  // namespace zoo
