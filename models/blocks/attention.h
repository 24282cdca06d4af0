// Scaled dot-product attention (Vaswani et al., 2017, equation 1), in one place. Projections stay in the models, because
// their names are the checkpoint's.
#pragma once
#include <ATen/ATen.h>

#include <optional>

namespace zoo {

// [B, T, heads * d] -> [B, heads, T, d]
at::Tensor split_heads(const at::Tensor& x, int64_t heads);
// [B, heads, T, d] -> [B, T, heads * d]
at::Tensor merge_heads(const at::Tensor& x);

// softmax(q k^T * scale + mask) v over [B, heads, T, d]; scale defaults to d^-0.5. `mask` is broadcastable to
// [B, heads, T, S]: bool (true = attend) or added to the scores. `dropout` applies to the probabilities; pass 0 in eval mode.
at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& mask = {},
                     double dropout = 0.0, std::optional<double> scale = std::nullopt);

// mask [B, S] bool (true = keep) -> [B, 1, 1, S] for attention(); undefined stays undefined, and a mask that keeps
// everything becomes undefined, which is faster.
at::Tensor key_mask(const at::Tensor& mask);

}  // namespace zoo
