// Dropout (Srivastava et al., 2014): in training each element is zero with probability p, else divided by 1 - p.
//
// On CPUs LibTorch draws one number of the Mersenne Twister per element on one thread, some 10 ns each: more than the matrix
// products around it take in small networks. Here one number of PyTorch's generator seeds a counter-based one, so the mask is
// computed by all threads, is the same whatever their number, and is computed again in the backward pass instead of kept.
#pragma once
#include <ATen/ATen.h>

namespace zoo {

// p is rounded to a multiple of 2^-16 on CPUs, and the kept elements are scaled accordingly. Not differentiable twice there.
at::Tensor fast_dropout(const at::Tensor& x, double p, bool training);

}  // namespace zoo
