// FAVOR+: softmax attention through positive orthogonal random features, linear in the length (Choromanski et al., 2021,
// arXiv:2009.14794). Constants as in github.com/lucidrains/performer-pytorch, after the authors' own JAX code.
#pragma once
#include <ATen/ATen.h>

namespace zoo {

// [features, width]: rows of Gaussian length and uniform direction, orthogonal within each block of `width` rows (section 2.4).
// performer-pytorch keeps the signs of the QR decomposition, so its directions are not uniform and its estimate has a bias that
// no number of features takes away.
at::Tensor orthogonal_features(int64_t features, int64_t width);

// x [B, heads, T, d], projection [m, d] -> positive features [B, heads, T, m] whose products estimate exp(q k^T / sqrt(d)) up to
// factors that cancel in favor_attention(). The largest exponent is taken off: per query, and over all keys together.
at::Tensor favor_queries(const at::Tensor& x, const at::Tensor& projection);
at::Tensor favor_keys(const at::Tensor& x, const at::Tensor& projection);

// Estimate of softmax(q k^T / sqrt(d)) v: q, k [B, heads, T, d], v [B, heads, T, e] -> [B, heads, T, e].
at::Tensor favor_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& projection);

}  // namespace zoo
