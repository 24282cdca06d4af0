#include "models/blocks/attention.h"

#include <ATen/Parallel.h>

#include <cmath>

#include "models/blocks/dropout.h"
#include "models/blocks/half_attention.h"
#include "models/blocks/short_attention.h"

namespace zoo {

at::Tensor split_heads(const at::Tensor& x, int64_t heads) {
  return x.view({x.size(0), x.size(1), heads, x.size(2) / heads}).transpose(1, 2);
}

at::Tensor merge_heads(const at::Tensor& x) {
  return x.transpose(1, 2).reshape({x.size(0), x.size(2), x.size(1) * x.size(3)});
}

namespace attention_detail {

// The equation as it stands, for training with dropout on CPUs: LibTorch's fused kernel has none there.
at::Tensor with_dropout(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& mask, double dropout, double scale) {
  const auto flat = [](const at::Tensor& x) { return x.reshape({x.size(0) * x.size(1), x.size(2), x.size(3)}); };
  const at::Tensor keys = flat(k);
  at::Tensor scores = at::baddbmm(at::empty({1, 1, 1}, q.options()), flat(q), keys.transpose(1, 2), /*beta=*/0, scale);  // [B heads, T, S]
  if (mask.defined()) {
    const at::Tensor full = scores.view({q.size(0), q.size(1), q.size(2), k.size(2)});
    scores = flat(mask.scalar_type() == at::kBool ? full.masked_fill(mask.logical_not(), -INFINITY) : full + mask);
  }
  const at::Tensor weights = mask.defined() ? at::_safe_softmax(scores, -1) : at::softmax(scores, -1);  // safe: no NaN where nothing is kept
  const at::Tensor mixed = at::bmm(fast_dropout(weights, dropout, true), flat(v));
  return mixed.view({q.size(0), q.size(1), q.size(2), v.size(3)});
}

// What is added to scores instead of a mask that says which to keep.
at::Tensor as_summand(const at::Tensor& mask) {
  if (mask.scalar_type() != at::kBool) return mask.to(at::kFloat);
  return at::zeros(mask.sizes(), mask.options().dtype(at::kFloat)).masked_fill_(mask.logical_not(), -INFINITY);
}

constexpr int64_t kFewKeys = 256;  // a head's keys and values then fit into the second-level cache, and a kernel of our own is faster

bool dense_rows(const at::Tensor& x, at::ScalarType type) { return x.is_cpu() && x.scalar_type() == type && x.dim() == 4 && x.stride(3) == 1 && x.numel() > 0; }

// What attend_short() needs to know, if it can do it.
std::optional<ShortAttention> short_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& mask, double scale) {
  const at::ScalarType type = q.scalar_type();
  if ((type != at::kFloat && type != at::kBFloat16) || !dense_rows(q, type) || !dense_rows(k, type) || !dense_rows(v, type)) return {};
  const int64_t heads = q.size(1), queries = q.size(2), keys = k.size(2), width = q.size(3);
  if (keys > kFewKeys || queries < 4 || width % kShortLanes != 0 || v.size(3) != width || k.size(1) != heads) return {};
  if (mask.defined() && !(dense_rows(mask, at::kFloat) && mask.size(3) == keys)) return {};
  const auto rows = [](const at::Tensor& x) -> HeadRows { return {x.const_data_ptr(), x.stride(0), x.stride(1), x.stride(2)}; };
  const HeadRows masks = mask.defined() ? rows(mask.expand({q.size(0), heads, queries, keys})) : HeadRows{};
  const ShortAttention work = {rows(q), rows(k), rows(v), masks, nullptr, heads, queries, keys, width, static_cast<float>(scale), type == at::kBFloat16};
  return work.half && !attends_halves(work) ? std::nullopt : std::make_optional(work);
}

at::Tensor attend_all(ShortAttention work, const at::Tensor& q) {
  const at::Tensor out = at::empty({q.size(0), work.queries, work.heads, work.width}, q.options());
  work.out = out.mutable_data_ptr();
  at::parallel_for(0, q.size(0) * work.heads, 1, [&](int64_t begin, int64_t end) { attend_short(work, begin, end); });
  return out.transpose(1, 2);  // merge_heads() then copies nothing
}

}  // namespace attention_detail

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& mask, double dropout,
                     std::optional<double> scale) {
  const double factor = scale.value_or(1.0 / std::sqrt(static_cast<double>(q.size(-1))));
  if (dropout > 0.0 && q.device().is_cpu() && q.dim() == 4 && q.size(1) == k.size(1)) {
    return attention_detail::with_dropout(q, k, v, mask, dropout, factor);
  }
  const bool inference = dropout == 0.0 && q.is_cpu() && !at::GradMode::is_enabled();
  if (inference) {
    const at::Tensor added = mask.defined() && mask.scalar_type() != at::kFloat ? attention_detail::as_summand(mask) : mask;
    if (const auto few = attention_detail::short_attention(q, k, v, added, factor)) return attention_detail::attend_all(*few, q);
    // What products left in bfloat16 for the kernel above: LibTorch's is slower with that.
    if (q.scalar_type() == at::kBFloat16) return attention(q.to(at::kFloat), k.to(at::kFloat), v.to(at::kFloat), added, 0.0, scale).to(at::kBFloat16);
  }
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
