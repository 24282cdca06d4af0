// The operators of oneDNN that LibTorch registers, on dense tensors on the CPU. None has a derivative.
#pragma once
#include <ATen/ATen.h>

#include "models/blocks/panels.h"

namespace zoo::onednn {

bool available();  // linear()
bool can_pack();   // pack()
// Whether it is the better library here for plain weights: where MKL does not know the processor. ZOO_LINEAR_KERNEL decides if set.
bool preferred();
// Whether packed float32 weights may use it: everywhere, unless ZOO_LINEAR_KERNEL says aten.
bool wanted();

// weight [out, in] -> the same in oneDNN's block layout, for linear() alone.
at::Tensor pack(const at::Tensor& weight);
bool has_epilogue(Pointwise after);
// after(x W^T + bias); bias may be undefined. weight plain or packed.
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, Pointwise after = Pointwise::none);

}  // namespace zoo::onednn
