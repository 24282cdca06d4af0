#include "models/blocks/favor.h"

#include <cmath>

namespace zoo {
namespace favor_detail {

constexpr double kFloor = 1e-4;  // keeps every feature above zero, and so the normaliser

// The exponent w.x - |x|^2 / 2 of each feature, x scaled by d^-1/4 (equation 5).
std::pair<at::Tensor, at::Tensor> exponent(const at::Tensor& x, const at::Tensor& projection) {
  const at::Tensor scaled = x * std::pow(static_cast<double>(x.size(-1)), -0.25);
  return {at::matmul(scaled, projection.t()), scaled.square().sum(-1, /*keepdim=*/true) / 2.0};
}

at::Tensor features(const at::Tensor& dot, const at::Tensor& half, const at::Tensor& largest) {
  return (at::exp(dot - half - largest.detach()) + kFloor) / std::sqrt(static_cast<double>(dot.size(-1)));
}

}  // namespace favor_detail

at::Tensor orthogonal_features(int64_t features, int64_t width) {
  std::vector<at::Tensor> blocks;
  for (int64_t rows = 0; rows < features; rows += width) {
    const auto [q, r] = at::linalg_qr(at::randn({width, width}));
    const at::Tensor even = q * r.diagonal().sign();  // LAPACK's signs prefer directions; with R's taken out none is (Mezzadri, 2007)
    blocks.push_back(even.t().slice(0, 0, std::min(width, features - rows)));
  }
  const at::Tensor lengths = at::randn({features, width}).square().sum(-1, /*keepdim=*/true).sqrt();
  return lengths * at::cat(blocks);
}

at::Tensor favor_queries(const at::Tensor& x, const at::Tensor& projection) {
  const auto [dot, half] = favor_detail::exponent(x, projection);
  return favor_detail::features(dot, half, dot.amax({-1}, /*keepdim=*/true));
}

at::Tensor favor_keys(const at::Tensor& x, const at::Tensor& projection) {
  const auto [dot, half] = favor_detail::exponent(x, projection);
  return favor_detail::features(dot, half, dot.amax({-1, -2}, /*keepdim=*/true));
}

at::Tensor favor_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& projection) {
  const at::Tensor queries = favor_queries(q, projection), keys = favor_keys(k, projection);
  const at::Tensor context = at::matmul(keys.transpose(-1, -2), v);                         // [B, heads, m, e]
  const at::Tensor normaliser = at::matmul(queries, keys.sum(-2).unsqueeze(-1));            // [B, heads, T, 1]
  return at::matmul(queries, context) / normaliser;
}

}  // namespace zoo
