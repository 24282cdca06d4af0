// BERT: Pre-training of Deep Bidirectional Transformers (Devlin et al., 2019, arXiv:1810.04805).
// Token, position and segment embeddings through post-norm encoder layers; heads read all tokens or the first one.
// Reference: transformers 5.23.0, models/bert/modeling_bert.py: BertModel, BertForMaskedLM, BertForSequenceClassification,
// BertForTokenClassification.
// Differences: encoder only (no decoder mode, cross-attention or relative positions).
#include "models/blocks/attention.h"
#include "models/blocks/bert_layer.h"
#include "models/blocks/layers.h"
#include "models/blocks/linear.h"
#include "models/config.h"
#include "models/init.h"
#include "models/model.h"

namespace zoo::bert {

struct Config {
  int64_t vocab_size = 30522, hidden_size = 768, num_hidden_layers = 12, num_attention_heads = 12, intermediate_size = 3072;
  int64_t max_position_embeddings = 512, type_vocab_size = 2, num_labels = 2;
  std::string hidden_act = "gelu";
  double hidden_dropout_prob = 0.1, attention_probs_dropout_prob = 0.1, initializer_range = 0.02, layer_norm_eps = 1e-12;
  double classifier_dropout = 0.1;

  void fields(Fields& f) {
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
    f.fixed("is_decoder", false);
    f.fixed("add_cross_attention", false);
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

  Tensor forward(const Tensor& tokens, const Tensor& token_types) {  // [B, T], [B, T] or undefined
    const auto place = at::arange(tokens.size(1), tokens.options());
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
    const auto types = inputs.find("token_types");
    const auto mask = inputs.find("mask");
    TORCH_CHECK_VALUE(tokens.size(1) <= cfg.max_position_embeddings, "bert: ", tokens.size(1),
                      " tokens; the network has positions for ", cfg.max_position_embeddings, " (truncate the text)");
    const Tensor keep = key_mask(mask == inputs.end() ? Tensor() : mask->second);
    Tensor x = embeddings(tokens, types == inputs.end() ? Tensor() : types->second);
    for (auto& layer : layers) x = layer(x, keep);
    return mark("encoder", x);
  }
};
ZOO_MODULE(Bert);

struct EncoderModel : Model {
  Config cfg;
  explicit EncoderModel(const Config& c) : cfg(c) {
    // The bare encoder's keys stand at the top, without the prefix that the heads put before them.
    for (const auto& child : bert->named_children()) register_module(child.key(), child.value());
  }
  Bert bert{cfg, true};

  Tensors forward(const Tensors& inputs) override {
    const Tensor hidden = bert->forward(inputs);
    return {{"hidden", hidden}, {"pooled", bert->pooler(hidden)}};
  }
  void init_weights() override { init_transformers(*this, cfg.initializer_range); }
};

struct MaskedLanguageModel : Model {
  Config cfg;
  explicit MaskedLanguageModel(const Config& c) : cfg(c) {
    tie("cls.predictions.decoder.weight", bert->embeddings->words->weight);
    tie("cls.predictions.decoder.bias", bias);
  }
  Bert bert = add("bert", Bert(cfg, false));
  Tensor bias = param("cls.predictions.bias", {cfg.vocab_size});
  Linear dense = add("cls.predictions.transform.dense", Linear(cfg.hidden_size, cfg.hidden_size));
  LayerNorm norm = add("cls.predictions.transform.LayerNorm", LayerNorm(cfg.hidden_size, cfg.layer_norm_eps));

  Tensors forward(const Tensors& inputs) override {
    const Tensor x = mark("cls.predictions.transform", norm(activation(cfg.hidden_act)(dense(bert(inputs)))));
    return {{"logits", mark("cls", linear(x, bert->embeddings->words->weight, bias))}};  // [B, T, vocab]
  }
  void init_weights() override {
    init_transformers(*this, cfg.initializer_range);
    at::NoGradGuard no_grad;
    bias.zero_();
  }
};

struct SequenceClassifier : Model {
  Config cfg;
  explicit SequenceClassifier(const Config& c) : cfg(c) {}
  Bert bert = add("bert", Bert(cfg, true));
  Linear classifier = add("classifier", Linear(cfg.hidden_size, cfg.num_labels));

  Tensors forward(const Tensors& inputs) override {
    const Tensor pooled = bert->pooler(bert(inputs));  // [B, D]
    return {{"logits", classifier(at::dropout(pooled, cfg.classifier_dropout, is_training()))}, {"pooled", pooled}};
  }
  void init_weights() override { init_transformers(*this, cfg.initializer_range); }
};

struct TokenClassifier : Model {
  Config cfg;
  explicit TokenClassifier(const Config& c) : cfg(c) {}
  Bert bert = add("bert", Bert(cfg, false));
  Linear classifier = add("classifier", Linear(cfg.hidden_size, cfg.num_labels));

  Tensors forward(const Tensors& inputs) override {
    return {{"logits", classifier(at::dropout(bert(inputs), cfg.classifier_dropout, is_training()))}};  // [B, T, labels]
  }
  void init_weights() override { init_transformers(*this, cfg.initializer_range); }
};

std::shared_ptr<Model> build(const Json& json) {
  const auto config = read_config<Config>("bert", json);
  const auto architecture = architecture_of("bert", json, "BertModel", {"BertModel", "BertForMaskedLM",
                                            "BertForSequenceClassification", "BertForTokenClassification"});
  if (architecture == "BertForMaskedLM") return std::make_shared<MaskedLanguageModel>(config);
  if (architecture == "BertForSequenceClassification") return std::make_shared<SequenceClassifier>(config);
  if (architecture == "BertForTokenClassification") return std::make_shared<TokenClassifier>(config);
  return std::make_shared<EncoderModel>(config);
}

Entry entry() {
  return {"bert", build, [](const Json& json) -> std::vector<InputSpec> {
            const auto config = read_config<Config>("bert", json);
            return {{"tokens", {"B", "T"}, "int64", 0, double(config.vocab_size)},
                    {"mask", {"B", "T"}, "bool", 1, 2},
                    {"token_types", {"B", "T"}, "int64", 0, double(config.type_vocab_size)}};
          }};
}

}  // namespace zoo::bert
