// Compact Transformers: Escaping the Big Data Paradigm (Hassani et al., 2021, arXiv:2104.05704).
// ViT-Lite (patches, class token), CVT (patches, sequence pooling) and CCT (convolutions, sequence pooling).
// Reference: github.com/SHI-Labs/Compact-Transformers @ cd11f09, src/{cct,cvt,vit}.py, src/utils/*.py.
// Differences: the reference's *_sine factories train a learnable table all the same; here "sine" is sine, as in its classes.
// The text variant (src/text) is not included.
#include "models/blocks/attention.h"
#include "models/blocks/layers.h"
#include "models/blocks/linear.h"
#include "models/blocks/positions.h"
#include "models/config.h"
#include "models/init.h"
#include "models/model.h"

namespace zoo::cct {

const std::vector<std::string> kArchitectures = {"CCT", "CVT", "ViTLite"};

struct Config {
  std::string architecture = "CCT";
  int64_t img_size = 224, embedding_dim = 768, n_input_channels = 3, n_conv_layers = 1, kernel_size = 7, stride = 0, padding = 0;
  int64_t pooling_kernel_size = 3, pooling_stride = 2, pooling_padding = 1, num_layers = 14, num_heads = 6, num_classes = 1000;
  double dropout = 0.0, attention_dropout = 0.1, stochastic_depth = 0.1, mlp_ratio = 4.0;
  std::string positional_embedding = "learnable";

  bool convolutional() const { return architecture == "CCT"; }
  bool class_token() const { return architecture == "ViTLite"; }

  void fields(Fields& f) {
    architecture = architecture_of("cct", f.json(), architecture, kArchitectures);
    f.size("img_size", img_size);
    f.size("embedding_dim", embedding_dim);
    f.size("n_input_channels", n_input_channels);
    if (!convolutional()) kernel_size = 16;  // each class has its own default
    f.size("kernel_size", kernel_size);
    if (convolutional()) {
      f.depth("n_conv_layers", n_conv_layers);
      stride = std::max<int64_t>(1, kernel_size / 2 - 1);  // the factories' rule when neither is given
      padding = std::max<int64_t>(1, kernel_size / 2);
      f.size("stride", stride);
      f.count("padding", padding);
      f.size("pooling_kernel_size", pooling_kernel_size);
      f.size("pooling_stride", pooling_stride);
      f.count("pooling_padding", pooling_padding);
    }
    f.probability("dropout", dropout);
    f.probability("attention_dropout", attention_dropout);
    f.probability("stochastic_depth", stochastic_depth);
    f.depth("num_layers", num_layers);
    f.size("num_heads", num_heads);
    f.number("mlp_ratio", mlp_ratio);
    f.labels("num_classes", num_classes);
    f.one_of("positional_embedding", positional_embedding, {"learnable", "sine", "none"});
    f.require(embedding_dim % num_heads == 0, "embedding_dim " + std::to_string(embedding_dim) +
                                                  " is not a multiple of num_heads " + std::to_string(num_heads));
    f.require(mlp_ratio * double(embedding_dim) >= 1.0 && mlp_ratio <= 1024.0, "mlp_ratio must lie between 1/embedding_dim and 1024");
    f.require(convolutional() || img_size % kernel_size == 0, "img_size " + std::to_string(img_size) +
                                                                  " is not a multiple of kernel_size " + std::to_string(kernel_size));
    f.require(pooling_padding * 2 <= pooling_kernel_size, "pooling_padding is more than half of pooling_kernel_size");
    f.require(grid() >= 1, "the tokenizer leaves no cell of a " + std::to_string(img_size) + " pixel image");
  }

  // Side of the token grid after the tokenizer.
  int64_t grid() const {
    if (!convolutional()) return img_size / kernel_size;
    int64_t side = img_size;
    for (int64_t i = 0; i < n_conv_layers && side > 0; ++i) {
      side = (side + 2 * padding - kernel_size) / stride + 1;
      if (side + 2 * pooling_padding < pooling_kernel_size) return 0;
      side = (side + 2 * pooling_padding - pooling_kernel_size) / pooling_stride + 1;
    }
    return side;
  }
};

struct TokenizerImpl : Module {
  Config cfg;
  explicit TokenizerImpl(const Config& c) : cfg(c) {}
  // Convolutions inside a stack have 64 channels and none of CCT's has a bias; the patch tokenizers are one convolution.
  std::vector<Conv2d> convs = [this] {
    std::vector<Conv2d> made;
    const int64_t count = cfg.convolutional() ? cfg.n_conv_layers : 1;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t in = i == 0 ? cfg.n_input_channels : 64, out = i + 1 == count ? cfg.embedding_dim : 64;
      made.push_back(add("conv_layers." + std::to_string(i) + ".0",
                         cfg.convolutional() ? Conv2d(in, out, cfg.kernel_size, cfg.stride, cfg.padding, /*with_bias=*/false)
                                             : Conv2d(in, out, cfg.kernel_size, cfg.kernel_size)));
    }
    return made;
  }();

  Tensor forward(Tensor x) {  // [B, C, H, W]
    for (size_t i = 0; i < convs.size(); ++i) {
      x = convs[i](x);
      if (cfg.convolutional()) {
        // The reference applies ReLU first; the maximum commutes with it, and this way ReLU sees a quarter of the values.
        x = at::relu(at::max_pool2d(x, {cfg.pooling_kernel_size, cfg.pooling_kernel_size}, {cfg.pooling_stride, cfg.pooling_stride},
                                    {cfg.pooling_padding, cfg.pooling_padding}));
      }
      mark("conv_layers." + std::to_string(i), x);
    }
    return mark("conv_layers", x).flatten(2, 3).transpose(1, 2);  // [B, N, D]
  }
};
ZOO_MODULE(Tokenizer);

struct AttentionImpl : Module {
  Config cfg;
  explicit AttentionImpl(const Config& c) : cfg(c) {}
  Linear qkv = add("qkv", Linear(cfg.embedding_dim, 3 * cfg.embedding_dim, /*with_bias=*/false));
  Linear proj = add("proj", Linear(cfg.embedding_dim, cfg.embedding_dim));

  Tensor forward(const Tensor& x) {
    const auto parts = qkv(x).chunk(3, -1);
    const Tensor mixed = attention(split_heads(parts[0], cfg.num_heads), split_heads(parts[1], cfg.num_heads),
                                   split_heads(parts[2], cfg.num_heads), {}, is_training() ? cfg.attention_dropout : 0.0);
    return at::dropout(proj(merge_heads(mixed)), cfg.dropout, is_training());
  }
};
ZOO_MODULE(Attention);

struct BlockImpl : Module {
  Config cfg;
  double drop;
  BlockImpl(const Config& c, double drop_path_rate) : cfg(c), drop(drop_path_rate) {}
  LayerNorm pre_norm = add("pre_norm", LayerNorm(cfg.embedding_dim));
  Attention attend = add("self_attn", Attention(cfg));
  Linear linear1 = add("linear1", Linear(cfg.embedding_dim, int64_t(double(cfg.embedding_dim) * cfg.mlp_ratio)));
  LayerNorm norm1 = add("norm1", LayerNorm(cfg.embedding_dim));
  Linear linear2 = add("linear2", Linear(int64_t(double(cfg.embedding_dim) * cfg.mlp_ratio), cfg.embedding_dim));

  Tensor forward(Tensor x) {  // [B, N, D]
    x = x + drop_path(attend(pre_norm(x)), drop, is_training());
    x = norm1(x);  // replaces the stream: the reference's second residual starts from the normed value
    const Tensor inner = at::dropout(activated(linear1, x, "gelu"), cfg.dropout, is_training());
    return x + drop_path(at::dropout(linear2(inner), cfg.dropout, is_training()), drop, is_training());
  }
};
ZOO_MODULE(Block);

struct ClassifierImpl : Module {
  Config cfg;
  int64_t length;  // tokens, the class token included
  explicit ClassifierImpl(const Config& c) : cfg(c), length(c.grid() * c.grid() + (c.class_token() ? 1 : 0)) {
    if (cfg.class_token()) class_emb = param("class_emb", {1, 1, cfg.embedding_dim});
    else attention_pool = add("attention_pool", Linear(cfg.embedding_dim, 1));
    if (cfg.positional_embedding != "none") {
      positional_emb = param("positional_emb", {1, length, cfg.embedding_dim}, cfg.positional_embedding == "learnable");
    }
    for (int64_t i = 0; i < cfg.num_layers; ++i) {
      const double drop = cfg.num_layers == 1 ? 0.0 : cfg.stochastic_depth * double(i) / double(cfg.num_layers - 1);
      blocks.push_back(add("blocks." + std::to_string(i), Block(cfg, drop)));
    }
    norm = add("norm", LayerNorm(cfg.embedding_dim));
    fc = add("fc", Linear(cfg.embedding_dim, cfg.num_classes));
  }
  Tensor class_emb, positional_emb;
  Linear attention_pool{nullptr};
  std::vector<Block> blocks;
  LayerNorm norm{nullptr};
  Linear fc{nullptr};

  Tensor forward(Tensor x) {  // [B, N, D]
    if (cfg.class_token()) x = at::cat({class_emb.expand({x.size(0), -1, -1}), x}, 1);
    if (positional_emb.defined()) x = x + positional_emb;
    x = at::dropout(x, cfg.dropout, is_training());
    for (auto& block : blocks) x = block(x);
    x = norm(x);
    if (cfg.class_token()) return fc(x.select(1, 0));
    const Tensor weights = at::softmax(attention_pool(x), 1).transpose(1, 2);  // [B, 1, N]: sequence pooling, equation 5
    return fc(at::matmul(weights, x).squeeze(1));                              // [B, classes]
  }
};
ZOO_MODULE(Classifier);

struct CompactTransformer : Model {
  Config cfg;
  explicit CompactTransformer(const Config& c) : cfg(c) {}
  Tokenizer tokenizer = add("tokenizer", Tokenizer(cfg));
  Classifier classifier = add("classifier", Classifier(cfg));

  Tensors forward(const Tensors& inputs) override {
    const Tensor& image = inputs.at("image");
    TORCH_CHECK_VALUE(image.size(1) == cfg.n_input_channels && image.size(2) == cfg.img_size && image.size(3) == cfg.img_size,
                      "cct: image is ", image.sizes().slice(1), "; expected [", cfg.n_input_channels, ", ", cfg.img_size, ", ",
                      cfg.img_size, "] (resize, or set img_size)");
    return {{"logits", classifier(tokenizer(image))}};
  }

  void init_weights() override {
    init_modules();
    for (auto& conv : tokenizer->convs) kaiming_normal(conv->weight);
    for (const auto& module : classifier->modules()) {
      if (auto* linear = dynamic_cast<LinearImpl*>(module.get())) {
        trunc_normal(linear->weight, 0.02);
        if (linear->bias.defined()) linear->bias.detach().zero_();
      }
    }
    if (cfg.class_token()) classifier->class_emb.detach().zero_();
    if (cfg.positional_embedding == "learnable") trunc_normal(classifier->positional_emb, 0.2);
    if (cfg.positional_embedding == "sine") {
      classifier->positional_emb.copy_(sine_position_table(classifier->length, cfg.embedding_dim));
    }
  }

  Tensor adapt(const std::string& key, const Tensor& from_file, at::IntArrayRef wanted) override {
    if (key != "classifier.positional_emb" || from_file.dim() != 3 || from_file.size(2) != wanted[2]) return {};
    return resize_position_table(from_file, wanted[1], cfg.class_token() ? 1 : 0, Resize::bilinear);
  }
};

Entry entry() {
  return {"cct",
          [](const Json& json) -> std::shared_ptr<Model> {
            return std::make_shared<CompactTransformer>(read_config<Config>("cct", json));
          },
          [](const Json& json) -> std::vector<InputSpec> {
            const auto config = read_config<Config>("cct", json);
            const auto side = std::to_string(config.img_size);
            return {{"image", {"B", std::to_string(config.n_input_channels), side, side}}};
          }};
}

}  // namespace zoo::cct
