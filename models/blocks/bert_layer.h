// The encoder layer of BERT (Devlin et al., 2019, arXiv:1810.04805), which RoBERTa keeps, and the pooler, which MPNet keeps too.
// Reference: transformers 5.23.0, models/bert/modeling_bert.py.
#pragma once
#include <string>

#include "models/blocks/layers.h"
#include "models/blocks/linear.h"

namespace zoo {

struct BertLayerOptions {
  int64_t width, heads, inner_width;
  std::string activation;
  double dropout, attention_dropout, eps;  // eps of the norms

  // From a config with BERT's own names.
  template <class Config>
  static BertLayerOptions of(const Config& c) {
    return {c.hidden_size, c.num_attention_heads, c.intermediate_size, c.hidden_act, c.hidden_dropout_prob, c.attention_probs_dropout_prob, c.layer_norm_eps};
  }
};

// Keys query, key, value.
struct BertSelfAttentionImpl : Module {
  BertLayerOptions options;
  explicit BertSelfAttentionImpl(const BertLayerOptions& o) : options(o) {}
  Linear query = add("query", Linear(options.width, options.width));
  Linear key = add("key", Linear(options.width, options.width));
  Linear value = add("value", Linear(options.width, options.width));

  Tensor forward(const Tensor& x, const Tensor& mask);  // [B, T, D], mask as in blocks/attention.h
};
ZOO_MODULE(BertSelfAttention);

// dense -> dropout -> add the residual -> norm: how both halves of a layer end.
struct BertOutputImpl : Module {
  BertLayerOptions options;
  int64_t input_width;
  BertOutputImpl(const BertLayerOptions& o, int64_t input) : options(o), input_width(input) {}
  Linear dense = add("dense", Linear(input_width, options.width));
  LayerNorm norm = add("LayerNorm", LayerNorm(options.width, options.eps));

  Tensor forward(const Tensor& x, const Tensor& residual);
};
ZOO_MODULE(BertOutput);

// Keys attention.self, attention.output, intermediate.dense, output.
struct BertLayerImpl : Module {
  BertLayerOptions options;
  explicit BertLayerImpl(const BertLayerOptions& o) : options(o) {}
  BertSelfAttention self = add("attention.self", BertSelfAttention(options));
  BertOutput attended = add("attention.output", BertOutput(options, options.width));
  Linear intermediate = add("intermediate.dense", Linear(options.width, options.inner_width));
  BertOutput output = add("output", BertOutput(options, options.inner_width));

  Tensor forward(Tensor x, const Tensor& mask);  // [B, T, D] -> [B, T, D]
};
ZOO_MODULE(BertLayer);

// tanh(dense(first token)): [B, T, D] -> [B, D].
struct BertPoolerImpl : Module {
  int64_t width;
  explicit BertPoolerImpl(int64_t w) : width(w) {}
  Linear dense = add("dense", Linear(width, width));

  Tensor forward(const Tensor& hidden);
};
ZOO_MODULE(BertPooler);

}  // namespace zoo
