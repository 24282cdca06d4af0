// RoBERTa: A Robustly Optimized BERT Pretraining Approach (Liu et al., 2019, arXiv:1907.11692); CodeBERT (Feng et al., 2020,
// arXiv:2002.08155) is this network trained on code.
// BERT's layers; positions count the tokens that are no padding and begin after the padding's id; sequences are classified from
// the first token by two layers.
// Reference: transformers 5.23.0, models/roberta/modeling_roberta.py: RobertaModel, RobertaForMaskedLM,
// RobertaForSequenceClassification, RobertaForTokenClassification.
// Differences: encoder only (no decoder mode or cross-attention).
#include "models/blocks/attention.h"
#include "models/blocks/bert_layer.h"
#include "models/blocks/layers.h"
#include "models/blocks/linear.h"
#include "models/blocks/seq2seq.h"
#include "models/config.h"
#include "models/init.h"
#include "models/model.h"

namespace zoo::roberta {

struct Config {
  int64_t vocab_size = 50265, hidden_size = 768, num_hidden_layers = 12, num_attention_heads = 12, intermediate_size = 3072;
  int64_t max_position_embeddings = 512, type_vocab_size = 2, num_labels = 2;
  std::string hidden_act = "gelu";
  double hidden_dropout_prob = 0.1, attention_probs_dropout_prob = 0.1, initializer_range = 0.02, layer_norm_eps = 1e-12;
  double classifier_dropout = 0.1;
  SpecialTokens special{1, 2, -1};

  int64_t longest() const { return max_position_embeddings - special.pad - 1; }

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
    f.fixed("tie_word_embeddings", true);
    f.ignored({"output_past"});
    special.read(f);
    f.require(special.pad >= 0 && special.pad < vocab_size && longest() > 0,
              "pad_token_id is " + std::to_string(special.pad) + "; expected an id below vocab_size " + std::to_string(vocab_size) +
                  " and max_position_embeddings " + std::to_string(max_position_embeddings) + " - 1, because positions begin after it");
    f.require(hidden_size % num_attention_heads == 0,
              "hidden_size " + std::to_string(hidden_size) + " is not a multiple of num_attention_heads " +
                  std::to_string(num_attention_heads));
  }
};

struct EmbeddingsImpl : Module {
  Config cfg;
  explicit EmbeddingsImpl(const Config& c) : cfg(c) {}
  Embedding words = add("word_embeddings", Embedding(cfg.vocab_size, cfg.hidden_size));
  Embedding types = add("token_type_embeddings", Embedding(cfg.type_vocab_size, cfg.hidden_size));
  LayerNorm norm = add("LayerNorm", LayerNorm(cfg.hidden_size, cfg.layer_norm_eps));
  Embedding positions = add("position_embeddings", Embedding(cfg.max_position_embeddings, cfg.hidden_size));

  Tensor forward(const Tensor& tokens, const Tensor& token_types) {  // [B, T], [B, T] or undefined
    const int64_t pad = cfg.special.pad;  // its rows are not trained
    const Tensor real = tokens.ne(pad).to(at::kLong);
    const Tensor place = real.cumsum(1) * real + pad;  // padding itself has the padding's position
    const Tensor type = token_types.defined() ? types(token_types) : types->weight[0];
    const Tensor x = at::embedding(words->weight, tokens, pad) + type + at::embedding(positions->weight, place, pad);
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

// What all four begin with; rows of padding are zero.
void start_weights(Model& model, Roberta& roberta) {
  const Config& cfg = roberta->cfg;
  init_transformers(model, cfg.initializer_range);
  at::NoGradGuard no_grad;
  roberta->embeddings->words->weight[cfg.special.pad].zero_();
  roberta->embeddings->positions->weight[cfg.special.pad].zero_();
}

struct EncoderModel : Model {
  Config cfg;
  explicit EncoderModel(const Config& c) : cfg(c) {
    // The bare encoder's keys stand at the top, without the prefix that the heads put before them.
    for (const auto& child : roberta->named_children()) register_module(child.key(), child.value());
  }
  Roberta roberta{cfg, true};

  Tensors forward(const Tensors& inputs) override {
    const Tensor hidden = roberta->forward(inputs);
    return {{"hidden", hidden}, {"pooled", roberta->pooler(hidden)}};
  }
  void init_weights() override { start_weights(*this, roberta); }
};

struct MaskedLanguageModel : Model {
  Config cfg;
  explicit MaskedLanguageModel(const Config& c) : cfg(c) {
    tie("lm_head.decoder.weight", roberta->embeddings->words->weight);
    tie("lm_head.decoder.bias", bias);
  }
  Roberta roberta = add("roberta", Roberta(cfg, false));
  Tensor bias = param("lm_head.bias", {cfg.vocab_size});
  Linear dense = add("lm_head.dense", Linear(cfg.hidden_size, cfg.hidden_size));
  LayerNorm norm = add("lm_head.layer_norm", LayerNorm(cfg.hidden_size, cfg.layer_norm_eps));

  Tensors forward(const Tensors& inputs) override {
    const Tensor x = norm(at::gelu(dense(roberta(inputs))));  // exact GELU, whatever hidden_act says
    return {{"logits", mark("lm_head", linear(x, roberta->embeddings->words->weight, bias))}};  // [B, T, vocab]
  }
  void init_weights() override {
    start_weights(*this, roberta);
    at::NoGradGuard no_grad;
    bias.zero_();
  }
};

struct SequenceClassifier : Model {
  Config cfg;
  explicit SequenceClassifier(const Config& c) : cfg(c) {}
  Roberta roberta = add("roberta", Roberta(cfg, false));
  Linear dense = add("classifier.dense", Linear(cfg.hidden_size, cfg.hidden_size));
  Linear out = add("classifier.out_proj", Linear(cfg.hidden_size, cfg.num_labels));

  Tensors forward(const Tensors& inputs) override {
    const auto drop = [&](const Tensor& x) { return at::dropout(x, cfg.classifier_dropout, is_training()); };
    const Tensor first = roberta(inputs).select(1, 0);  // [B, D]
    return {{"logits", mark("classifier", out(drop(at::tanh(dense(drop(first))))))}};
  }
  void init_weights() override { start_weights(*this, roberta); }
};

struct TokenClassifier : Model {
  Config cfg;
  explicit TokenClassifier(const Config& c) : cfg(c) {}
  Roberta roberta = add("roberta", Roberta(cfg, false));
  Linear classifier = add("classifier", Linear(cfg.hidden_size, cfg.num_labels));

  Tensors forward(const Tensors& inputs) override {
    return {{"logits", classifier(at::dropout(roberta(inputs), cfg.classifier_dropout, is_training()))}};  // [B, T, labels]
  }
  void init_weights() override { start_weights(*this, roberta); }
};

std::shared_ptr<Model> build(const Json& json) {
  const auto config = read_config<Config>("roberta", json);
  const auto architecture = architecture_of("roberta", json, "RobertaModel", {"RobertaModel", "RobertaForMaskedLM",
                                            "RobertaForSequenceClassification", "RobertaForTokenClassification"});
  if (architecture == "RobertaForMaskedLM") return std::make_shared<MaskedLanguageModel>(config);
  if (architecture == "RobertaForSequenceClassification") return std::make_shared<SequenceClassifier>(config);
  if (architecture == "RobertaForTokenClassification") return std::make_shared<TokenClassifier>(config);
  return std::make_shared<EncoderModel>(config);
}

Entry entry() {
  return {"roberta", build, [](const Json& json) -> std::vector<InputSpec> {
            const auto config = read_config<Config>("roberta", json);
            return {{"tokens", {"B", "T"}, "int64", 0, double(config.vocab_size)},
                    {"mask", {"B", "T"}, "bool", 1, 2},
                    {"token_types", {"B", "T"}, "int64", 0, double(config.type_vocab_size)}};
          }};
}

}  // namespace zoo::roberta
