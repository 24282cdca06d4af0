// Swin: Hierarchical Vision Transformer using Shifted Windows (Liu, Lin, Cao, Hu, Wei, Zhang, Lin, Guo, 2021, arXiv:2103.14030).
// Attention within windows of a grid of patches; every other block shifts the windows by half, so that neighbours meet. Between
// stages four patches become one of twice the width.
// Reference: transformers 5.23.0, models/swin/modeling_swin.py: SwinModel, SwinForImageClassification. Names are the published
// checkpoints' (microsoft/swin-tiny-patch4-window7-224), which that version renames on loading; its own load by the card's layout.
// As there stochastic depth drops attention alone (the paper's drops both branches), and norms of patches and of merging have eps 1e-5.
// Differences: square windows and patches only; no mask token (masked image modelling); a grid smaller than a window is refused.
#include "models/blocks/attention.h"
#include "models/blocks/dropout.h"
#include "models/blocks/layers.h"
#include "models/blocks/linear.h"
#include "models/blocks/positions.h"
#include "models/config.h"
#include "models/init.h"
#include "models/model.h"

namespace zoo::swin {

struct Config {
  int64_t image_size = 224, patch_size = 4, num_channels = 3, embed_dim = 96, window_size = 7, num_labels = 2;
  std::vector<int64_t> depths = {2, 2, 6, 2}, num_heads = {3, 6, 12, 24};
  double mlp_ratio = 4.0, hidden_dropout_prob = 0.0, attention_probs_dropout_prob = 0.0, drop_path_rate = 0.1;
  double initializer_range = 0.02, layer_norm_eps = 1e-5;
  std::string hidden_act = "gelu";
  bool qkv_bias = true, use_absolute_embeddings = false;

  void fields(Fields& f) {
    f.square("image_size", image_size);
    f.square("patch_size", patch_size);
    f.size("num_channels", num_channels);
    f.size("embed_dim", embed_dim);
    f.sizes("depths", depths);
    f.sizes("num_heads", num_heads);
    f.size("window_size", window_size);
    f.number("mlp_ratio", mlp_ratio);
    f.flag("qkv_bias", qkv_bias);
    f.probability("hidden_dropout_prob", hidden_dropout_prob);
    f.probability("attention_probs_dropout_prob", attention_probs_dropout_prob);
    f.probability("drop_path_rate", drop_path_rate);
    f.one_of("hidden_act", hidden_act, activation_names());
    f.flag("use_absolute_embeddings", use_absolute_embeddings);
    f.number("initializer_range", initializer_range);
    f.epsilon("layer_norm_eps", layer_norm_eps);
    f.labels("num_labels", num_labels);
    // Sizes that follow from the others, masked image modelling, the reference's backbone, and a norm that is always there.
    f.ignored({"num_layers", "hidden_size", "encoder_stride", "out_features", "out_indices", "stage_names", "path_norm"});
    check(f);
  }
  void check(const Fields& f) const {
    const auto text = [](int64_t value) { return std::to_string(value); };
    f.require(depths.size() == num_heads.size() && depths.size() <= 8,
              "depths names " + text(depths.size()) + " stages, num_heads " + text(num_heads.size()) + "; expected as many, at most 8");
    f.require(mlp_ratio * double(embed_dim) >= 1.0 && mlp_ratio <= 1024.0, "mlp_ratio must lie between 1/embed_dim and 1024");
    for (size_t i = 0; i < depths.size(); ++i) {
      f.require(depths[i] <= 1024, "depths holds " + text(depths[i]) + "; expected at most 1024");
      f.require(width(i) % num_heads[i] == 0, "stage " + text(i + 1) + " is " + text(width(i)) + " wide, no multiple of its " + text(num_heads[i]) + " heads");
    }
    f.require(image_size >= patch_size, "image_size " + text(image_size) + " is less than patch_size " + text(patch_size));
  }
  int64_t width(size_t stage) const { return embed_dim << stage; }
  int64_t patches() const { return (image_size / patch_size) * (image_size / patch_size); }
};

// How the cells of a grid lie in windows; blocks with the same shift share it.
struct Windows {
  int64_t size = 0, count = 0;  // cells of a side; windows in the padded grid
  int64_t height = 0, width = 0, padded_height = 0, padded_width = 0;
  Tensor order;     // [count * size^2] which cell of the padded grid, rows one after the other, lies at each place of each window
  Tensor back;      // [height * width] the place of each cell of the grid
  Tensor relative;  // [size^2 * size^2] row of the bias table for each pair of places in a window
  Tensor mask;      // [count, 1, size^2, size^2] of a shifted grid: -100 between cells that its wrapping around made neighbours
};

// [H, W] per cell -> [count, size^2] per window.
Tensor in_windows(const Tensor& grid, int64_t size) {
  const int64_t high = grid.size(0) / size, wide = grid.size(1) / size;
  return grid.view({high, size, wide, size}).transpose(1, 2).reshape({high * wide, size * size});
}

// Row of the bias table (section 3.2): offsets of -(size - 1) to size - 1 along both axes, rows first.
Tensor relative_positions(int64_t size, const at::TensorOptions& ids) {
  const Tensor cell = at::arange(size * size, ids), y = cell.floor_divide(size), x = cell.remainder(size);
  const auto apart = [&](const Tensor& at) { return at.unsqueeze(1) - at.unsqueeze(0) + (size - 1); };
  return (apart(y) * (2 * size - 1) + apart(x)).flatten();
}

// Lines of one axis by the part of the picture they come from after the shift: 0, or 1 and 2 in the last windows.
Tensor regions(int64_t length, int64_t size, int64_t shift, const at::TensorOptions& ids) {
  const Tensor line = at::arange(length, ids);
  return line.ge(length - size).to(at::kLong) + line.ge(length - shift).to(at::kLong);
}

Windows make_windows(int64_t height, int64_t width, int64_t size, int64_t shift, const at::Device& device) {
  const auto ids = at::TensorOptions(at::kLong).device(device);
  Windows w;
  w.size = size, w.height = height, w.width = width;
  w.padded_height = (height + size - 1) / size * size, w.padded_width = (width + size - 1) / size * size;
  w.count = w.padded_height / size * (w.padded_width / size);
  const Tensor rows = (at::arange(w.padded_height, ids) + shift).remainder(w.padded_height);
  const Tensor columns = (at::arange(w.padded_width, ids) + shift).remainder(w.padded_width);
  w.order = in_windows(rows.unsqueeze(1) * w.padded_width + columns, size).flatten();
  w.back = w.order.argsort().view({w.padded_height, w.padded_width}).slice(0, 0, height).slice(1, 0, width).flatten();
  w.relative = relative_positions(size, ids);
  if (shift == 0) return w;
  const Tensor region = in_windows(regions(w.padded_height, size, shift, ids).unsqueeze(1) * 3 + regions(w.padded_width, size, shift, ids), size);
  const Tensor apart = region.unsqueeze(1).ne(region.unsqueeze(2)).unsqueeze(1);  // [count, 1, size^2, size^2]
  w.mask = apart.to(at::kFloat) * -100.0;
  return w;
}

struct EmbeddingsImpl : Module {
  Config cfg;
  explicit EmbeddingsImpl(const Config& c) : cfg(c) {
    if (cfg.use_absolute_embeddings) position_embeddings = param("position_embeddings", {1, cfg.patches(), cfg.embed_dim});
  }
  Conv2d projection = add("patch_embeddings.projection", Conv2d(cfg.num_channels, cfg.embed_dim, cfg.patch_size, cfg.patch_size));
  LayerNorm norm = add("norm", LayerNorm(cfg.embed_dim));
  Tensor position_embeddings;

  Tensor forward(const Tensor& image) {  // [B, C, H, W]
    const auto missing = [&](int64_t axis) { return (cfg.patch_size - image.size(axis) % cfg.patch_size) % cfg.patch_size; };
    const Tensor whole = missing(2) + missing(3) == 0 ? image : at::constant_pad_nd(image, {0, missing(3), 0, missing(2)});
    Tensor x = norm(mark("patch_embeddings", projection(whole).flatten(2).transpose(1, 2)));  // [B, N, D]
    if (position_embeddings.defined()) {
      TORCH_CHECK_VALUE(x.size(1) == cfg.patches(), "swin: image is ", image.sizes().slice(1), "; with use_absolute_embeddings expected ",
                        cfg.image_size, " pixels a side (resize, or set image_size)");
      x = x + position_embeddings;
    }
    return fast_dropout(x, cfg.hidden_dropout_prob, is_training());
  }
};
ZOO_MODULE(Embeddings);

struct AttentionImpl : Module {
  Config cfg;
  int64_t width, heads;
  AttentionImpl(const Config& c, size_t stage) : cfg(c), width(c.width(stage)), heads(c.num_heads[stage]) {}
  Linear query = add("self.query", Linear(width, width, cfg.qkv_bias));
  Linear key = add("self.key", Linear(width, width, cfg.qkv_bias));
  Linear value = add("self.value", Linear(width, width, cfg.qkv_bias));
  Tensor bias_table = param("self.relative_position_bias_table", {(2 * cfg.window_size - 1) * (2 * cfg.window_size - 1), heads});
  Linear output = add("output.dense", Linear(width, width));

  Tensor forward(const Tensor& x, const Windows& windows) {  // [B * windows, size^2, width]
    const auto [q, k, v] = projections(query, key, value, x, /*for_attention=*/true);
    const Tensor mixed = attention(split_heads(q, heads), split_heads(k, heads), split_heads(v, heads), bias(x, windows),
                                   is_training() ? cfg.attention_probs_dropout_prob : 0.0);
    return output(merge_heads(mixed));
  }

  // Added to the scores: [1 or B * windows, heads, size^2, size^2].
  Tensor bias(const Tensor& x, const Windows& windows) {
    const int64_t cells = windows.size * windows.size;
    const Tensor relative = bias_table.index_select(0, windows.relative).view({1, cells, cells, heads}).permute({0, 3, 1, 2}).contiguous();
    if (!windows.mask.defined()) return relative;
    const Tensor each = relative + windows.mask.to(relative.scalar_type());  // [windows, heads, size^2, size^2]
    const int64_t batch = x.size(0) / windows.count;
    return batch == 1 ? each : each.repeat({batch, 1, 1, 1});
  }
};
ZOO_MODULE(Attention);

struct BlockImpl : Module {
  Config cfg;
  size_t stage;
  int64_t width;
  double drop;
  BlockImpl(const Config& c, size_t number, double drop_path_rate) : cfg(c), stage(number), width(c.width(number)), drop(drop_path_rate) {}
  LayerNorm norm_before = add("layernorm_before", LayerNorm(width, cfg.layer_norm_eps));
  Attention attend = add("attention", Attention(cfg, stage));
  LayerNorm norm_after = add("layernorm_after", LayerNorm(width, cfg.layer_norm_eps));
  Linear intermediate = add("intermediate.dense", Linear(width, int64_t(cfg.mlp_ratio * double(width))));
  Linear output = add("output.dense", Linear(int64_t(cfg.mlp_ratio * double(width)), width));

  Tensor forward(Tensor x, const Windows& windows) {  // [B, H W, width]
    const auto dropped = [&](const Tensor& y) { return fast_dropout(y, cfg.hidden_dropout_prob, is_training()); };
    const Tensor mixed = attend(normed_in_windows(x, windows), windows).view({x.size(0), -1, width});  // [B, windows size^2, width]
    if (is_training()) x = x + drop_path(dropped(mixed.index_select(1, windows.back)), drop, true);
    else x = added_rows(x, mixed, windows.back);
    const Tensor inner = activated_for_product(intermediate, normed_for_product(norm_after, x, *intermediate), cfg.hidden_act);
    return is_training() ? x + dropped(output(inner)) : added(output, inner, x);
  }

  // Norm, shift and windows in one pass, but where the grid must be padded behind the norm: [B windows, size^2, width].
  Tensor normed_in_windows(const Tensor& x, const Windows& w) {
    const int64_t batch = x.size(0);
    const std::vector<int64_t> shape = {batch * w.count, w.size * w.size, width};
    if (w.padded_height == w.height && w.padded_width == w.width) return normed_for_product(norm_before, x, *attend->query, w.order).view(shape);
    const Tensor grid = normed_for_product(norm_before, x, *attend->query).view({batch, w.height, w.width, width});
    return at::constant_pad_nd(grid, {0, 0, 0, w.padded_width - w.width, 0, w.padded_height - w.height}).flatten(1, 2).index_select(1, w.order).view(shape);
  }
};
ZOO_MODULE(Block);

// Four neighbours become one patch: [B, H W, D] -> [B, H/2 W/2, 2 D], sides rounded up.
struct PatchMergingImpl : Module {
  explicit PatchMergingImpl(int64_t width)
      : reduction(add("reduction", Linear(4 * width, 2 * width, /*with_bias=*/false))), norm(add("norm", LayerNorm(4 * width))) {}
  Linear reduction;
  LayerNorm norm;

  Tensor forward(const Tensor& x, int64_t height, int64_t width) {
    Tensor grid = x.view({x.size(0), height, width, x.size(2)});
    if (height % 2 || width % 2) grid = at::constant_pad_nd(grid, {0, 0, 0, width % 2, 0, height % 2});
    grid = grid.view({x.size(0), grid.size(1) / 2, 2, grid.size(2) / 2, 2, x.size(2)}).permute({0, 1, 3, 4, 2, 5});  // columns before rows
    return reduction(normed_for_product(norm, grid.reshape({x.size(0), -1, 4 * x.size(2)}), *reduction));
  }
};
ZOO_MODULE(PatchMerging);

struct StageImpl : Module {
  Config cfg;
  size_t stage;
  std::vector<Block> blocks;
  PatchMerging downsample{nullptr};
  StageImpl(const Config& c, size_t number) : cfg(c), stage(number) {
    int64_t before = 0, all = 0;
    for (size_t i = 0; i < c.depths.size(); ++i) {
      if (i < stage) before += c.depths[i];
      all += c.depths[i];
    }
    for (int64_t i = 0; i < c.depths[stage]; ++i) {
      const double drop = c.drop_path_rate * double(before + i) / double(std::max<int64_t>(all - 1, 1));
      blocks.push_back(add("blocks." + std::to_string(i), Block(c, stage, drop)));
    }
    if (stage + 1 < c.depths.size()) downsample = add("downsample", PatchMerging(c.width(stage)));
  }

  Tensor forward(Tensor x, int64_t height, int64_t width) {  // [B, H W, D] -> [B, H/2 W/2, 2 D], but for the last stage
    const int64_t size = cfg.window_size, smaller = std::min(height, width);
    TORCH_CHECK_VALUE(smaller >= size, "swin: stage ", stage + 1, " has ", height, " x ", width, " cells, less than a window of ", size,
                      " x ", size, " (use larger images)");
    const Windows straight = make_windows(height, width, size, 0, x.device());
    // Where one window spans a side there is nothing to shift.
    const Windows shifted = smaller > size && blocks.size() > 1 ? make_windows(height, width, size, size / 2, x.device()) : straight;
    for (size_t i = 0; i < blocks.size(); ++i) x = blocks[i](x, i % 2 == 0 ? straight : shifted);
    return downsample ? downsample(x, height, width) : x;
  }
};
ZOO_MODULE(Stage);

struct SwinImpl : Module {
  Config cfg;
  explicit SwinImpl(const Config& c) : cfg(c) {}
  Embeddings embeddings = add("embeddings", Embeddings(cfg));
  std::vector<Stage> stages = add_n("encoder.layers", int64_t(cfg.depths.size()), [&](int64_t i) { return Stage(cfg, size_t(i)); });
  LayerNorm norm = add("layernorm", LayerNorm(cfg.width(cfg.depths.size() - 1), cfg.layer_norm_eps));

  Tensor forward(const Tensor& image) {  // -> [B, N, D]
    TORCH_CHECK_VALUE(image.size(1) == cfg.num_channels, "swin: image is ", image.sizes().slice(1), "; expected ", cfg.num_channels,
                      " channels (set num_channels)");
    Tensor x = embeddings(image);
    int64_t height = (image.size(2) + cfg.patch_size - 1) / cfg.patch_size, width = (image.size(3) + cfg.patch_size - 1) / cfg.patch_size;
    for (auto& stage : stages) {
      x = stage(x, height, width);
      height = (height + 1) / 2, width = (width + 1) / 2;
    }
    return norm(x);
  }
  Tensor pool(const Tensor& hidden) { return hidden.mean(1); }  // [B, D]

  void start_values() {
    init_transformers(*this, cfg.initializer_range);
    const at::NoGradGuard no_grad;
    for (auto& stage : stages) {
      for (auto& block : stage->blocks) block->attend->bias_table.zero_();
    }
    if (cfg.use_absolute_embeddings) embeddings->position_embeddings.zero_();
  }
};
ZOO_MODULE(Swin);

// Tables of another image or window size, resized as the authors do it (github.com/microsoft/Swin-Transformer, utils.py).
Tensor adapt_tables(const std::string& key, const Tensor& from_file, at::IntArrayRef wanted) {
  if (key.ends_with("embeddings.position_embeddings") && from_file.dim() == 3 && from_file.size(2) == wanted[2]) {
    return resize_position_table(from_file, wanted[1], 0, Resize::bicubic);
  }
  if (key.ends_with("relative_position_bias_table") && from_file.dim() == 2 && from_file.size(1) == wanted[1]) {
    const Tensor resized = resize_position_table(from_file.unsqueeze(0), wanted[0], 0, Resize::bicubic);
    return resized.defined() ? resized.squeeze(0) : resized;
  }
  return {};
}

struct EncoderModel : Model {
  Config cfg;
  explicit EncoderModel(const Config& c) : cfg(c) {
    for (const auto& child : swin->named_children()) register_module(child.key(), child.value());
  }
  Swin swin{cfg};

  Tensors forward(const Tensors& inputs) override {
    const Tensor hidden = swin->forward(inputs.at("image"));
    return {{"hidden", hidden}, {"embedding", swin->pool(hidden)}};
  }
  void init_weights() override { swin->start_values(); }
  Tensor adapt(const std::string& key, const Tensor& from_file, at::IntArrayRef wanted) override { return adapt_tables(key, from_file, wanted); }
};

struct ImageClassifier : Model {
  Config cfg;
  explicit ImageClassifier(const Config& c) : cfg(c) {}
  Swin swin = add("swin", Swin(cfg));
  Linear classifier = add("classifier", Linear(cfg.width(cfg.depths.size() - 1), cfg.num_labels));

  Tensors forward(const Tensors& inputs) override { return {{"logits", classifier(swin->pool(swin(inputs.at("image"))))}}; }  // [B, labels]
  void init_weights() override {
    init_transformers(*this, cfg.initializer_range);
    swin->start_values();
  }
  Tensor adapt(const std::string& key, const Tensor& from_file, at::IntArrayRef wanted) override { return adapt_tables(key, from_file, wanted); }
};

Entry entry() {
  return {"swin",
          [](const Json& json) -> std::shared_ptr<Model> {
            const auto config = read_config<Config>("swin", json);
            const auto architecture = architecture_of("swin", json, "SwinForImageClassification", {"SwinForImageClassification", "SwinModel"});
            if (architecture == "SwinModel") return std::make_shared<EncoderModel>(config);
            return std::make_shared<ImageClassifier>(config);
          },
          [](const Json& json) -> std::vector<InputSpec> {
            const auto config = read_config<Config>("swin", json);
            return {{"image", {"B", std::to_string(config.num_channels), "image_size", "image_size"}}};  // the usual size, not the only one
          }};
}

}  // namespace zoo::swin
