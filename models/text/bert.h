// BERT's network without its heads, for bert.cpp and for the networks that contain it. Reference and paper: bert.cpp.
#pragma once
#include "models/blocks/attention.h"
#include "models/blocks/bert_layer.h"
#include "models/config.h"
#include "models/model.h"

namespace zoo::bert {

struct Config {
  int64_t vocab_size = 30522, hidden_size = 768, num_hidden_layers = 12, num_attention_heads = 12, intermediate_size = 3072;
  int64_t max_position_embeddings = 512, type_vocab_size = 2, num_labels = 2;
  std::string hidden_act = "gelu";
  double hidden_dropout_prob = 0.1, attention_probs_dropout_prob = 0.1, initializer_range = 0.02, layer_norm_eps = 1e-12;
  double classifier_dropout = 0.1;

  int64_t longest() const { return max_position_embeddings; }

  void fields(Fields& f) {
    sizes(f);
    encoder_only(f);
  }
  static void encoder_only(Fields& f) {
    f.fixed("is_decoder", false);
    f.fixed("add_cross_attention", false);
  }
  void sizes(Fields& f) {  // of encoders and decoders
    f.size("vocab_size", vocab_size);
    f.size("hidden_size", hidden_size);
    f.depth("num_hidden_layers", num_hidden_layers);
    f.size("num_attention_heads", num_attention_heads);
    f.size("intermediate_size", intermediate_size);
    f.size("max_position_embeddings", max_position_embeddings);
    f.size("type_vocab_size", type_vocab_size);
    f.one_of("hidden_act", hidden_act, activation_names());
    f.probability("hidden_dropout_prob", hidden_dropout_prob);
    f.probability("attention_probs_dropout_prob", attention_probs_dropout_prob);
    f.number("initializer_range", initializer_range);
    f.epsilon("layer_norm_eps", layer_norm_eps);
    f.labels("num_labels", num_labels);
    classifier_dropout = hidden_dropout_prob;  // the reference's default when the key is null or absent
    f.optional_probability("classifier_dropout", classifier_dropout);
    f.fixed("position_embedding_type", "absolute");
    f.require(hidden_size % num_attention_heads == 0,
              "hidden_size " + std::to_string(hidden_size) + " is not a multiple of num_attention_heads " +
                  std::to_string(num_attention_heads));
  }
};

struct EmbeddingsImpl : Module {
  Config cfg;
  explicit EmbeddingsImpl(const Config& c) : cfg(c) {}
  Embedding words = add("word_embeddings", Embedding(cfg.vocab_size, cfg.hidden_size));
  Embedding positions = add("position_embeddings", Embedding(cfg.max_position_embeddings, cfg.hidden_size));
  Embedding types = add("token_type_embeddings", Embedding(cfg.type_vocab_size, cfg.hidden_size));
  LayerNorm norm = add("LayerNorm", LayerNorm(cfg.hidden_size, cfg.layer_norm_eps));

  // tokens [B, T], token_types [B, T] or undefined; `past` tokens were read before these.
  Tensor forward(const Tensor& tokens, const Tensor& token_types, int64_t past = 0) {
    const auto place = at::arange(past, past + tokens.size(1), tokens.options());
    // Without segments every token is of type 0: one row, broadcast, instead of a table look-up.
    const Tensor type = token_types.defined() ? types(token_types) : types->weight[0];
    return at::dropout(norm(words(tokens) + type + positions(place)), cfg.hidden_dropout_prob, is_training());  // [B, T, D]
  }
};
ZOO_MODULE(Embeddings);

struct BertImpl : Module {
  Config cfg;
  BertImpl(const Config& c, bool with_pooler) : cfg(c) {
    if (with_pooler) pooler = add("pooler", BertPooler(cfg.hidden_size));
  }
  Embeddings embeddings = add("embeddings", Embeddings(cfg));
  std::vector<BertLayer> layers =
      add_n("encoder.layer", cfg.num_hidden_layers, [&](int64_t) { return BertLayer(BertLayerOptions::of(cfg)); });
  BertPooler pooler{nullptr};

  Tensor forward(const Tensors& inputs) {  // -> [B, T, D]
    const auto& tokens = inputs.at("tokens");
    TORCH_CHECK_VALUE(tokens.size(1) <= cfg.max_position_embeddings, "bert: ", tokens.size(1),
                      " tokens; the network has positions for ", cfg.max_position_embeddings, " (truncate the text)");
    const Tensor keep = key_mask(optional_input(inputs, "mask"));
    Tensor x = embeddings(tokens, optional_input(inputs, "token_types"));
    for (auto& layer : layers) x = layer(x, keep);
    return mark("encoder", x);
  }
};
ZOO_MODULE(Bert);

}  // namespace zoo::bert
