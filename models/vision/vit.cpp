// ViT: An Image is Worth 16x16 Words (Dosovitskiy et al., 2021, arXiv:2010.11929).
// Patches and a class token through pre-norm encoder layers; the class token's final state is classified.
// Reference: transformers 5.23.0, models/vit/modeling_vit.py: ViTModel, ViTForImageClassification. Names are the published
// checkpoints' (google/vit-base-patch16-224), which that version renames on loading; its own names load by the card's layout.
// Differences: square images and patches only; no mask token (masked image modelling).
#include "models/blocks/attention.h"
#include "models/blocks/layers.h"
#include "models/blocks/linear.h"
#include "models/blocks/positions.h"
#include "models/config.h"
#include "models/init.h"
#include "models/model.h"

namespace zoo::vit {

struct Config {
  int64_t hidden_size = 768, num_hidden_layers = 12, num_attention_heads = 12, intermediate_size = 3072;
  int64_t image_size = 224, patch_size = 16, num_channels = 3, num_labels = 2;
  std::string hidden_act = "gelu", pooler_act = "tanh";
  double hidden_dropout_prob = 0.0, attention_probs_dropout_prob = 0.0, initializer_range = 0.02, layer_norm_eps = 1e-12;
  int64_t pooler_output_size = 0;
  bool qkv_bias = true;

  void fields(Fields& f) {
    f.size("hidden_size", hidden_size);
    f.depth("num_hidden_layers", num_hidden_layers);
    f.size("num_attention_heads", num_attention_heads);
    f.size("intermediate_size", intermediate_size);
    f.square("image_size", image_size);
    f.square("patch_size", patch_size);
    f.size("num_channels", num_channels);
    f.one_of("hidden_act", hidden_act, activation_names());
    f.one_of("pooler_act", pooler_act, activation_names());
    f.probability("hidden_dropout_prob", hidden_dropout_prob);
    f.probability("attention_probs_dropout_prob", attention_probs_dropout_prob);
    f.number("initializer_range", initializer_range);
    f.epsilon("layer_norm_eps", layer_norm_eps);
    pooler_output_size = hidden_size;
    f.optional_size("pooler_output_size", pooler_output_size);
    f.flag("qkv_bias", qkv_bias);
    f.labels("num_labels", num_labels);
    f.ignored({"encoder_stride"});  // masked image modelling only
    f.require(hidden_size % num_attention_heads == 0, "hidden_size " + std::to_string(hidden_size) +
                                                          " is not a multiple of num_attention_heads " +
                                                          std::to_string(num_attention_heads));
    f.require(image_size % patch_size == 0, "image_size " + std::to_string(image_size) + " is not a multiple of patch_size " +
                                                std::to_string(patch_size));
  }
  int64_t patches() const { return (image_size / patch_size) * (image_size / patch_size); }
};

struct EmbeddingsImpl : Module {
  Config cfg;
  explicit EmbeddingsImpl(const Config& c) : cfg(c) {}
  Tensor cls_token = param("cls_token", {1, 1, cfg.hidden_size});
  Tensor position_embeddings = param("position_embeddings", {1, cfg.patches() + 1, cfg.hidden_size});
  Conv2d projection = add("patch_embeddings.projection", Conv2d(cfg.num_channels, cfg.hidden_size, cfg.patch_size, cfg.patch_size));

  Tensor forward(const Tensor& image) {  // [B, C, H, W]
    const Tensor patches = mark("patch_embeddings", projection(image).flatten(2).transpose(1, 2));  // [B, N, D]
    const Tensor x = with_class_token(cls_token, patches, position_embeddings);
    return at::dropout(x, cfg.hidden_dropout_prob, is_training());  // [B, 1 + N, D]
  }
};
ZOO_MODULE(Embeddings);

struct AttentionImpl : Module {
  Config cfg;
  explicit AttentionImpl(const Config& c) : cfg(c) {}
  Linear query = add("attention.query", Linear(cfg.hidden_size, cfg.hidden_size, cfg.qkv_bias));
  Linear key = add("attention.key", Linear(cfg.hidden_size, cfg.hidden_size, cfg.qkv_bias));
  Linear value = add("attention.value", Linear(cfg.hidden_size, cfg.hidden_size, cfg.qkv_bias));
  Linear output = add("output.dense", Linear(cfg.hidden_size, cfg.hidden_size));

  Tensor mixed(const Tensor& x) {  // what output() projects
    const int64_t heads = cfg.num_attention_heads;
    const auto [q, k, v] = projections(query, key, value, x, /*for_attention=*/true);
    return merge_heads(zoo::attention(split_heads(q, heads), split_heads(k, heads), split_heads(v, heads), {},
                                      is_training() ? cfg.attention_probs_dropout_prob : 0.0));
  }
  Tensor forward(const Tensor& x) { return mark("output", output(mark("attention", mixed(x)))); }
};
ZOO_MODULE(Attention);

struct LayerImpl : Module {
  Config cfg;
  explicit LayerImpl(const Config& c) : cfg(c) {}
  LayerNorm norm_before = add("layernorm_before", LayerNorm(cfg.hidden_size, cfg.layer_norm_eps));
  Attention attend = add("attention", Attention(cfg));
  LayerNorm norm_after = add("layernorm_after", LayerNorm(cfg.hidden_size, cfg.layer_norm_eps));
  Linear intermediate = add("intermediate.dense", Linear(cfg.hidden_size, cfg.intermediate_size));
  Linear output = add("output.dense", Linear(cfg.intermediate_size, cfg.hidden_size));

  Tensor forward(Tensor x) {  // [B, 1 + N, D]
    Tensor normed;
    if (is_training() || Trace::active()) {
      std::tie(x, normed) = with_norm(norm_before, x);
      std::tie(x, normed) = with_norm(norm_after, x, at::dropout(attend(normed), cfg.hidden_dropout_prob, is_training()));
    } else {  // the same in fewer passes
      normed = normed_for_product(norm_before, x, *attend->query);
      normed = added_and_normed(attend->output, norm_after, attend->mixed(normed), x, &x, intermediate.get());
    }
    const Tensor inner = mark("intermediate", activated_for_product(intermediate, normed, cfg.hidden_act));
    if (!is_training()) return mark("output", added(output, inner, x));
    return mark("output", x + at::dropout(output(inner), cfg.hidden_dropout_prob, true));
  }
};
ZOO_MODULE(Layer);

struct VitImpl : Module {
  Config cfg;
  VitImpl(const Config& c, bool with_pooler) : cfg(c) {
    if (with_pooler) pooler = add("pooler.dense", Linear(cfg.hidden_size, cfg.pooler_output_size));
  }
  Embeddings embeddings = add("embeddings", Embeddings(cfg));
  std::vector<Layer> layers = add_n("encoder.layer", cfg.num_hidden_layers, [&](int64_t) { return Layer(cfg); });
  LayerNorm norm = add("layernorm", LayerNorm(cfg.hidden_size, cfg.layer_norm_eps));
  Linear pooler{nullptr};

  Tensor forward(const Tensor& image) {  // -> [B, 1 + N, D]
    TORCH_CHECK_VALUE(image.size(1) == cfg.num_channels && image.size(2) == cfg.image_size && image.size(3) == cfg.image_size,
                      "vit: image is ", image.sizes().slice(1), "; expected [", cfg.num_channels, ", ", cfg.image_size, ", ",
                      cfg.image_size, "] (resize, or set image_size)");
    Tensor x = embeddings(image);
    for (auto& layer : layers) x = layer(x);
    return norm(mark("encoder", x));
  }
  Tensor pool(const Tensor& hidden) { return mark("pooler", activation(cfg.pooler_act)(pooler(hidden.select(1, 0)))); }

  void start_values() {
    init_transformers(*this, cfg.initializer_range);
    trunc_normal(embeddings->position_embeddings, cfg.initializer_range);
    trunc_normal(embeddings->cls_token, cfg.initializer_range);
  }
};
ZOO_MODULE(Vit);

// The position table of another image size, as the reference's interpolate_pos_encoding.
Tensor adapt_positions(const std::string& key, const Tensor& from_file, at::IntArrayRef wanted) {
  const std::string table = "embeddings.position_embeddings";
  if (key.size() < table.size() || key.substr(key.size() - table.size()) != table) return {};
  if (from_file.dim() != 3 || from_file.size(2) != wanted[2]) return {};
  return resize_position_table(from_file, wanted[1], 1, Resize::bicubic);
}

struct EncoderModel : Model {
  Config cfg;
  explicit EncoderModel(const Config& c) : cfg(c) {
    for (const auto& child : vit->named_children()) register_module(child.key(), child.value());
  }
  Vit vit{cfg, true};

  Tensors forward(const Tensors& inputs) override {
    const Tensor hidden = vit->forward(inputs.at("image"));
    return {{"hidden", hidden}, {"pooled", vit->pool(hidden)}};
  }
  void init_weights() override { vit->start_values(); }
  Tensor adapt(const std::string& key, const Tensor& from_file, at::IntArrayRef wanted) override {
    return adapt_positions(key, from_file, wanted);
  }
};

struct ImageClassifier : Model {
  Config cfg;
  explicit ImageClassifier(const Config& c) : cfg(c) {}
  Vit vit = add("vit", Vit(cfg, false));
  Linear classifier = add("classifier", Linear(cfg.hidden_size, cfg.num_labels));

  Tensors forward(const Tensors& inputs) override {
    return {{"logits", classifier(vit(inputs.at("image")).select(1, 0))}};  // [B, labels]
  }
  void init_weights() override {
    init_transformers(*this, cfg.initializer_range);
    vit->start_values();
  }
  Tensor adapt(const std::string& key, const Tensor& from_file, at::IntArrayRef wanted) override {
    return adapt_positions(key, from_file, wanted);
  }
};

Entry entry() {
  return {"vit",
          [](const Json& json) -> std::shared_ptr<Model> {
            const auto config = read_config<Config>("vit", json);
            const auto architecture = architecture_of("vit", json, "ViTForImageClassification", {"ViTForImageClassification", "ViTModel"});
            if (architecture == "ViTModel") return std::make_shared<EncoderModel>(config);
            return std::make_shared<ImageClassifier>(config);
          },
          [](const Json& json) -> std::vector<InputSpec> {
            const auto config = read_config<Config>("vit", json);
            const auto side = std::to_string(config.image_size);
            return {{"image", {"B", std::to_string(config.num_channels), side, side}}};
          }};
}

}  // namespace zoo::vit
