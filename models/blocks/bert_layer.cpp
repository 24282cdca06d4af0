#include "models/blocks/bert_layer.h"

#include "models/blocks/attention.h"

namespace zoo {

Tensor BertSelfAttentionImpl::forward(const Tensor& x, const Tensor& mask) {
  const int64_t heads = options.heads;
  const auto [q, k, v] = projections(query, key, value, x, /*for_attention=*/true);
  return merge_heads(attention(split_heads(q, heads), split_heads(k, heads), split_heads(v, heads), mask, is_training() ? options.attention_dropout : 0.0));
}

Tensor BertOutputImpl::forward(const Tensor& x, const Tensor& residual) {
  if (!is_training()) return added_and_normed(dense, norm, x, residual);
  return norm(at::dropout(dense(x), options.dropout, true) + residual);
}

Tensor BertLayerImpl::forward(Tensor x, const Tensor& mask) {
  x = mark("attention", attended(self(x, mask), x));
  const Tensor inner = mark("intermediate", activated_for_product(intermediate, x, options.activation));  // [B, T, inner]
  return output(inner, x);
}

Tensor BertPoolerImpl::forward(const Tensor& hidden) { return at::tanh(dense(hidden.select(1, 0))); }

}  // namespace zoo
