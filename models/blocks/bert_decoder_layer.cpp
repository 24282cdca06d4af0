#include "models/blocks/bert_decoder_layer.h"

#include "models/blocks/attention.h"

namespace zoo {

Tensor BertDecoderLayerImpl::heads(const Tensor& x) const { return split_heads(x, options.heads); }

Tensor BertDecoderLayerImpl::forward(Tensor x, const Tensor& mask, const Tensor& memory, const Tensor& memory_mask) {
  x = mark("attention", attended(self(x, mask), x));
  const Tensor read = attention(heads(source->query(x)), heads(source->key(memory)), heads(source->value(memory)), memory_mask,
                                is_training() ? options.attention_dropout : 0.0);
  x = mark("crossattention", source_attended(mark("crossattention.self", merge_heads(read)), x));
  return feed_forward(x);
}

Tensor BertDecoderLayerImpl::step(Tensor x, Decoding& state, size_t layer) {
  const auto [q, k, v] = projections(self->query, self->key, self->value, x);
  x = attended(merge_heads(cached_attention(heads(q), heads(k), heads(v), state, layer)), x);
  x = source_attended(merge_heads(source_attention(heads(source->query(x)), state, layer)), x);
  return feed_forward(x);
}

Tensor BertDecoderLayerImpl::feed_forward(const Tensor& x) {
  return output(mark("intermediate", activated_for_product(intermediate, x, options.activation)), x);
}

}  // namespace zoo
