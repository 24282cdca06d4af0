// T5: Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer (Raffel et al., 2020, arXiv:1910.10683).
// Pre-norm encoder and decoder without biases: RMS norms, attention that is not scaled but knows relative positions, which the
// first layer of each half holds for all. CodeT5 (Wang et al., 2021, arXiv:2109.00859), flan-T5 and T5 v1.1 (gated, own head) too.
// Reference: transformers 5.23.0, models/t5/modeling_t5.py: T5Model, T5EncoderModel, T5ForConditionalGeneration,
// T5ForSequenceClassification, T5ForTokenClassification, T5ForQuestionAnswering; DefectModel and CloneModel of
// github.com/salesforce/CodeT5 (7de7f69), CodeT5/models.py, on T5.
// Differences: with "tie_word_embeddings": false the head is a weight of its own, as in the published v1.1 files; the reference
// starts from tied ones there too and parts them when a file holds both. A text without </s> is classified by its last token,
// which the reference refuses.
#include "models/blocks/attention.h"
#include "models/blocks/dropout.h"
#include "models/blocks/heads.h"
#include "models/blocks/positions.h"
#include "models/blocks/seq2seq.h"
#include "models/config.h"
#include "models/decoding.h"
#include "models/init.h"
#include "models/model.h"

namespace zoo::t5 {

struct Config {
  int64_t vocab_size = 32128, d_model = 512, d_kv = 64, d_ff = 2048, num_layers = 6, num_decoder_layers = 6, num_heads = 8;
  int64_t relative_attention_num_buckets = 32, relative_attention_max_distance = 128, num_labels = 2;
  std::string feed_forward_proj = "relu";
  double dropout_rate = 0.1, layer_norm_epsilon = 1e-6, initializer_factor = 1.0, classifier_dropout = 0.0;
  bool tie_word_embeddings = true;
  SpecialTokens special{0, 1, 0};

  bool gated() const { return feed_forward_proj.rfind("gated-", 0) == 0; }
  std::string dense_act() const {  // the published "gated-gelu" files were trained with the tanh form
    if (feed_forward_proj == "gated-gelu") return "gelu_new";
    return gated() ? feed_forward_proj.substr(6) : feed_forward_proj;
  }

  void fields(Fields& f) {
    f.size("vocab_size", vocab_size);
    f.size("d_model", d_model);
    f.size("d_kv", d_kv);
    f.size("d_ff", d_ff);
    f.depth("num_layers", num_layers);
    num_decoder_layers = num_layers;
    f.optional_size("num_decoder_layers", num_decoder_layers);
    f.size("num_heads", num_heads);
    f.size("relative_attention_num_buckets", relative_attention_num_buckets);
    f.size("relative_attention_max_distance", relative_attention_max_distance);
    std::vector<std::string> forms = activation_names();
    for (const auto& name : activation_names()) forms.push_back("gated-" + name);
    f.one_of("feed_forward_proj", feed_forward_proj, forms);
    f.probability("dropout_rate", dropout_rate);
    f.epsilon("layer_norm_epsilon", layer_norm_epsilon);
    f.number("initializer_factor", initializer_factor);
    f.probability("classifier_dropout", classifier_dropout);
    f.flag("tie_word_embeddings", tie_word_embeddings);
    f.labels("num_labels", num_labels);
    f.ignored({"n_positions", "output_past", "is_gated_act", "dense_act_fn", "scale_decoder_outputs", "architecture"});
    special.read(f);
    f.require(num_decoder_layers <= 1024, "num_decoder_layers is " + std::to_string(num_decoder_layers) + "; expected 1 to 1024");
    f.require(relative_attention_num_buckets >= 4 && relative_attention_num_buckets % 4 == 0,
              "relative_attention_num_buckets is " + std::to_string(relative_attention_num_buckets) + "; expected a multiple of 4");
    f.require(relative_attention_max_distance > relative_attention_num_buckets / 2,
              "relative_attention_max_distance is " + std::to_string(relative_attention_max_distance) +
                  "; expected more than half of relative_attention_num_buckets");
  }
};

// x / sqrt(mean x^2 + eps) * weight (Zhang & Sennrich, 2019, arXiv:1910.07467), the mean in float32.
struct RmsNormImpl : Module {
  Tensor weight;
  double eps;
  RmsNormImpl(int64_t width, double epsilon) : weight(param("weight", {width})), eps(epsilon) {}

  Tensor forward(const Tensor& x) { return rms_norm(x, weight, eps); }
  void init() override {
    at::NoGradGuard no_grad;
    weight.fill_(1.0);
  }
};
ZOO_MODULE(RmsNorm);

struct AttentionImpl : Module {
  Config cfg;
  int64_t inner;
  explicit AttentionImpl(const Config& c) : cfg(c), inner(c.num_heads * c.d_kv) {}
  Linear q = add("q", Linear(cfg.d_model, inner, /*with_bias=*/false));
  Linear k = add("k", Linear(cfg.d_model, inner, /*with_bias=*/false));
  Linear v = add("v", Linear(cfg.d_model, inner, /*with_bias=*/false));
  Linear o = add("o", Linear(inner, cfg.d_model, /*with_bias=*/false));

  // [B, T, D] reads [B, S, D]; bias [1 or B, heads, T, S] is added to the scores, which are not divided by sqrt(d).
  Tensor forward(const Tensor& x, const Tensor& memory, const Tensor& bias) {
    return o(merge_heads(attention(heads(q(x)), heads(k(memory)), heads(v(memory)), bias, is_training() ? cfg.dropout_rate : 0.0, 1.0)));
  }
  // The same, added to `rest`, for the newest tokens [N, T, D]: of what their row has read, and of the source.
  Tensor step(const Tensor& rest, const Tensor& x, const Tensor& bias, Decoding& state, size_t layer) {
    const auto [queries, keys, values] = projections(q, k, v, x);
    return added(o, merge_heads(cached_attention(heads(queries), heads(keys), heads(values), state, layer, bias, 1.0)), rest);
  }
  Tensor step_source(const Tensor& rest, const Tensor& x, const Decoding& state, size_t layer) {
    return added(o, merge_heads(source_attention(heads(q(x)), state, layer, 1.0)), rest);
  }
  Tensor heads(const Tensor& x) const { return split_heads(x, cfg.num_heads); }
};
ZOO_MODULE(Attention);

struct FeedForwardImpl : Module {
  Config cfg;
  explicit FeedForwardImpl(const Config& c) : cfg(c) {
    if (cfg.gated()) gate = add("wi_0", Linear(cfg.d_model, cfg.d_ff, /*with_bias=*/false));
  }
  Linear gate{nullptr};
  Linear wi = add(cfg.gated() ? "wi_1" : "wi", Linear(cfg.d_model, cfg.d_ff, /*with_bias=*/false));
  Linear wo = add("wo", Linear(cfg.d_ff, cfg.d_model, /*with_bias=*/false));

  Tensor forward(const Tensor& x) { return wo(fast_dropout(inner(x), cfg.dropout_rate, is_training())); }
  Tensor inner(const Tensor& x) {  // [B, T, d_ff]; GLU variants: Shazeer, arXiv:2002.05202
    return cfg.gated() ? activated(gate, x, cfg.dense_act()) * wi(x) : activated(wi, x, cfg.dense_act());
  }
};
ZOO_MODULE(FeedForward);

// Sub-layers "layer.0" (self), in a decoder "layer.1" (source), and last the feed-forward, each after its norm.
struct BlockImpl : Module {
  Config cfg;
  bool decoder;
  std::string last;
  BlockImpl(const Config& c, bool in_decoder) : cfg(c), decoder(in_decoder), last(in_decoder ? "layer.2" : "layer.1") {
    if (!decoder) return;
    source = add("layer.1.EncDecAttention", Attention(cfg));
    source_norm = add("layer.1.layer_norm", norm());
  }
  Attention self = add("layer.0.SelfAttention", Attention(cfg));
  RmsNorm self_norm = add("layer.0.layer_norm", norm());
  Attention source{nullptr};
  RmsNorm source_norm{nullptr};
  FeedForward dense = add(last + ".DenseReluDense", FeedForward(cfg));
  RmsNorm dense_norm = add(last + ".layer_norm", norm());

  Tensor forward(Tensor x, const Tensor& bias, const Tensor& memory, const Tensor& memory_mask) {  // [B, T, D]
    const Tensor normed = self_norm(x);
    x = mark("layer.0", x + drop(self(normed, normed, bias)));
    if (decoder) x = mark("layer.1", x + drop(source(source_norm(x), memory, memory_mask)));
    return mark(last, x + drop(dense(dense_norm(x))));
  }
  Tensor step(Tensor x, const Tensor& bias, Decoding& state, size_t layer) {
    x = self->step(x, self_norm(x), bias, state, layer);
    x = source->step_source(x, source_norm(x), state, layer);
    return added(dense->wo, dense->inner(dense_norm(x)), x);
  }
  RmsNorm norm() const { return RmsNorm(cfg.d_model, cfg.layer_norm_epsilon); }
  Tensor drop(const Tensor& x) const { return fast_dropout(x, cfg.dropout_rate, is_training()); }
};
ZOO_MODULE(Block);

struct StackImpl : Module {
  Config cfg;
  bool decoder;
  StackImpl(const Config& c, bool is_decoder) : cfg(c), decoder(is_decoder) {}
  std::vector<Block> blocks = add_n("block", decoder ? cfg.num_decoder_layers : cfg.num_layers, [&](int64_t) { return Block(cfg, decoder); });
  Embedding buckets = add("block.0.layer.0.SelfAttention.relative_attention_bias", Embedding(cfg.relative_attention_num_buckets, cfg.num_heads));
  RmsNorm norm = add("final_layer_norm", RmsNorm(cfg.d_model, cfg.layer_norm_epsilon));

  // ahead [...] int64 -> [1, heads, ...]
  Tensor bias_of(const Tensor& ahead) {
    const Tensor bucket = relative_buckets(ahead, !decoder, cfg.relative_attention_num_buckets, cfg.relative_attention_max_distance);
    return buckets(bucket).permute({2, 0, 1}).unsqueeze(0);
  }

  Tensor forward(Tensor x, const Tensor& mask, const Tensor& memory, const Tensor& memory_mask) {  // embedded [B, T, D]
    const Tensor place = at::arange(x.size(1), x.options().dtype(at::kLong));
    const Tensor ahead = place.unsqueeze(0) - place.unsqueeze(1);  // [T, T]: key - query
    Tensor bias = bias_of(ahead);                                  // [1, heads, T, T]
    const double none = -std::numeric_limits<double>::infinity();
    if (mask.defined()) bias = bias.masked_fill(mask.logical_not(), none);
    if (decoder) bias = bias.masked_fill(ahead > 0, none);
    x = fast_dropout(x, cfg.dropout_rate, is_training());
    for (auto& block : blocks) x = block(x, bias, memory, memory_mask);
    return fast_dropout(norm(x), cfg.dropout_rate, is_training());
  }

  Tensor step(Tensor x, const Tensor& bias, Decoding& state) {  // embedded [N, T, D]
    for (size_t i = 0; i < blocks.size(); ++i) x = blocks[i]->step(x, bias, state, i);
    return norm(x);
  }
};
ZOO_MODULE(Stack);

// Embeddings, encoder and, unless only the encoder is wanted, decoder.
struct CoreImpl : Module {
  Config cfg;
  CoreImpl(const Config& c, bool with_decoder) : cfg(c) {
    tie("encoder.embed_tokens.weight", shared->weight);
    if (!with_decoder) return;
    decoder = add("decoder", Stack(cfg, true));
    tie("decoder.embed_tokens.weight", shared->weight);
  }
  Embedding shared = add("shared", Embedding(cfg.vocab_size, cfg.d_model));
  Stack encoder = add("encoder", Stack(cfg, false));
  Stack decoder{nullptr};

  Tensor encode(const Tensors& inputs) {  // -> [B, S, D]
    return encoder(shared(inputs.at("tokens")), key_mask(optional_input(inputs, "mask")), Tensor(), Tensor());
  }
  Tensor forward(const Tensors& inputs, const Tensor& decoder_tokens) {  // -> [B, T, D]
    return decoder(shared(decoder_tokens), Tensor(), encode(inputs), key_mask(optional_input(inputs, "mask")));
  }

  Decoding start(const Tensors& inputs, int64_t beams, int64_t capacity) {
    Decoding state;
    const Tensor memory = encode(inputs);
    state.allocate(cfg.num_decoder_layers, memory.size(0) * beams, cfg.num_heads, capacity, cfg.d_kv, memory.options());
    state.source_mask = key_mask(optional_input(inputs, "mask"));
    for (size_t i = 0; i < decoder->blocks.size(); ++i) {
      auto& source = decoder->blocks[i]->source;
      state.layers[i].source_key = source->heads(source->k(memory)).contiguous();
      state.layers[i].source_value = source->heads(source->v(memory)).contiguous();
    }
    // What the newest token adds to the scores depends on the distance alone: the furthest first, once for all steps.
    const Tensor behind = at::arange(1 - capacity, 1, memory.options().dtype(at::kLong)).unsqueeze(0);
    state.bias = decoder->bias_of(behind);  // [1, heads, 1, capacity]
    return state;
  }

  Tensor step(const Tensor& tokens, Decoding& state) {  // [N, T] -> [N, T, D]
    state.grow(tokens.size(0), tokens.size(1));
    return decoder->step(shared(tokens), state.by_distance(state.bias, tokens.size(1)), state);
  }
};
ZOO_MODULE(Core);

void normal(const Linear& layer, double std) {
  if (layer.is_empty()) return;
  layer->weight.normal_(0.0, std);
  if (layer->bias.defined()) layer->bias.zero_();
}

// The reference's starting values: every projection by its fan-in, queries also by the head's width, for scores are not scaled.
void starting_values(CoreImpl& core, const Config& c) {
  at::NoGradGuard no_grad;
  const double factor = c.initializer_factor, by_model = factor / std::sqrt(static_cast<double>(c.d_model));
  core.shared->weight.normal_(0.0, factor);
  for (const auto& module : core.modules(/*include_self=*/false)) {
    if (auto* attention = dynamic_cast<AttentionImpl*>(module.get())) {
      normal(attention->q, by_model / std::sqrt(static_cast<double>(c.d_kv)));
      normal(attention->k, by_model);
      normal(attention->v, by_model);
      normal(attention->o, factor / std::sqrt(static_cast<double>(c.num_heads * c.d_kv)));
    } else if (auto* dense = dynamic_cast<FeedForwardImpl*>(module.get())) {
      normal(dense->gate, by_model);
      normal(dense->wi, by_model);
      normal(dense->wo, factor / std::sqrt(static_cast<double>(c.d_ff)));
    } else if (auto* norm = dynamic_cast<RmsNormImpl*>(module.get())) {
      norm->weight.fill_(factor);
    } else if (auto* stack = dynamic_cast<StackImpl*>(module.get())) {
      stack->buckets->weight.normal_(0.0, by_model);
    }
  }
}

// T5Model and T5EncoderModel: the keys stand at the top.
struct BareModel : Model {
  Config cfg;
  bool with_decoder;
  BareModel(const Config& c, bool decoder) : cfg(c), with_decoder(decoder) {
    for (const auto& child : core->named_children()) register_module(child.key(), child.value());
  }
  Core core{cfg, with_decoder};

  Tensors forward(const Tensors& inputs) override {
    return {{"hidden", with_decoder ? core->forward(inputs, decoder_tokens(inputs, cfg.special)) : core->encode(inputs)}};
  }
  void init_weights() override { starting_values(*core, cfg); }
};

struct ConditionalGeneration : Model, IncrementalDecoder {
  Config cfg;
  explicit ConditionalGeneration(const Config& c) : cfg(c) {
    for (const auto& child : core->named_children()) register_module(child.key(), child.value());
    if (cfg.tie_word_embeddings) tied = add("lm_head", TiedLinear(core->shared->weight));
    else head = add("lm_head", Linear(cfg.d_model, cfg.vocab_size, /*with_bias=*/false));
  }
  Core core{cfg, true};
  TiedLinear tied{nullptr};
  Linear head{nullptr};

  Tensors forward(const Tensors& inputs) override {
    return {{"logits", logits(core->forward(inputs, decoder_tokens(inputs, cfg.special)))}};  // [B, T, vocab]
  }
  Tensor logits(const Tensor& hidden) {
    if (!cfg.tie_word_embeddings) return head(hidden);
    return tied(hidden / std::sqrt(static_cast<double>(cfg.d_model)));
  }
  Decoding start(const Tensors& inputs, int64_t beams, int64_t capacity) override { return core->start(inputs, beams, capacity); }
  Tensor decode(const Tensor& tokens, Decoding& state) override { return logits(core->step(tokens, state).select(1, -1)); }
  bool takes_fixed_states() const override { return true; }
  void init_weights() override {
    starting_values(*core, cfg);
    at::NoGradGuard no_grad;
    normal(head, cfg.initializer_factor);
  }
};

struct SequenceClassifier : Model {
  Config cfg;
  explicit SequenceClassifier(const Config& c) : cfg(c) {}
  Core core = add("transformer", Core(cfg, true));
  ClassificationHead head = add("classification_head", ClassificationHead(cfg.d_model, cfg.d_model, cfg.num_labels, cfg.classifier_dropout));

  Tensors forward(const Tensors& inputs) override {
    return {{"logits", head(at_last_eos(core->forward(inputs, decoder_tokens(inputs, cfg.special)), inputs, cfg.special))}};
  }
  void init_weights() override {
    starting_values(*core, cfg);
    at::NoGradGuard no_grad;
    for (const auto& layer : {head->dense, head->out}) normal(layer, cfg.initializer_factor / std::sqrt(static_cast<double>(cfg.d_model)));
  }
};

// What CodeT5's detectors hold as "encoder": the whole generation network. A text's vector is the decoder's state at its </s>,
// when the decoder reads the text itself.
struct CodeReader : Model {
  Config cfg;
  explicit CodeReader(const Config& c) : cfg(c) {
    if (cfg.tie_word_embeddings) tie("encoder.lm_head.weight", core->shared->weight);
    else param("encoder.lm_head.weight", {cfg.vocab_size, cfg.d_model}, /*trained=*/false);  // in the files, not in the graph
  }
  Core core = add("encoder", Core(cfg, true));

  Tensor vector_of(const Tensor& tokens, const Tensor& mask) {  // [B, T] -> [B, D]
    Tensors text = {{"tokens", tokens}};
    if (mask.defined()) text["mask"] = mask;
    return at_last_eos(core->forward(text, shifted_right(tokens, cfg.special)), text, cfg.special);
  }
  void init_reader() {
    starting_values(*core, cfg);
    at::NoGradGuard no_grad;
    if (!cfg.tie_word_embeddings) named_parameters()["encoder.lm_head.weight"].normal_(0.0, cfg.initializer_factor);
  }
};

// Is this code faulty?
struct DefectDetector : CodeReader {
  explicit DefectDetector(const Config& c) : CodeReader(c) {}
  Linear classifier = add("classifier", Linear(cfg.d_model, cfg.num_labels));

  Tensors forward(const Tensors& inputs) override {
    return {{"logits", classifier(vector_of(inputs.at("tokens"), optional_input(inputs, "mask")))}};
  }
  void init_weights() override {
    init_reader();
    classifier->init();
  }
};

// Do these two codes do the same? Each is read alone; their vectors are joined.
struct CloneDetector : CodeReader {
  explicit CloneDetector(const Config& c) : CodeReader(c) {}
  ClassificationHead classifier = add("classifier", ClassificationHead(2 * cfg.d_model, cfg.d_model, cfg.num_labels, /*dropout=*/0.0));

  Tensors forward(const Tensors& inputs) override {
    const Tensor first = vector_of(inputs.at("tokens"), optional_input(inputs, "mask"));
    const Tensor second = vector_of(inputs.at("pair_tokens"), optional_input(inputs, "pair_mask"));
    return {{"logits", classifier(at::cat({first, second}, 1))}};
  }
  void init_weights() override {
    init_reader();
    classifier->dense->init();
    classifier->out->init();
  }
};

struct TokenClassifier : Model {
  Config cfg;
  explicit TokenClassifier(const Config& c) : cfg(c) {}
  Core core = add("transformer", Core(cfg, false));
  Linear classifier = add("classifier", Linear(cfg.d_model, cfg.num_labels));

  Tensors forward(const Tensors& inputs) override {
    return {{"logits", classifier(fast_dropout(core->encode(inputs), cfg.classifier_dropout, is_training()))}};  // [B, T, labels]
  }
  void init_weights() override {
    starting_values(*core, cfg);
    at::NoGradGuard no_grad;
    normal(classifier, cfg.initializer_factor);
  }
};

struct QuestionAnswering : Model {
  Config cfg;
  explicit QuestionAnswering(const Config& c) : cfg(c) {
    for (const auto& child : core->named_children()) register_module(child.key(), child.value());
  }
  Core core{cfg, true};
  Linear out = add("qa_outputs", Linear(cfg.d_model, 2));

  Tensors forward(const Tensors& inputs) override { return answer_span(out, core->forward(inputs, decoder_tokens(inputs, cfg.special))); }
  void init_weights() override {
    starting_values(*core, cfg);
    at::NoGradGuard no_grad;
    normal(out, cfg.initializer_factor / std::sqrt(static_cast<double>(cfg.d_model)));
  }
};

const std::vector<std::string>& architectures() {
  static const std::vector<std::string> names = {"T5ForConditionalGeneration", "T5Model", "T5EncoderModel", "T5ForSequenceClassification",
                                                 "T5ForTokenClassification", "T5ForQuestionAnswering", "DefectModel", "CloneModel"};
  return names;
}

std::string architecture(const Json& json) { return architecture_of("t5", json, "T5ForConditionalGeneration", architectures()); }

std::shared_ptr<Model> build(const Json& json) {
  const auto config = read_config<Config>("t5", json);
  const std::string name = architecture(json);
  if (name == "T5Model") return std::make_shared<BareModel>(config, true);
  if (name == "T5EncoderModel") return std::make_shared<BareModel>(config, false);
  if (name == "T5ForSequenceClassification") return std::make_shared<SequenceClassifier>(config);
  if (name == "T5ForTokenClassification") return std::make_shared<TokenClassifier>(config);
  if (name == "T5ForQuestionAnswering") return std::make_shared<QuestionAnswering>(config);
  if (name == "DefectModel") return std::make_shared<DefectDetector>(config);
  if (name == "CloneModel") return std::make_shared<CloneDetector>(config);
  return std::make_shared<ConditionalGeneration>(config);
}

Entry entry() {
  return {"t5", build, [](const Json& json) -> std::vector<InputSpec> {
            const double vocabulary = double(read_config<Config>("t5", json).vocab_size);
            const std::string name = architecture(json);
            std::vector<InputSpec> specs = {{"tokens", {"B", "T"}, "int64", 0, vocabulary}, {"mask", {"B", "T"}, "bool", 1, 2}};
            if (name == "T5Model" || name == "T5ForConditionalGeneration") specs.push_back({"decoder_tokens", {"B", "U"}, "int64", 0, vocabulary});
            if (name == "CloneModel") {
              specs.push_back({"pair_tokens", {"B", "T"}, "int64", 0, vocabulary});
              specs.push_back({"pair_mask", {"B", "T"}, "bool", 1, 2});
            }
            return specs;
          }};
}

}  // namespace zoo::t5
