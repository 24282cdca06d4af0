// GPT-2: Language Models are Unsupervised Multitask Learners (Radford et al., 2019, OpenAI).
// Pre-norm decoder over all tokens before: learned positions, one embedding for tokens and head.
// Reference: transformers 5.23.0, models/gpt2/modeling_gpt2.py: GPT2Model, GPT2LMHeadModel,
// GPT2ForSequenceClassification, GPT2ForTokenClassification, GPT2ForQuestionAnswering.
// Differences: no cross-attention; token_types are not read. "reorder_and_upcast_attn" changes nothing in float32 and is ignored.
#include "models/blocks/attention.h"
#include "models/blocks/dropout.h"
#include "models/blocks/heads.h"
#include "models/blocks/seq2seq.h"
#include "models/blocks/transposed_linear.h"
#include "models/config.h"
#include "models/decoding.h"
#include "models/init.h"
#include "models/model.h"

namespace zoo::gpt2 {

struct Config {
  int64_t vocab_size = 50257, n_positions = 1024, n_embd = 768, n_layer = 12, n_head = 12, n_inner = 3072, num_labels = 2;
  std::string activation_function = "gelu_new";
  double resid_pdrop = 0.1, embd_pdrop = 0.1, attn_pdrop = 0.1, layer_norm_epsilon = 1e-5, initializer_range = 0.02;
  double classifier_dropout = 0.1;
  SpecialTokens special{-1, 50256, -1};
  bool scale_attn_weights = true, scale_attn_by_inverse_layer_idx = false;

  double branch_range() const { return initializer_range / std::sqrt(2.0 * static_cast<double>(n_layer)); }  // of what ends a residual branch
  double attention_scale(int64_t layer) const {
    const double scale = scale_attn_weights ? 1.0 / std::sqrt(static_cast<double>(n_embd / n_head)) : 1.0;
    return scale_attn_by_inverse_layer_idx ? scale / static_cast<double>(layer + 1) : scale;
  }

  void fields(Fields& f) {
    f.size("vocab_size", vocab_size);
    f.size("n_positions", n_positions);
    f.size("n_embd", n_embd);
    f.depth("n_layer", n_layer);
    f.size("n_head", n_head);
    n_inner = 4 * n_embd;
    f.optional_size("n_inner", n_inner);
    f.one_of("activation_function", activation_function, activation_names());
    f.probability("resid_pdrop", resid_pdrop);
    f.probability("embd_pdrop", embd_pdrop);
    f.probability("attn_pdrop", attn_pdrop);
    f.epsilon("layer_norm_epsilon", layer_norm_epsilon);
    f.number("initializer_range", initializer_range);
    f.flag("scale_attn_weights", scale_attn_weights);
    f.flag("scale_attn_by_inverse_layer_idx", scale_attn_by_inverse_layer_idx);
    f.labels("num_labels", num_labels);
    f.optional_probability("hidden_dropout", classifier_dropout);  // read where classifier_dropout is absent
    f.optional_probability("classifier_dropout", classifier_dropout);
    special.read(f);
    f.fixed("add_cross_attention", false);
    f.fixed("tie_word_embeddings", true);
    f.ignored({"n_ctx", "reorder_and_upcast_attn", "summary_type", "summary_use_proj", "summary_activation", "summary_proj_to_labels",
               "summary_first_dropout"});
    f.require(n_embd % n_head == 0, "n_embd " + std::to_string(n_embd) + " is not a multiple of n_head " + std::to_string(n_head));
  }
};

struct AttentionImpl : Module {
  Config cfg;
  double scale;
  AttentionImpl(const Config& c, int64_t layer) : cfg(c), scale(c.attention_scale(layer)) {}
  TransposedLinear qkv = add("c_attn", TransposedLinear(cfg.n_embd, 3 * cfg.n_embd, cfg.initializer_range));
  TransposedLinear out = add("c_proj", TransposedLinear(cfg.n_embd, cfg.n_embd, cfg.branch_range()));

  Tensor forward(const Tensor& x, const Tensor& mask) {  // [B, T, D]
    const auto parts = qkv(x).chunk(3, -1);
    const Tensor y = attention(heads(parts[0]), heads(parts[1]), heads(parts[2]), mask, is_training() ? cfg.attn_pdrop : 0.0, scale);
    return fast_dropout(out(merge_heads(y)), cfg.resid_pdrop, is_training());
  }
  Tensor step(const Tensor& rest, const Tensor& x, Decoding& state, size_t layer) {  // to what the row has read, added to `rest`: [N, T, D]
    const auto parts = qkv(x).chunk(3, -1);
    return added(out, merge_heads(cached_attention(heads(parts[0]), heads(parts[1]), heads(parts[2]), state, layer, {}, scale)), rest);
  }
  Tensor heads(const Tensor& x) const { return split_heads(x, cfg.n_head); }
};
ZOO_MODULE(Attention);

struct MlpImpl : Module {
  Config cfg;
  explicit MlpImpl(const Config& c) : cfg(c) {}
  TransposedLinear in = add("c_fc", TransposedLinear(cfg.n_embd, cfg.n_inner, cfg.initializer_range));
  TransposedLinear out = add("c_proj", TransposedLinear(cfg.n_inner, cfg.n_embd, cfg.branch_range()));

  Tensor forward(const Tensor& x) {
    return fast_dropout(out(activated(in, x, cfg.activation_function)), cfg.resid_pdrop, is_training());
  }
};
ZOO_MODULE(Mlp);

struct BlockImpl : Module {
  Config cfg;
  int64_t index;
  BlockImpl(const Config& c, int64_t layer) : cfg(c), index(layer) {}
  LayerNorm norm1 = add("ln_1", LayerNorm(cfg.n_embd, cfg.layer_norm_epsilon));
  Attention attn = add("attn", Attention(cfg, index));
  LayerNorm norm2 = add("ln_2", LayerNorm(cfg.n_embd, cfg.layer_norm_epsilon));
  Mlp mlp = add("mlp", Mlp(cfg));

  Tensor forward(Tensor x, const Tensor& mask) {  // [B, T, D]
    x = x + attn(norm1(x), mask);
    return x + mlp(norm2(x));
  }
  Tensor step(Tensor x, Decoding& state) {
    x = attn->step(x, norm1(x), state, static_cast<size_t>(index));
    return added(mlp->out, activated_for_product(mlp->in, norm2(x), cfg.activation_function), x);
  }
};
ZOO_MODULE(Block);

struct CoreImpl : Module {
  Config cfg;
  explicit CoreImpl(const Config& c) : cfg(c) {}
  Embedding words = add("wte", Embedding(cfg.vocab_size, cfg.n_embd));
  Embedding positions = add("wpe", Embedding(cfg.n_positions, cfg.n_embd));
  std::vector<Block> blocks = add_n("h", cfg.n_layer, [&](int64_t i) { return Block(cfg, i); });
  LayerNorm norm = add("ln_f", LayerNorm(cfg.n_embd, cfg.layer_norm_epsilon));

  Tensor forward(const Tensors& inputs) {  // -> [B, T, D]
    const auto& tokens = inputs.at("tokens");
    const int64_t length = tokens.size(1);
    TORCH_CHECK_VALUE(length <= cfg.n_positions, "gpt2: ", length, " tokens; the network has positions for ", cfg.n_positions, " (truncate the text)");
    Tensor keep = at::ones({length, length}, tokens.options().dtype(at::kBool)).tril();
    if (const Tensor mask = key_mask(optional_input(inputs, "mask")); mask.defined()) keep = keep.logical_and(mask);
    const bool training = words->is_training();  // the bare model registers the parts of this module, not itself
    Tensor x = fast_dropout(words(tokens) + positions->weight.slice(0, 0, length), cfg.embd_pdrop, training);
    for (auto& block : blocks) x = block(x, keep);
    return norm(x);
  }

  // Prompts are padded on the left, so that all end together.
  Decoding start(const Tensors& inputs, int64_t beams, int64_t capacity) {
    const auto& tokens = inputs.at("tokens");
    Decoding state;
    state.allocate(cfg.n_layer, tokens.size(0) * beams, cfg.n_head, capacity, cfg.n_embd / cfg.n_head, words->weight.options());
    if (const Tensor mask = key_mask(optional_input(inputs, "mask")); mask.defined()) {
      state.token_mask = at::ones({tokens.size(0), capacity}, mask.options());
      state.token_mask.slice(1, 0, tokens.size(1)).copy_(mask.view(tokens.sizes()));
    }
    return state;
  }
  Tensor step(const Tensor& tokens, Decoding& state) {  // [N, T] -> [N, T, D]
    state.grow(tokens.size(0), tokens.size(1));
    Tensor x = words(tokens) + state.rows_at(positions->weight, tokens.size(1));
    for (auto& block : blocks) x = block->step(x, state);
    return norm(x);
  }
};
ZOO_MODULE(Core);

// What all models share: the config, and how a fresh one starts.
struct Starting : Model {
  Config cfg;
  explicit Starting(const Config& c) : cfg(c) {}
  void init_weights() override {
    init_modules();
    init_transformers(*this, cfg.initializer_range);
  }
};

struct BareModel : Starting {
  explicit BareModel(const Config& c) : Starting(c) {
    for (const auto& child : core->named_children()) register_module(child.key(), child.value());
  }
  Core core{cfg};

  Tensors forward(const Tensors& inputs) override { return {{"hidden", core->forward(inputs)}}; }
};

struct LanguageModel : Starting, IncrementalDecoder {
  explicit LanguageModel(const Config& c) : Starting(c) {}
  Core core = add("transformer", Core(cfg));
  TiedLinear head = add("lm_head", TiedLinear(core->words->weight));

  Tensors forward(const Tensors& inputs) override { return {{"logits", head(core(inputs))}}; }  // [B, T, vocab]

  Decoding start(const Tensors& inputs, int64_t beams, int64_t capacity) override { return core->start(inputs, beams, capacity); }
  Tensor decode(const Tensor& tokens, Decoding& state) override { return head(core->step(tokens, state).select(1, -1)); }
  bool takes_fixed_states() const override { return true; }
  int64_t longest() const override { return cfg.n_positions; }
  bool has_encoder() const override { return false; }
};

struct SequenceClassifier : Starting {
  explicit SequenceClassifier(const Config& c) : Starting(c) {}
  Core core = add("transformer", Core(cfg));
  Linear score = add("score", Linear(cfg.n_embd, cfg.num_labels, /*with_bias=*/false));

  Tensors forward(const Tensors& inputs) override {  // of the last token that is kept and no padding
    const Tensor& tokens = inputs.at("tokens");
    const Tensor mask = optional_input(inputs, "mask");
    Tensor kept = tokens.ne(cfg.special.pad);
    if (mask.defined()) kept = kept.logical_and(mask);
    const Tensor last = at::where(kept, at::arange(tokens.size(1), tokens.options()), 0).amax(1).view({-1, 1, 1});
    const Tensor hidden = core(inputs);
    return {{"logits", score(hidden.gather(1, last.expand({-1, 1, hidden.size(2)})).squeeze(1))}};
  }
};

struct TokenClassifier : Starting {
  explicit TokenClassifier(const Config& c) : Starting(c) {}
  Core core = add("transformer", Core(cfg));
  Linear classifier = add("classifier", Linear(cfg.n_embd, cfg.num_labels));

  Tensors forward(const Tensors& inputs) override {
    return {{"logits", classifier(fast_dropout(core(inputs), cfg.classifier_dropout, is_training()))}};  // [B, T, labels]
  }
};

struct QuestionAnswering : Starting {
  explicit QuestionAnswering(const Config& c) : Starting(c) {}
  Core core = add("transformer", Core(cfg));
  Linear out = add("qa_outputs", Linear(cfg.n_embd, 2));

  Tensors forward(const Tensors& inputs) override { return answer_span(out, core(inputs)); }
};

std::shared_ptr<Model> build(const Json& json) {
  const auto config = read_config<Config>("gpt2", json);
  const auto architecture = architecture_of("gpt2", json, "GPT2LMHeadModel", {"GPT2LMHeadModel", "GPT2Model", "GPT2ForSequenceClassification",
                                            "GPT2ForTokenClassification", "GPT2ForQuestionAnswering"});
  if (architecture == "GPT2Model") return std::make_shared<BareModel>(config);
  if (architecture == "GPT2ForSequenceClassification") return std::make_shared<SequenceClassifier>(config);
  if (architecture == "GPT2ForTokenClassification") return std::make_shared<TokenClassifier>(config);
  if (architecture == "GPT2ForQuestionAnswering") return std::make_shared<QuestionAnswering>(config);
  return std::make_shared<LanguageModel>(config);
}

Entry entry() {
  return {"gpt2", build, [](const Json& json) -> std::vector<InputSpec> {
            return {{"tokens", {"B", "T"}, "int64", 0, double(read_config<Config>("gpt2", json).vocab_size)}, {"mask", {"B", "T"}, "bool", 1, 2}};
          }};
}

}  // namespace zoo::gpt2
