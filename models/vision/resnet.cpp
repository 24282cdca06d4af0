// ResNet: Deep Residual Learning for Image Recognition (He, Zhang, Ren, Sun, 2015, arXiv:1512.03385).
// Convolutions learn what to add to their input; four stages of them, each at half the resolution of the one before.
// Reference: transformers 5.23.0, models/resnet/modeling_resnet.py: ResNetModel, ResNetForImageClassification. Names are the published
// checkpoints' (microsoft/resnet-50). As there a bottleneck's 3x3 convolution has the stride ("v1.5"; the paper's 1x1 does with
// downsample_in_bottleneck), and hidden_act follows the stem and the sums; between a layer's convolutions stands ReLU whatever it says.
// Differences: pictures of any size; channels lie last in memory, for which convolutions are faster.
#include <cmath>

#include "models/blocks/conv_norm.h"
#include "models/blocks/linear.h"
#include "models/config.h"
#include "models/model.h"

namespace zoo::resnet {

struct Config {
  int64_t num_channels = 3, embedding_size = 64, num_labels = 2;
  std::vector<int64_t> hidden_sizes = {256, 512, 1024, 2048}, depths = {3, 4, 6, 3};
  std::string layer_type = "bottleneck", hidden_act = "relu";
  bool downsample_in_first_stage = false, downsample_in_bottleneck = false;

  void fields(Fields& f) {
    f.size("num_channels", num_channels);
    f.size("embedding_size", embedding_size);
    f.sizes("hidden_sizes", hidden_sizes);
    f.sizes("depths", depths);
    f.one_of("layer_type", layer_type, {"basic", "bottleneck"});
    f.one_of("hidden_act", hidden_act, activation_names());
    f.flag("downsample_in_first_stage", downsample_in_first_stage);
    f.flag("downsample_in_bottleneck", downsample_in_bottleneck);
    f.labels("num_labels", num_labels);
    f.ignored({"out_features", "out_indices", "stage_names"});  // of the reference's backbone
    f.require(hidden_sizes.size() == depths.size(), "hidden_sizes names " + std::to_string(hidden_sizes.size()) + " stages, depths " +
                                                        std::to_string(depths.size()));
    for (const int64_t width : hidden_sizes) {
      f.require(layer_type == "basic" || width >= kReduction, "hidden_sizes holds " + std::to_string(width) + "; bottlenecks need at least " +
                                                                  std::to_string(kReduction));
    }
    for (const int64_t depth : depths) f.require(depth <= 1024, "depths holds " + std::to_string(depth) + "; expected at most 1024");
  }
  static constexpr int64_t kReduction = 4;  // how much narrower than the residual stream the middle of a bottleneck is
};

struct EmbedderImpl : Module {
  Config cfg;
  explicit EmbedderImpl(const Config& c) : cfg(c) {}
  ConvNorm embedder = add("embedder", ConvNorm(cfg.num_channels, cfg.embedding_size, 7, 2, cfg.hidden_act));

  Tensor forward(const Tensor& image) {                      // [B, C, H, W]
    const Tensor x = embedder(image.contiguous(at::MemoryFormat::ChannelsLast));  // [B, D, H / 2, W / 2]
    return at::max_pool2d(x, {3, 3}, {2, 2}, {1, 1});        // [B, D, H / 4, W / 4]
  }
};
ZOO_MODULE(Embedder);

struct LayerImpl : Module {
  LayerImpl(const Config& c, int64_t in, int64_t out, int64_t stride) {
    if (in != out || stride != 1) shortcut = add("shortcut", ConvNorm(in, out, 1, stride, ""));
    const auto conv = [&](int64_t from, int64_t to, int64_t kernel, int64_t step, const std::string& act) {
      convs.push_back(add("layer." + std::to_string(convs.size()), ConvNorm(from, to, kernel, step, act)));
    };
    if (c.layer_type == "basic") {
      conv(in, out, 3, stride, "relu");
      conv(out, out, 3, 1, c.hidden_act);
      return;
    }
    const int64_t narrow = out / Config::kReduction;
    conv(in, narrow, 1, c.downsample_in_bottleneck ? stride : 1, "relu");
    conv(narrow, narrow, 3, c.downsample_in_bottleneck ? 1 : stride, "relu");
    conv(narrow, out, 1, 1, c.hidden_act);
  }
  ConvNorm shortcut{nullptr};
  std::vector<ConvNorm> convs;

  Tensor forward(const Tensor& x) {  // [B, in, H, W] -> [B, out, H / stride, W / stride]
    Tensor y = x;
    for (size_t i = 0; i + 1 < convs.size(); ++i) y = convs[i](y);
    return convs.back()(y, shortcut ? shortcut(x) : x);  // its activation follows the sum
  }
};
ZOO_MODULE(Layer);

struct ResNetImpl : Module {
  Config cfg;
  explicit ResNetImpl(const Config& c) : cfg(c) {}
  Embedder embedder = add("embedder", Embedder(cfg));
  std::vector<Layer> layers = [this] {
    std::vector<Layer> made;
    int64_t width = cfg.embedding_size;
    for (size_t stage = 0; stage < cfg.depths.size(); ++stage) {
      for (int64_t i = 0; i < cfg.depths[stage]; ++i) {
        const bool halves = i == 0 && (stage > 0 || cfg.downsample_in_first_stage);
        made.push_back(add("encoder.stages." + std::to_string(stage) + ".layers." + std::to_string(i),
                           Layer(cfg, width, cfg.hidden_sizes[stage], halves ? 2 : 1)));
        width = cfg.hidden_sizes[stage];
      }
    }
    return made;
  }();

  Tensor forward(const Tensor& image) {  // -> [B, D, H / 32, W / 32]
    TORCH_CHECK_VALUE(image.size(1) == cfg.num_channels, "resnet: image is ", image.sizes().slice(1), "; expected ", cfg.num_channels,
                      " channels (set num_channels)");
    Tensor x = embedder(image);
    for (auto& layer : layers) x = layer(x);
    return mark("encoder", x.to(image.scalar_type()));  // packed layers may hand on bfloat16
  }
  Tensor pool(const Tensor& hidden) { return hidden.mean(at::IntArrayRef{2, 3}); }  // [B, D]

  // Convolutions: normal with variance 2 / fan_out, as the reference; the rest are PyTorch's values.
  void start_values() {
    const at::NoGradGuard no_grad;
    for (const auto& module : modules(/*include_self=*/false)) {
      if (auto* layer = dynamic_cast<Module*>(module.get())) layer->init();
      if (auto* conv = dynamic_cast<Conv2dImpl*>(module.get())) {
        const auto fan_out = static_cast<double>(conv->weight.numel() / conv->weight.size(1));
        conv->weight.normal_(0.0, std::sqrt(2.0 / fan_out));
      }
    }
  }
};
ZOO_MODULE(ResNet);

struct EncoderModel : Model {
  Config cfg;
  explicit EncoderModel(const Config& c) : cfg(c) {
    for (const auto& child : resnet->named_children()) register_module(child.key(), child.value());
  }
  ResNet resnet{cfg};

  Tensors forward(const Tensors& inputs) override {
    const Tensor hidden = resnet->forward(inputs.at("image"));
    return {{"hidden", hidden.flatten(2).transpose(1, 2)}, {"embedding", resnet->pool(hidden)}};  // [B, N, D], [B, D]
  }
  void init_weights() override { resnet->start_values(); }
};

struct ImageClassifier : Model {
  Config cfg;
  explicit ImageClassifier(const Config& c) : cfg(c) {}
  ResNet resnet = add("resnet", ResNet(cfg));
  Linear classifier = add("classifier.1", Linear(cfg.hidden_sizes.back(), cfg.num_labels));  // the reference's 0 is a flattening

  Tensors forward(const Tensors& inputs) override {
    return {{"logits", classifier(resnet->pool(resnet(inputs.at("image"))))}};  // [B, labels]
  }
  void init_weights() override {
    resnet->start_values();
    classifier->init();
  }
};

Entry entry() {
  return {"resnet",
          [](const Json& json) -> std::shared_ptr<Model> {
            const auto config = read_config<Config>("resnet", json);
            const auto architecture = architecture_of("resnet", json, "ResNetForImageClassification", {"ResNetForImageClassification", "ResNetModel"});
            if (architecture == "ResNetModel") return std::make_shared<EncoderModel>(config);
            return std::make_shared<ImageClassifier>(config);
          },
          [](const Json& json) -> std::vector<InputSpec> {
            const auto config = read_config<Config>("resnet", json);
            return {{"image", {"B", std::to_string(config.num_channels), "H", "W"}}};
          }};
}

}  // namespace zoo::resnet
