#include "models/blocks/attention.h"

namespace zoo {

at::Tensor split_heads(const at::Tensor& x, int64_t heads) {
  return x.view({x.size(0), x.size(1), heads, x.size(2) / heads}).transpose(1, 2);
}

at::Tensor merge_heads(const at::Tensor& x) {
  return x.transpose(1, 2).reshape({x.size(0), x.size(2), x.size(1) * x.size(3)});
}

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& mask, double dropout,
                     std::optional<double> scale) {
  const auto optional_mask = mask.defined() ? std::optional<at::Tensor>(mask) : std::nullopt;
  return at::scaled_dot_product_attention(q, k, v, optional_mask, dropout, /*is_causal=*/false, scale);
}

at::Tensor key_mask(const at::Tensor& mask) {
  if (!mask.defined()) return {};
  // Only on CPU: elsewhere the question would wait for the device.
  if (mask.device().is_cpu() && mask.all().item<bool>()) return {};
  return mask.to(at::kBool).unsqueeze(1).unsqueeze(1);
}

}  // namespace zoo
