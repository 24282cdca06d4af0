// MPNet: Masked and Permuted Pre-training for Language Understanding (Song et al., 2020, arXiv:2004.09297).
// BERT's layers without segments; every layer adds one learned table of relative positions to its attention scores.
// Reference: transformers 5.23.0, models/mpnet/modeling_mpnet.py: MPNetModel, MPNetForMaskedLM,
// MPNetForSequenceClassification, MPNetForTokenClassification, MPNetForQuestionAnswering.
// Difference: relative_attention_num_buckets below 32 is refused; the reference always uses 32 and then fails on long texts.
#include "models/blocks/attention.h"
#include "models/blocks/bert_layer.h"
#include "models/blocks/heads.h"
#include "models/blocks/positions.h"
#include "models/config.h"
#include "models/init.h"
#include "models/model.h"

namespace zoo::mpnet {

// Constants in the reference, whatever the config says.
constexpr int64_t kPadding = 1, kBuckets = 32, kFurthest = 128;

struct Config {
  int64_t vocab_size = 30527, hidden_size = 768, num_hidden_layers = 12, num_attention_heads = 12, intermediate_size = 3072;
  int64_t max_position_embeddings = 512, relative_attention_num_buckets = kBuckets, num_labels = 2;
  std::string hidden_act = "gelu";
  double hidden_dropout_prob = 0.1, attention_probs_dropout_prob = 0.1, initializer_range = 0.02, layer_norm_eps = 1e-12;

  int64_t longest() const { return max_position_embeddings - kPadding - 1; }

  void fields(Fields& f) {
    f.size("vocab_size", vocab_size);
    f.size("hidden_size", hidden_size);
    f.depth("num_hidden_layers", num_hidden_layers);
    f.size("num_attention_heads", num_attention_heads);
    f.size("intermediate_size", intermediate_size);
    f.size("max_position_embeddings", max_position_embeddings);
    f.size("relative_attention_num_buckets", relative_attention_num_buckets);
    f.one_of("hidden_act", hidden_act, activation_names());
    f.probability("hidden_dropout_prob", hidden_dropout_prob);
    f.probability("attention_probs_dropout_prob", attention_probs_dropout_prob);
    f.number("initializer_range", initializer_range);
    f.epsilon("layer_norm_eps", layer_norm_eps);
    f.labels("num_labels", num_labels);
    f.fixed("tie_word_embeddings", true);
    f.require(vocab_size > kPadding, "vocab_size is 1; expected more than the id of padding, 1");
    f.require(longest() > 0, "max_position_embeddings is " + std::to_string(max_position_embeddings) + "; expected at least 3, because positions begin at 2");
    f.require(relative_attention_num_buckets >= kBuckets,
              "relative_attention_num_buckets is " + std::to_string(relative_attention_num_buckets) + "; expected at least 32");
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
  LayerNorm norm = add("LayerNorm", LayerNorm(cfg.hidden_size, cfg.layer_norm_eps));

  Tensor forward(const Tensor& tokens) {  // [B, T]; padding's rows are not trained
    const Tensor place = positions_after_padding(tokens, kPadding);
    const Tensor x = at::embedding(words->weight, tokens, kPadding) + at::embedding(positions->weight, place, kPadding);
    return at::dropout(norm(x), cfg.hidden_dropout_prob, is_training());  // [B, T, D]
  }
};
ZOO_MODULE(Embeddings);

struct SelfAttentionImpl : Module {
  Config cfg;
  explicit SelfAttentionImpl(const Config& c) : cfg(c) {}
  Linear q = add("q", Linear(cfg.hidden_size, cfg.hidden_size));
  Linear k = add("k", Linear(cfg.hidden_size, cfg.hidden_size));
  Linear v = add("v", Linear(cfg.hidden_size, cfg.hidden_size));
  Linear o = add("o", Linear(cfg.hidden_size, cfg.hidden_size));

  Tensor forward(const Tensor& x, const Tensor& bias) {
    const int64_t heads = cfg.num_attention_heads;
    const auto [queries, keys, values] = projections(q, k, v, x, /*for_attention=*/true);
    return o(merge_heads(attention(split_heads(queries, heads), split_heads(keys, heads), split_heads(values, heads), bias,
                                   is_training() ? cfg.attention_probs_dropout_prob : 0.0)));
  }
};
ZOO_MODULE(SelfAttention);

struct LayerImpl : Module {
  Config cfg;
  explicit LayerImpl(const Config& c) : cfg(c) {}
  SelfAttention self = add("attention.attn", SelfAttention(cfg));
  LayerNorm attention_norm = add("attention.LayerNorm", LayerNorm(cfg.hidden_size, cfg.layer_norm_eps));
  Linear intermediate = add("intermediate.dense", Linear(cfg.hidden_size, cfg.intermediate_size));
  Linear output = add("output.dense", Linear(cfg.intermediate_size, cfg.hidden_size));
  LayerNorm output_norm = add("output.LayerNorm", LayerNorm(cfg.hidden_size, cfg.layer_norm_eps));

  Tensor forward(Tensor x, const Tensor& bias) {  // [B, T, D]; bias [1 or B, heads, T, T]
    x = mark("attention", attention_norm(drop(self(x, bias)) + x));
    const Tensor inner = mark("intermediate", activated_for_product(intermediate, x, cfg.hidden_act));
    return mark("output", output_norm(is_training() ? drop(output(inner)) + x : added(output, inner, x)));
  }
  Tensor drop(const Tensor& x) const { return at::dropout(x, cfg.hidden_dropout_prob, is_training()); }
};
ZOO_MODULE(Layer);

struct MpnetImpl : Module {
  Config cfg;
  MpnetImpl(const Config& c, bool with_pooler) : cfg(c) {
    if (with_pooler) pooler = add("pooler", BertPooler(cfg.hidden_size));
  }
  Embeddings embeddings = add("embeddings", Embeddings(cfg));
  std::vector<Layer> layers = add_n("encoder.layer", cfg.num_hidden_layers, [&](int64_t) { return Layer(cfg); });
  Embedding relative = add("encoder.relative_attention_bias", Embedding(cfg.relative_attention_num_buckets, cfg.num_attention_heads));
  BertPooler pooler{nullptr};

  Tensor forward(const Tensors& inputs) {  // -> [B, T, D]
    const auto& tokens = inputs.at("tokens");
    TORCH_CHECK_VALUE(tokens.size(1) <= cfg.longest(), "mpnet: ", tokens.size(1), " tokens; the network has positions for ", cfg.longest(),
                      " (truncate the text)");
    Tensor x = embeddings(tokens);
    const Tensor bias = scores_bias(tokens, key_mask(optional_input(inputs, "mask")));
    for (auto& layer : layers) x = layer(x, bias);
    return mark("encoder", x);
  }

 private:
  Tensor scores_bias(const Tensor& tokens, const Tensor& keep) {  // keep [B, 1, 1, T] or undefined -> [1 or B, heads, T, T]
    const Tensor place = at::arange(tokens.size(1), tokens.options());
    const Tensor bucket = relative_buckets(place.unsqueeze(0) - place.unsqueeze(1), /*both_ways=*/true, kBuckets, kFurthest);
    const Tensor bias = relative(bucket).permute({2, 0, 1}).unsqueeze(0);
    return keep.defined() ? bias.masked_fill(keep.logical_not(), -INFINITY) : bias;
  }
};
ZOO_MODULE(Mpnet);

// What all begin with; rows of padding are zero.
void start_weights(Model& model, Mpnet& mpnet) {
  init_transformers(model, mpnet->cfg.initializer_range);
  at::NoGradGuard no_grad;
  mpnet->embeddings->words->weight[kPadding].zero_();
  mpnet->embeddings->positions->weight[kPadding].zero_();
}

struct EncoderModel : Model {
  Config cfg;
  explicit EncoderModel(const Config& c) : cfg(c) {
    // The bare encoder's keys stand at the top, without the prefix that the heads put before them.
    for (const auto& child : mpnet->named_children()) register_module(child.key(), child.value());
  }
  Mpnet mpnet{cfg, true};

  Tensors forward(const Tensors& inputs) override {
    const Tensor hidden = mpnet->forward(inputs);
    return {{"hidden", hidden}, {"pooled", mpnet->pooler(hidden)}};
  }
  void init_weights() override { start_weights(*this, mpnet); }
};

struct MaskedLanguageModel : Model {
  Config cfg;
  explicit MaskedLanguageModel(const Config& c) : cfg(c) {}
  Mpnet mpnet = add("mpnet", Mpnet(cfg, false));
  RobertaLmHead head = add("lm_head", RobertaLmHead(mpnet->embeddings->words->weight, cfg.layer_norm_eps));

  Tensors forward(const Tensors& inputs) override { return {{"logits", head(mpnet(inputs))}}; }  // [B, T, vocab]
  void init_weights() override {
    start_weights(*this, mpnet);
    at::NoGradGuard no_grad;
    head->bias.zero_();
  }
};

struct SequenceClassifier : Model {
  Config cfg;
  explicit SequenceClassifier(const Config& c) : cfg(c) {}
  Mpnet mpnet = add("mpnet", Mpnet(cfg, false));
  ClassificationHead head = add("classifier", ClassificationHead(cfg.hidden_size, cfg.hidden_size, cfg.num_labels, cfg.hidden_dropout_prob));

  Tensors forward(const Tensors& inputs) override { return {{"logits", head(mpnet(inputs).select(1, 0))}}; }  // of the first token
  void init_weights() override { start_weights(*this, mpnet); }
};

struct TokenClassifier : Model {
  Config cfg;
  explicit TokenClassifier(const Config& c) : cfg(c) {}
  Mpnet mpnet = add("mpnet", Mpnet(cfg, false));
  Linear classifier = add("classifier", Linear(cfg.hidden_size, cfg.num_labels));

  Tensors forward(const Tensors& inputs) override {
    return {{"logits", classifier(at::dropout(mpnet(inputs), cfg.hidden_dropout_prob, is_training()))}};  // [B, T, labels]
  }
  void init_weights() override { start_weights(*this, mpnet); }
};

struct QuestionAnswering : Model {
  Config cfg;
  explicit QuestionAnswering(const Config& c) : cfg(c) {}
  Mpnet mpnet = add("mpnet", Mpnet(cfg, false));
  Linear out = add("qa_outputs", Linear(cfg.hidden_size, 2));

  Tensors forward(const Tensors& inputs) override { return answer_span(out, mpnet(inputs)); }
  void init_weights() override { start_weights(*this, mpnet); }
};

std::shared_ptr<Model> build(const Json& json) {
  const auto config = read_config<Config>("mpnet", json);
  const auto architecture = architecture_of("mpnet", json, "MPNetModel", {"MPNetModel", "MPNetForMaskedLM",
                                            "MPNetForSequenceClassification", "MPNetForTokenClassification", "MPNetForQuestionAnswering"});
  if (architecture == "MPNetForMaskedLM") return std::make_shared<MaskedLanguageModel>(config);
  if (architecture == "MPNetForSequenceClassification") return std::make_shared<SequenceClassifier>(config);
  if (architecture == "MPNetForTokenClassification") return std::make_shared<TokenClassifier>(config);
  if (architecture == "MPNetForQuestionAnswering") return std::make_shared<QuestionAnswering>(config);
  return std::make_shared<EncoderModel>(config);
}

Entry entry() {
  return {"mpnet", build, [](const Json& json) -> std::vector<InputSpec> {
            return {{"tokens", {"B", "T"}, "int64", 0, double(read_config<Config>("mpnet", json).vocab_size)}, {"mask", {"B", "T"}, "bool", 1, 2}};
          }};
}

}  // namespace zoo::mpnet
