// ALBERT: A Lite BERT for Self-supervised Learning of Language Representations (Lan et al., 2020, arXiv:1909.11942).
// Embeddings of few dimensions, widened by one linear layer; groups of layers whose weights serve several depths.
// Reference: transformers 5.23.0, models/albert/modeling_albert.py: AlbertModel, AlbertForMaskedLM,
// AlbertForPreTraining, AlbertForSequenceClassification, AlbertForTokenClassification, AlbertForQuestionAnswering.
// Differences: none known.
#include "models/blocks/attention.h"
#include "models/blocks/heads.h"
#include "models/blocks/seq2seq.h"
#include "models/config.h"
#include "models/init.h"
#include "models/model.h"

namespace zoo::albert {

struct Config {
  int64_t vocab_size = 30000, embedding_size = 128, hidden_size = 4096, num_hidden_layers = 12, num_hidden_groups = 1, inner_group_num = 1;
  int64_t num_attention_heads = 64, intermediate_size = 16384, max_position_embeddings = 512, type_vocab_size = 2, num_labels = 2;
  std::string hidden_act = "gelu_new";
  double hidden_dropout_prob = 0.0, attention_probs_dropout_prob = 0.0, classifier_dropout_prob = 0.1;
  double initializer_range = 0.02, layer_norm_eps = 1e-12;
  SpecialTokens special{0, 3, -1};

  void fields(Fields& f) {
    f.size("vocab_size", vocab_size);
    f.size("embedding_size", embedding_size);
    f.size("hidden_size", hidden_size);
    f.depth("num_hidden_layers", num_hidden_layers);
    f.depth("num_hidden_groups", num_hidden_groups);
    f.depth("inner_group_num", inner_group_num);
    f.size("num_attention_heads", num_attention_heads);
    f.size("intermediate_size", intermediate_size);
    f.size("max_position_embeddings", max_position_embeddings);
    f.size("type_vocab_size", type_vocab_size);
    f.one_of("hidden_act", hidden_act, activation_names());
    f.probability("hidden_dropout_prob", hidden_dropout_prob);
    f.probability("attention_probs_dropout_prob", attention_probs_dropout_prob);
    f.optional_probability("classifier_dropout_prob", classifier_dropout_prob);
    f.number("initializer_range", initializer_range);
    f.epsilon("layer_norm_eps", layer_norm_eps);
    f.labels("num_labels", num_labels);
    f.fixed("position_embedding_type", "absolute");
    f.fixed("tie_word_embeddings", true);
    f.ignored({"down_scale_factor", "gap_size", "net_structure_type", "num_memory_blocks", "layers_to_keep", "eos_token_ids", "output_past"});
    special.read(f);
    f.require(special.pad < vocab_size, "pad_token_id is " + std::to_string(special.pad) + "; expected an id below vocab_size " + std::to_string(vocab_size));
    f.require(hidden_size % num_attention_heads == 0,
              "hidden_size " + std::to_string(hidden_size) + " is not a multiple of num_attention_heads " +
                  std::to_string(num_attention_heads));
    f.require(num_hidden_groups <= num_hidden_layers,
              "num_hidden_groups is " + std::to_string(num_hidden_groups) + "; expected at most num_hidden_layers " + std::to_string(num_hidden_layers));
  }
};

struct EmbeddingsImpl : Module {
  Config cfg;
  explicit EmbeddingsImpl(const Config& c) : cfg(c) {}
  Embedding words = add("word_embeddings", Embedding(cfg.vocab_size, cfg.embedding_size));
  Embedding positions = add("position_embeddings", Embedding(cfg.max_position_embeddings, cfg.embedding_size));
  Embedding types = add("token_type_embeddings", Embedding(cfg.type_vocab_size, cfg.embedding_size));
  LayerNorm norm = add("LayerNorm", LayerNorm(cfg.embedding_size, cfg.layer_norm_eps));

  Tensor forward(const Tensor& tokens, const Tensor& token_types) {  // [B, T], [B, T] or undefined
    const Tensor word = at::embedding(words->weight, tokens, cfg.special.pad);  // padding does not train its row
    const Tensor type = token_types.defined() ? types(token_types) : types->weight[0];
    const Tensor x = norm(word + type + positions->weight.slice(0, 0, tokens.size(1)));
    return at::dropout(x, cfg.hidden_dropout_prob, is_training());  // [B, T, embedding]
  }
};
ZOO_MODULE(Embeddings);

struct AttentionImpl : Module {
  Config cfg;
  explicit AttentionImpl(const Config& c) : cfg(c) {}
  Linear query = add("query", Linear(cfg.hidden_size, cfg.hidden_size));
  Linear key = add("key", Linear(cfg.hidden_size, cfg.hidden_size));
  Linear value = add("value", Linear(cfg.hidden_size, cfg.hidden_size));
  Linear dense = add("dense", Linear(cfg.hidden_size, cfg.hidden_size));
  LayerNorm norm = add("LayerNorm", LayerNorm(cfg.hidden_size, cfg.layer_norm_eps));

  Tensor forward(const Tensor& x, const Tensor& mask) {  // [B, T, D]
    const int64_t heads = cfg.num_attention_heads;
    const auto [q, k, v] = projections(query, key, value, x, /*for_attention=*/true);
    const Tensor y = attention(split_heads(q, heads), split_heads(k, heads), split_heads(v, heads), mask,
                               is_training() ? cfg.attention_probs_dropout_prob : 0.0);
    if (!is_training()) return norm(added(dense, merge_heads(y), x));
    return norm(x + at::dropout(dense(merge_heads(y)), cfg.hidden_dropout_prob, true));
  }
};
ZOO_MODULE(Attention);

struct LayerImpl : Module {
  Config cfg;
  explicit LayerImpl(const Config& c) : cfg(c) {}
  LayerNorm norm = add("full_layer_layer_norm", LayerNorm(cfg.hidden_size, cfg.layer_norm_eps));
  Attention attend = add("attention", Attention(cfg));
  Linear ffn = add("ffn", Linear(cfg.hidden_size, cfg.intermediate_size));
  Linear ffn_output = add("ffn_output", Linear(cfg.intermediate_size, cfg.hidden_size));

  Tensor forward(Tensor x, const Tensor& mask) {  // [B, T, D]; no dropout after the feed-forward, as in the reference
    x = attend(x, mask);
    return norm(added(ffn_output, activated_for_product(ffn, x, cfg.hidden_act), x));
  }
};
ZOO_MODULE(Layer);

struct GroupImpl : Module {
  Config cfg;
  explicit GroupImpl(const Config& c) : cfg(c) {}
  std::vector<Layer> layers = add_n("albert_layers", cfg.inner_group_num, [&](int64_t) { return Layer(cfg); });

  Tensor forward(Tensor x, const Tensor& mask) {
    for (auto& layer : layers) x = layer(x, mask);
    return x;
  }
};
ZOO_MODULE(Group);

struct AlbertImpl : Module {
  Config cfg;
  AlbertImpl(const Config& c, bool with_pooler) : cfg(c) {
    if (with_pooler) pooler = add("pooler", Linear(cfg.hidden_size, cfg.hidden_size));
  }
  Embeddings embeddings = add("embeddings", Embeddings(cfg));
  Linear widen = add("encoder.embedding_hidden_mapping_in", Linear(cfg.embedding_size, cfg.hidden_size));
  std::vector<Group> groups = add_n("encoder.albert_layer_groups", cfg.num_hidden_groups, [&](int64_t) { return Group(cfg); });
  Linear pooler{nullptr};

  Tensor forward(const Tensors& inputs) {  // -> [B, T, D]
    const auto& tokens = inputs.at("tokens");
    TORCH_CHECK_VALUE(tokens.size(1) <= cfg.max_position_embeddings, "albert: ", tokens.size(1),
                      " tokens; the network has positions for ", cfg.max_position_embeddings, " (truncate the text)");
    const Tensor keep = key_mask(optional_input(inputs, "mask"));
    Tensor x = widen(embeddings(tokens, optional_input(inputs, "token_types")));
    for (int64_t i = 0; i < cfg.num_hidden_layers; ++i) {
      x = groups[static_cast<size_t>(i * cfg.num_hidden_groups / cfg.num_hidden_layers)](x, keep);  // equal shares of the depth
    }
    return mark("encoder", x);
  }
  Tensor pooled(const Tensor& hidden) { return at::tanh(pooler(hidden.select(1, 0))); }  // [B, T, D] -> [B, D]
};
ZOO_MODULE(Albert);

// What all begin with; the row of padding is zero.
void start_weights(Model& model, Albert& albert) {
  init_transformers(model, albert->cfg.initializer_range);
  at::NoGradGuard no_grad;
  if (albert->cfg.special.pad >= 0) albert->embeddings->words->weight[albert->cfg.special.pad].zero_();
}

struct EncoderModel : Model {
  Config cfg;
  explicit EncoderModel(const Config& c) : cfg(c) {
    // The bare encoder's keys stand at the top, without the prefix that the heads put before them.
    for (const auto& child : albert->named_children()) register_module(child.key(), child.value());
  }
  Albert albert{cfg, true};

  Tensors forward(const Tensors& inputs) override {
    const Tensor hidden = albert->forward(inputs);
    return {{"hidden", hidden}, {"pooled", albert->pooled(hidden)}};
  }
  void init_weights() override { start_weights(*this, albert); }
};

// Key names predictions.*.
struct LmHeadImpl : Module {
  Config cfg;
  LmHeadImpl(const Config& c, const Tensor& words) : cfg(c) { decoder = add("decoder", TiedLinear(words, bias)); }  // words [vocab, embedding]
  Tensor bias = param("bias", {cfg.vocab_size});
  LayerNorm norm = add("LayerNorm", LayerNorm(cfg.embedding_size, cfg.layer_norm_eps));
  Linear dense = add("dense", Linear(cfg.hidden_size, cfg.embedding_size));
  TiedLinear decoder{nullptr};

  Tensor forward(const Tensor& hidden) { return decoder(norm(activated(dense, hidden, cfg.hidden_act))); }  // [B, T, D] -> [B, T, vocab]
};
ZOO_MODULE(LmHead);

struct MaskedLanguageModel : Model {
  Config cfg;
  explicit MaskedLanguageModel(const Config& c) : cfg(c) {}
  Albert albert = add("albert", Albert(cfg, false));
  LmHead head = add("predictions", LmHead(cfg, albert->embeddings->words->weight));

  Tensors forward(const Tensors& inputs) override { return {{"logits", head(albert(inputs))}}; }
  void init_weights() override {
    start_weights(*this, albert);
    at::NoGradGuard no_grad;
    head->bias.zero_();
  }
};

// The published base files: the masked language model, and whether two parts of a text stand in their order.
struct PreTraining : Model {
  Config cfg;
  explicit PreTraining(const Config& c) : cfg(c) {}
  Albert albert = add("albert", Albert(cfg, true));
  LmHead head = add("predictions", LmHead(cfg, albert->embeddings->words->weight));
  Linear order = add("sop_classifier.classifier", Linear(cfg.hidden_size, cfg.num_labels));

  Tensors forward(const Tensors& inputs) override {
    const Tensor hidden = albert(inputs);
    const Tensor pooled = at::dropout(albert->pooled(hidden), cfg.classifier_dropout_prob, is_training());
    return {{"logits", head(hidden)}, {"sop_logits", order(pooled)}};  // [B, T, vocab], [B, 2]: 0 in order, 1 swapped
  }
  void init_weights() override {
    start_weights(*this, albert);
    at::NoGradGuard no_grad;
    head->bias.zero_();
  }
};

struct SequenceClassifier : Model {
  Config cfg;
  explicit SequenceClassifier(const Config& c) : cfg(c) {}
  Albert albert = add("albert", Albert(cfg, true));
  Linear classifier = add("classifier", Linear(cfg.hidden_size, cfg.num_labels));

  Tensors forward(const Tensors& inputs) override {
    const Tensor pooled = albert->pooled(albert(inputs));  // [B, D]
    return {{"logits", classifier(at::dropout(pooled, cfg.classifier_dropout_prob, is_training()))}, {"pooled", pooled}};
  }
  void init_weights() override { start_weights(*this, albert); }
};

struct TokenClassifier : Model {
  Config cfg;
  explicit TokenClassifier(const Config& c) : cfg(c) {}
  Albert albert = add("albert", Albert(cfg, false));
  Linear classifier = add("classifier", Linear(cfg.hidden_size, cfg.num_labels));

  Tensors forward(const Tensors& inputs) override {
    return {{"logits", classifier(at::dropout(albert(inputs), cfg.classifier_dropout_prob, is_training()))}};  // [B, T, labels]
  }
  void init_weights() override { start_weights(*this, albert); }
};

struct QuestionAnswering : Model {
  Config cfg;
  explicit QuestionAnswering(const Config& c) : cfg(c) {}
  Albert albert = add("albert", Albert(cfg, false));
  Linear out = add("qa_outputs", Linear(cfg.hidden_size, 2));

  Tensors forward(const Tensors& inputs) override { return answer_span(out, albert(inputs)); }
  void init_weights() override { start_weights(*this, albert); }
};

std::shared_ptr<Model> build(const Json& json) {
  const auto config = read_config<Config>("albert", json);
  const auto architecture = architecture_of("albert", json, "AlbertModel", {"AlbertModel", "AlbertForMaskedLM", "AlbertForPreTraining",
                                            "AlbertForSequenceClassification", "AlbertForTokenClassification", "AlbertForQuestionAnswering"});
  if (architecture == "AlbertForMaskedLM") return std::make_shared<MaskedLanguageModel>(config);
  if (architecture == "AlbertForSequenceClassification") return std::make_shared<SequenceClassifier>(config);
  if (architecture == "AlbertForTokenClassification") return std::make_shared<TokenClassifier>(config);
  if (architecture == "AlbertForPreTraining") return std::make_shared<PreTraining>(config);
  if (architecture == "AlbertForQuestionAnswering") return std::make_shared<QuestionAnswering>(config);
  return std::make_shared<EncoderModel>(config);
}

Entry entry() {
  return {"albert", build, [](const Json& json) -> std::vector<InputSpec> {
            const auto config = read_config<Config>("albert", json);
            return {{"tokens", {"B", "T"}, "int64", 0, double(config.vocab_size)},
                    {"mask", {"B", "T"}, "bool", 1, 2},
                    {"token_types", {"B", "T"}, "int64", 0, double(config.type_vocab_size)}};
          }};
}

}  // namespace zoo::albert
