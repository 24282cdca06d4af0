// Position tables of patch grids, and the buckets of relative positions.
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

// Distances to buckets (T5, arXiv:1910.10683, section 2.1): near ones each have their own, far ones share logarithmically wider
// ones. `ahead` [...] int64: key - query position. In an encoder (both_ways) half of the buckets are for what is ahead; in a
// decoder a token sees only what is behind it. float32, as the references'.
at::Tensor relative_buckets(const at::Tensor& ahead, bool both_ways, int64_t buckets, int64_t furthest);

// Positions that count the tokens which are no padding, and begin after the padding's id (fairseq's; RoBERTa, MPNet): tokens [B, T]
// -> [B, T]; padding itself has the position `pad`. `past` tokens were read before these.
at::Tensor positions_after_padding(const at::Tensor& tokens, int64_t pad, int64_t past = 0);

// A class token [1, 1, D] before patches [B, N, D], and positions [1, 1 + N, D] added to all: [B, 1 + N, D].
at::Tensor with_class_token(const at::Tensor& token, const at::Tensor& patches, const at::Tensor& positions);

}  // namespace zoo
