// Position tables of patch grids.
#pragma once
#include <ATen/ATen.h>

namespace zoo {

enum class Resize { bilinear, bicubic };

// table [1, extra + n*n, D] -> [1, extra + m*m, D]: the first `extra` rows (class tokens) stay, the square grid is
// interpolated with align_corners=false, as the references do when a checkpoint meets another image size. `rows` is the
// wanted extra + m*m. Undefined when either grid is not square.
at::Tensor resize_position_table(const at::Tensor& table, int64_t rows, int64_t extra, Resize how);

// [1, n, dim]: row p holds sin(p / 10000^(2i/dim)) at even and cos at odd columns (Vaswani et al., 2017, section 3.5).
at::Tensor sine_position_table(int64_t n, int64_t dim);

}  // namespace zoo
