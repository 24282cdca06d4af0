// RoBERTa's network without its heads, for roberta.cpp and for the networks that contain it. Reference and paper: roberta.cpp.
#pragma once
#include "models/blocks/positions.h"
#include "models/blocks/seq2seq.h"
#include "models/text/bert.h"

namespace zoo::roberta {

struct Config : bert::Config {
  SpecialTokens special{1, 2, -1};
  Config() { vocab_size = 50265; }

  int64_t longest() const { return max_position_embeddings - special.pad - 1; }

  void fields(Fields& f) {
    sizes(f);
    encoder_only(f);
  }
  void sizes(Fields& f) {  // of encoders and decoders
    bert::Config::sizes(f);
    f.fixed("tie_word_embeddings", true);
    f.ignored({"output_past"});
    special.read(f);
    f.require(special.pad >= 0 && special.pad < vocab_size && longest() > 0,
              "pad_token_id is " + std::to_string(special.pad) + "; expected an id below vocab_size " + std::to_string(vocab_size) +
                  " and max_position_embeddings " + std::to_string(max_position_embeddings) + " - 1, because positions begin after it");
  }
};

struct EmbeddingsImpl : Module {
  Config cfg;
  explicit EmbeddingsImpl(const Config& c) : cfg(c) {}
  Embedding words = add("word_embeddings", Embedding(cfg.vocab_size, cfg.hidden_size));
  Embedding types = add("token_type_embeddings", Embedding(cfg.type_vocab_size, cfg.hidden_size));
  LayerNorm norm = add("LayerNorm", LayerNorm(cfg.hidden_size, cfg.layer_norm_eps));
  Embedding positions = add("position_embeddings", Embedding(cfg.max_position_embeddings, cfg.hidden_size));

  // tokens [B, T], token_types [B, T] or undefined; `past` tokens were read before these. `given` [B, T, D] stands for the rows of
  // the table of words; positions then count all tokens, as the reference's do with inputs_embeds.
  Tensor forward(const Tensor& tokens, const Tensor& token_types, int64_t past = 0, const Tensor& given = {}) {
    const int64_t pad = cfg.special.pad;  // its rows are not trained
    const Tensor place = given.defined() ? at::arange(pad + 1, pad + 1 + tokens.size(1), tokens.options()) : positions_after_padding(tokens, pad, past);
    const Tensor word = given.defined() ? given : at::embedding(words->weight, tokens, pad);
    const Tensor type = token_types.defined() ? types(token_types) : types->weight[0];
    const Tensor x = word + type + at::embedding(positions->weight, place, pad);
    return at::dropout(norm(x), cfg.hidden_dropout_prob, is_training());  // [B, T, D]
  }
};
ZOO_MODULE(Embeddings);

struct RobertaImpl : Module {
  Config cfg;
  RobertaImpl(const Config& c, bool with_pooler) : cfg(c) {
    if (with_pooler) pooler = add("pooler", BertPooler(cfg.hidden_size));
  }
  Embeddings embeddings = add("embeddings", Embeddings(cfg));
  std::vector<BertLayer> layers =
      add_n("encoder.layer", cfg.num_hidden_layers, [&](int64_t) { return BertLayer(BertLayerOptions::of(cfg)); });
  BertPooler pooler{nullptr};

  Tensor forward(const Tensors& inputs) {  // -> [B, T, D]
    const auto& tokens = inputs.at("tokens");
    TORCH_CHECK_VALUE(tokens.size(1) <= cfg.longest(), "roberta: ", tokens.size(1), " tokens; the network has positions for ", cfg.longest(),
                      " (truncate the text)");
    const Tensor keep = key_mask(optional_input(inputs, "mask"));
    Tensor x = embeddings(tokens, optional_input(inputs, "token_types"));
    for (auto& layer : layers) x = layer(x, keep);
    return mark("encoder", x);
  }
};
ZOO_MODULE(Roberta);

}  // namespace zoo::roberta
