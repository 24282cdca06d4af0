// BART: Denoising Sequence-to-Sequence Pre-training (Lewis et al., 2020, arXiv:1910.13461).
// Post-norm encoder and decoder with learned positions, whose table begins at row 2; one embedding serves both and the head.
// Reference: transformers 5.23.0, models/bart/modeling_bart.py: BartModel, BartForConditionalGeneration,
// BartForSequenceClassification, BartForQuestionAnswering.
// Difference: a text without </s> is classified by its last token, which the reference refuses.
#include "models/blocks/attention.h"
#include "models/blocks/dropout.h"
#include "models/blocks/heads.h"
#include "models/blocks/seq2seq.h"
#include "models/config.h"
#include "models/decoding.h"
#include "models/init.h"
#include "models/model.h"

namespace zoo::bart {

constexpr int64_t kFirstPosition = 2;  // rows 0 and 1 of the table belong to no position

struct Config {
  int64_t vocab_size = 50265, max_position_embeddings = 1024, d_model = 1024, num_labels = 3;
  int64_t encoder_layers = 12, encoder_ffn_dim = 4096, encoder_attention_heads = 16;
  int64_t decoder_layers = 12, decoder_ffn_dim = 4096, decoder_attention_heads = 16;
  std::string activation_function = "gelu";
  double dropout = 0.1, attention_dropout = 0.0, activation_dropout = 0.0, classifier_dropout = 0.0, init_std = 0.02;
  double encoder_layerdrop = 0.0, decoder_layerdrop = 0.0;
  bool scale_embedding = false;
  SpecialTokens special{1, 2, 2};

  void fields(Fields& f) {
    f.size("vocab_size", vocab_size);
    f.size("max_position_embeddings", max_position_embeddings);
    f.size("d_model", d_model);
    f.depth("encoder_layers", encoder_layers);
    f.size("encoder_ffn_dim", encoder_ffn_dim);
    f.size("encoder_attention_heads", encoder_attention_heads);
    f.depth("decoder_layers", decoder_layers);
    f.size("decoder_ffn_dim", decoder_ffn_dim);
    f.size("decoder_attention_heads", decoder_attention_heads);
    f.one_of("activation_function", activation_function, activation_names());
    f.probability("dropout", dropout);
    f.probability("attention_dropout", attention_dropout);
    f.probability("activation_dropout", activation_dropout);
    f.optional_probability("classifier_dropout", classifier_dropout);
    f.optional_probability("classif_dropout", classifier_dropout);  // the first releases' spelling
    f.probability("encoder_layerdrop", encoder_layerdrop);
    f.probability("decoder_layerdrop", decoder_layerdrop);
    f.number("init_std", init_std);
    f.flag("scale_embedding", scale_embedding);
    f.labels("num_labels", num_labels);
    f.fixed("tie_word_embeddings", true);
    f.fixed("normalize_before", false);
    f.fixed("add_final_layer_norm", false);
    f.fixed("static_position_embeddings", false);
    f.fixed("normalize_embedding", true);
    f.fixed("add_bias_logits", false);
    f.ignored({"num_hidden_layers", "num_attention_heads", "hidden_size", "extra_pos_embeddings", "force_bos_token_to_be_generated",
               "gradient_checkpointing", "classif_dropout", "save_step"});
    special.read(f);
    f.require(d_model % encoder_attention_heads == 0 && d_model % decoder_attention_heads == 0,
              "d_model " + std::to_string(d_model) + " is not a multiple of encoder_attention_heads " + std::to_string(encoder_attention_heads) +
                  " and of decoder_attention_heads " + std::to_string(decoder_attention_heads));
  }
};

struct AttentionImpl : Module {
  Config cfg;
  int64_t count;
  AttentionImpl(const Config& c, int64_t head_count) : cfg(c), count(head_count) {}
  Linear key = add("k_proj", Linear(cfg.d_model, cfg.d_model));
  Linear value = add("v_proj", Linear(cfg.d_model, cfg.d_model));
  Linear query = add("q_proj", Linear(cfg.d_model, cfg.d_model));
  Linear out = add("out_proj", Linear(cfg.d_model, cfg.d_model));

  Tensor forward(const Tensor& x, const Tensor& memory, const Tensor& mask) {  // [B, T, D] reads [B, S, D]
    return out(merge_heads(attention(heads(query(x)), heads(key(memory)), heads(value(memory)), mask, is_training() ? cfg.attention_dropout : 0.0)));
  }
  // The same, added to x, for the newest tokens [N, T, D]: of what their row has read, and of the source.
  Tensor step(const Tensor& x, Decoding& state, size_t layer) {
    const auto [q, k, v] = projections(query, key, value, x);
    return added(out, merge_heads(cached_attention(heads(q), heads(k), heads(v), state, layer)), x);
  }
  Tensor step_source(const Tensor& x, const Decoding& state, size_t layer) { return added(out, merge_heads(source_attention(heads(query(x)), state, layer)), x); }
  Tensor heads(const Tensor& x) const { return split_heads(x, count); }
};
ZOO_MODULE(Attention);

struct LayerImpl : Module {
  Config cfg;
  bool decoder;
  int64_t heads, inner;
  LayerImpl(const Config& c, bool in_decoder)
      : cfg(c), decoder(in_decoder), heads(in_decoder ? c.decoder_attention_heads : c.encoder_attention_heads),
        inner(in_decoder ? c.decoder_ffn_dim : c.encoder_ffn_dim) {
    if (!decoder) return;
    source = add("encoder_attn", Attention(cfg, heads));
    source_norm = add("encoder_attn_layer_norm", LayerNorm(cfg.d_model));
  }
  Attention self = add("self_attn", Attention(cfg, heads));
  LayerNorm self_norm = add("self_attn_layer_norm", LayerNorm(cfg.d_model));
  Attention source{nullptr};
  LayerNorm source_norm{nullptr};
  Linear fc1 = add("fc1", Linear(cfg.d_model, inner));
  Linear fc2 = add("fc2", Linear(inner, cfg.d_model));
  LayerNorm final_norm = add("final_layer_norm", LayerNorm(cfg.d_model));

  Tensor forward(Tensor x, const Tensor& mask, const Tensor& memory, const Tensor& memory_mask) {  // [B, T, D]
    x = self_norm(x + drop(self(x, x, mask), cfg.dropout));
    if (decoder) x = source_norm(x + drop(source(x, memory, memory_mask), cfg.dropout));
    return feed_forward(x);
  }
  Tensor step(Tensor x, Decoding& state, size_t layer) {
    x = self_norm(self->step(x, state, layer));
    x = source_norm(source->step_source(x, state, layer));
    return final_norm(added(fc2, activated_for_product(fc1, x, cfg.activation_function), x));
  }
  Tensor feed_forward(const Tensor& x) {
    const Tensor y = drop(activated(fc1, x, cfg.activation_function), cfg.activation_dropout);
    return final_norm(x + drop(fc2(y), cfg.dropout));
  }
  Tensor drop(const Tensor& x, double p) const { return fast_dropout(x, p, is_training()); }
};
ZOO_MODULE(Layer);

struct StackImpl : Module {
  Config cfg;
  bool decoder;
  StackImpl(const Config& c, bool is_decoder) : cfg(c), decoder(is_decoder) {}
  Embedding positions = add("embed_positions", Embedding(cfg.max_position_embeddings + kFirstPosition, cfg.d_model));
  std::vector<Layer> layers = add_n("layers", decoder ? cfg.decoder_layers : cfg.encoder_layers, [&](int64_t) { return Layer(cfg, decoder); });
  LayerNorm norm = add("layernorm_embedding", LayerNorm(cfg.d_model));

  Tensor forward(const Tensor& embedded, const Tensor& mask, const Tensor& memory, const Tensor& memory_mask) {  // [B, T, D]
    Tensor x = fast_dropout(placed(embedded), cfg.dropout, is_training());
    Tensor keep = mask;
    if (decoder) keep = at::ones({x.size(1), x.size(1)}, x.options().dtype(at::kBool)).tril();
    for (auto& layer : layers) {
      if (!skipped()) x = layer(x, keep, memory, memory_mask);
    }
    return x;
  }
  Tensor step(const Tensor& embedded, Decoding& state) {  // [N, T, D]
    Tensor x = norm(embedded + state.rows_at(positions->weight, embedded.size(1), kFirstPosition));
    for (size_t i = 0; i < layers.size(); ++i) x = layers[i]->step(x, state, i);
    return x;
  }

 private:
  Tensor placed(const Tensor& embedded) {
    const int64_t length = embedded.size(1);
    TORCH_CHECK_VALUE(length <= cfg.max_position_embeddings, "bart: ", length, " tokens; the network has positions for ", cfg.max_position_embeddings,
                      " (truncate the text)");
    return norm(embedded + positions->weight.slice(0, kFirstPosition, kFirstPosition + length));
  }
  bool skipped() const {  // LayerDrop (Fan et al., 2020, arXiv:1909.11556)
    const double p = decoder ? cfg.decoder_layerdrop : cfg.encoder_layerdrop;
    return is_training() && p > 0.0 && at::rand({}).item<double>() < p;
  }
};
ZOO_MODULE(Stack);

struct CoreImpl : Module {
  Config cfg;
  explicit CoreImpl(const Config& c) : cfg(c) {
    tie("encoder.embed_tokens.weight", shared->weight);
    tie("decoder.embed_tokens.weight", shared->weight);
  }
  Embedding shared = add("shared", Embedding(cfg.vocab_size, cfg.d_model));
  Stack encoder = add("encoder", Stack(cfg, false));
  Stack decoder = add("decoder", Stack(cfg, true));

  Tensor embed(const Tensor& tokens) {
    const Tensor x = at::embedding(shared->weight, tokens, cfg.special.pad);  // padding does not train its row, as in the reference
    return cfg.scale_embedding ? x * std::sqrt(static_cast<double>(cfg.d_model)) : x;
  }
  Tensor encode(const Tensors& inputs) {  // -> [B, S, D]
    return encoder(embed(inputs.at("tokens")), key_mask(optional_input(inputs, "mask")), Tensor(), Tensor());
  }
  Tensor forward(const Tensors& inputs) {  // -> [B, T, D]
    return decoder(embed(decoder_tokens(inputs, cfg.special)), Tensor(), encode(inputs), key_mask(optional_input(inputs, "mask")));
  }

  Decoding start(const Tensors& inputs, int64_t beams, int64_t capacity) {
    Decoding state;
    const Tensor memory = encode(inputs);
    const int64_t heads = cfg.decoder_attention_heads;
    state.allocate(cfg.decoder_layers, memory.size(0) * beams, heads, capacity, cfg.d_model / heads, memory.options());
    state.source_mask = key_mask(optional_input(inputs, "mask"));
    for (size_t i = 0; i < decoder->layers.size(); ++i) {
      auto& source = decoder->layers[i]->source;
      state.layers[i].source_key = source->heads(source->key(memory)).contiguous();
      state.layers[i].source_value = source->heads(source->value(memory)).contiguous();
    }
    return state;
  }
  Tensor step(const Tensor& tokens, Decoding& state) {  // [N, T] -> [N, T, D]
    state.grow(tokens.size(0), tokens.size(1));
    return decoder->step(embed(tokens), state);
  }
};
ZOO_MODULE(Core);

struct BareModel : Model {
  Config cfg;
  explicit BareModel(const Config& c) : cfg(c) {
    for (const auto& child : core->named_children()) register_module(child.key(), child.value());
  }
  Core core{cfg};

  Tensors forward(const Tensors& inputs) override { return {{"hidden", core->forward(inputs)}}; }
  void init_weights() override { init_transformers(*this, cfg.init_std); }
};

struct ConditionalGeneration : Model, IncrementalDecoder {
  Config cfg;
  explicit ConditionalGeneration(const Config& c) : cfg(c) {}
  Core core = add("model", Core(cfg));
  TiedLinear head = add("lm_head", TiedLinear(core->shared->weight));
  Tensor bias = buffer("final_logits_bias", at::zeros({1, cfg.vocab_size}));

  Tensors forward(const Tensors& inputs) override { return {{"logits", logits(core->forward(inputs))}}; }  // [B, T, vocab]
  Tensor logits(const Tensor& hidden) { return head(hidden) + bias; }

  Decoding start(const Tensors& inputs, int64_t beams, int64_t capacity) override { return core->start(inputs, beams, capacity); }
  Tensor decode(const Tensor& tokens, Decoding& state) override { return logits(core->step(tokens, state).select(1, -1)); }
  bool takes_fixed_states() const override { return true; }
  int64_t longest() const override { return cfg.max_position_embeddings; }
  void init_weights() override {
    init_transformers(*this, cfg.init_std);
    at::NoGradGuard no_grad;
    bias.zero_();
  }
};

struct SequenceClassifier : Model {
  Config cfg;
  explicit SequenceClassifier(const Config& c) : cfg(c) {}
  Core core = add("model", Core(cfg));
  ClassificationHead head = add("classification_head", ClassificationHead(cfg.d_model, cfg.d_model, cfg.num_labels, cfg.classifier_dropout));

  Tensors forward(const Tensors& inputs) override { return {{"logits", head(at_last_eos(core->forward(inputs), inputs, cfg.special))}}; }
  void init_weights() override { init_transformers(*this, cfg.init_std); }
};

struct QuestionAnswering : Model {
  Config cfg;
  explicit QuestionAnswering(const Config& c) : cfg(c) {}
  Core core = add("model", Core(cfg));
  Linear out = add("qa_outputs", Linear(cfg.d_model, 2));

  Tensors forward(const Tensors& inputs) override { return answer_span(out, core->forward(inputs)); }
  void init_weights() override { init_transformers(*this, cfg.init_std); }
};

std::string architecture(const Json& json) {
  return architecture_of("bart", json, "BartForConditionalGeneration",
                         {"BartForConditionalGeneration", "BartModel", "BartForSequenceClassification", "BartForQuestionAnswering"});
}

std::shared_ptr<Model> build(const Json& json) {
  const auto config = read_config<Config>("bart", json);
  const std::string name = architecture(json);
  if (name == "BartModel") return std::make_shared<BareModel>(config);
  if (name == "BartForSequenceClassification") return std::make_shared<SequenceClassifier>(config);
  if (name == "BartForQuestionAnswering") return std::make_shared<QuestionAnswering>(config);
  return std::make_shared<ConditionalGeneration>(config);
}

Entry entry() {
  return {"bart", build, [](const Json& json) -> std::vector<InputSpec> {
            const double vocabulary = double(read_config<Config>("bart", json).vocab_size);
            const std::string name = architecture(json);
            std::vector<InputSpec> specs = {{"tokens", {"B", "T"}, "int64", 0, vocabulary}, {"mask", {"B", "T"}, "bool", 1, 2}};
            if (name == "BartModel" || name == "BartForConditionalGeneration") specs.push_back({"decoder_tokens", {"B", "U"}, "int64", 0, vocabulary});
            return specs;
          }};
}

}  // namespace zoo::bart
