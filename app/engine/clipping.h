// Clipping: keeps one bad batch from throwing the weights far off.
#pragma once
#include <ATen/ATen.h>

#include <vector>

namespace zoo::app {

struct ClipOptions {
  double norm = 0.0;      // limit of the gradients' common 2-norm; 0: none
  double value = 0.0;     // limit of each element's size; 0: none
  double adaptive = 0.0;  // limit of a unit's gradient norm over its weight norm (Brock et al., 2021, equation 3); 0: none
};

// Changes the gradients of the parameters that have one: by value, then adaptively, then by norm. Returns the common 2-norm
// that they had before (0 where there are none).
double clip_gradients(const std::vector<at::Tensor>& parameters, const ClipOptions& options);

}  // namespace zoo::app
