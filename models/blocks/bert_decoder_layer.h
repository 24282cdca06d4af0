// The decoder layer of BERT and RoBERTa with cross-attention, as transformers assembles encoder-decoders of two encoders
// (Rothe et al., 2020, arXiv:1907.12461). Reference: transformers 5.23.0, models/bert/modeling_bert.py, BertLayer.
#pragma once
#include "models/blocks/bert_layer.h"
#include "models/decoding.h"

namespace zoo {

// Keys attention.{self,output}, crossattention.{self,output}, intermediate.dense, output.
struct BertDecoderLayerImpl : Module {
  BertLayerOptions options;
  explicit BertDecoderLayerImpl(const BertLayerOptions& o) : options(o) {}
  BertSelfAttention self = add("attention.self", BertSelfAttention(options));
  BertOutput attended = add("attention.output", BertOutput(options, options.width));
  BertSelfAttention source = add("crossattention.self", BertSelfAttention(options));
  BertOutput source_attended = add("crossattention.output", BertOutput(options, options.width));
  Linear intermediate = add("intermediate.dense", Linear(options.width, options.inner_width));
  BertOutput output = add("output", BertOutput(options, options.inner_width));

  // [B, T, D] reads itself under `mask` and memory [B, S, D] under `memory_mask` (masks as in blocks/attention.h).
  Tensor forward(Tensor x, const Tensor& mask, const Tensor& memory, const Tensor& memory_mask);
  // The newest tokens [N, T, D]; the source's keys and values stand in `state`.
  Tensor step(Tensor x, Decoding& state, size_t layer);
  Tensor heads(const Tensor& x) const;  // [B, T, D] -> [B, heads, T, d]

 private:
  Tensor feed_forward(const Tensor& x);
};
ZOO_MODULE(BertDecoderLayer);

}  // namespace zoo
