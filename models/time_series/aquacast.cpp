// AquaCast: Urban Water Dynamics Forecasting with Precipitation-Informed Multi-Input Transformer (Abdollahinejad et al.,
// 2025, arXiv:2509.09458).
// Two strided convolutions turn the lookback of all variables into tokens; a linear layer turns the forecast of the exogenous
// variable (rain) into one more token, first; a post-norm encoder mixes them and a linear head reads them all at once.
// Reference: github.com/esl-epfl/AquaCast @ 0d5ada9, models/AquaCast.py (torch.nn.TransformerEncoder, ReLU).
// `encoder_layer` is the template that torch copies into transformer_encoder: its tensors are in every checkpoint and are never
// used, so here they do not train. features "MS" keeps the forecast's last column, which the reference does in exp_main_exo.py.
#include "models/blocks/attention.h"
#include "models/blocks/layers.h"
#include "models/blocks/linear.h"
#include "models/config.h"
#include "models/model.h"

#include <cmath>

namespace zoo::aquacast {

struct Config {
  int64_t seq_len = 96, pred_len = 96, enc_in = 7, e_layers = 2, n_heads = 8, d_model = 512, d_ff = 2048;
  int64_t kernel_size = 25, stride = 8;
  int64_t exo = 1, exo_future = 1;  // columns of the input that are not forecast; whether their future is known
  double dropout = 0.05;
  std::string features = "M";

  // The reference's command line stores true and false, its demonstration 1 and 0.
  static void count_or_flag(Fields& f, const std::string& key, int64_t& value) {
    const auto found = f.json().find(key);
    if (found == f.json().end() || !found->is_boolean()) return f.count(key, value);
    bool on = value > 0;
    f.flag(key, on);
    value = on ? 1 : 0;
  }

  void fields(Fields& f) {
    f.size("seq_len", seq_len);
    f.size("pred_len", pred_len);
    f.size("enc_in", enc_in);
    f.depth("e_layers", e_layers);
    f.size("n_heads", n_heads);
    f.size("d_model", d_model);
    f.size("d_ff", d_ff);
    f.size("kernel_size", kernel_size);
    f.size("stride", stride);
    count_or_flag(f, "exo", exo);
    count_or_flag(f, "exo_future", exo_future);
    f.probability("dropout", dropout);
    f.one_of("features", features, {"M", "S", "MS"});
    // The command line's other options, which this network does not read.
    f.ignored({"label_len", "dec_in", "c_out", "d_layers", "factor", "embed", "embed_type", "freq", "activation", "distil", "moving_avg",
               "output_attention", "fc_dropout", "head_dropout", "patch_len", "padding_patch", "revin", "affine", "subtract_last",
               "decomposition", "individual", "target", "task_name", "model", "data"});
    f.require(d_model % 4 == 0 && d_model % n_heads == 0, "d_model " + std::to_string(d_model) + " is not a multiple of 4 and of n_heads " +
                                                              std::to_string(n_heads));
    f.require(exo_future <= 1, "exo_future is " + std::to_string(exo_future) + "; the network reads the future of one variable (0 or 1)");
    f.require(exo < enc_in, "exo " + std::to_string(exo) + " leaves none of the enc_in " + std::to_string(enc_in) + " variables to forecast");
    f.require(conv_length() >= 1, "seq_len " + std::to_string(seq_len) + " leaves no token after two convolutions of kernel_size " +
                                      std::to_string(kernel_size) + " and stride " + std::to_string(stride) + " (lower one of them)");
  }

  int64_t conv_length() const {
    int64_t length = seq_len;
    for (int i = 0; i < 2; ++i) length = length < kernel_size ? 0 : (length - kernel_size) / stride + 1;
    return length;
  }
  int64_t forecast_columns() const { return enc_in - exo; }
};

// 1-D convolution without padding: [B, in, L] -> [B, out, L'].
struct Conv1dImpl : Module {
  int64_t stride;
  Conv1dImpl(int64_t in, int64_t out, int64_t kernel, int64_t step)
      : stride(step), weight(param("weight", {out, in, kernel})), bias(param("bias", {out})) {}
  Tensor weight, bias;

  Tensor forward(const Tensor& x) { return at::conv1d(x, weight, bias, at::IntArrayRef{stride}); }
  void init() override {
    const double bound = 1.0 / std::sqrt(static_cast<double>(weight.size(1) * weight.size(2)));
    at::NoGradGuard no_grad;
    weight.uniform_(-bound, bound);
    bias.uniform_(-bound, bound);
  }
};
ZOO_MODULE(Conv1d);

// torch.nn.MultiheadAttention: one matrix for query, key and value.
struct SelfAttentionImpl : Module {
  Config cfg;
  explicit SelfAttentionImpl(const Config& c) : cfg(c) {}
  Tensor in_proj_weight = param("in_proj_weight", {3 * cfg.d_model, cfg.d_model});
  Tensor in_proj_bias = param("in_proj_bias", {3 * cfg.d_model});
  Linear out_proj = add("out_proj", Linear(cfg.d_model, cfg.d_model));

  Tensor forward(const Tensor& x) {
    const auto parts = linear(x, in_proj_weight, in_proj_bias).chunk(3, -1);
    const Tensor mixed = attention(split_heads(parts[0], cfg.n_heads), split_heads(parts[1], cfg.n_heads),
                                   split_heads(parts[2], cfg.n_heads), {}, is_training() ? cfg.dropout : 0.0);
    return out_proj(merge_heads(mixed));
  }
  void init() override {
    const double bound = std::sqrt(6.0 / static_cast<double>(4 * cfg.d_model));  // Xavier over the fused matrix
    at::NoGradGuard no_grad;
    in_proj_weight.uniform_(-bound, bound);
    in_proj_bias.zero_();
    out_proj->bias.zero_();
  }
};
ZOO_MODULE(SelfAttention);

struct LayerImpl : Module {
  Config cfg;
  explicit LayerImpl(const Config& c) : cfg(c) {}
  SelfAttention self_attn = add("self_attn", SelfAttention(cfg));
  Linear linear1 = add("linear1", Linear(cfg.d_model, cfg.d_ff));
  Linear linear2 = add("linear2", Linear(cfg.d_ff, cfg.d_model));
  LayerNorm norm1 = add("norm1", LayerNorm(cfg.d_model));
  LayerNorm norm2 = add("norm2", LayerNorm(cfg.d_model));

  Tensor drop(const Tensor& x) { return at::dropout(x, cfg.dropout, is_training()); }
  Tensor forward(Tensor x) {  // [B, N, D], post-norm
    x = norm1(x + drop(self_attn(x)));
    return norm2(x + drop(linear2(drop(activated(linear1, x, "relu")))));
  }
};
ZOO_MODULE(Layer);

// The tensors of a Layer and nothing else: no parts that run, train or take an adapter.
struct TemplateImpl : Module {
  explicit TemplateImpl(const Config& c) {
    const auto layer = Layer(c);
    for (const auto& item : layer->named_parameters()) param(item.key(), item.value().sizes(), /*trained=*/false);
  }
};
ZOO_MODULE(Template);

struct AquaCast : Model {
  Config cfg;
  explicit AquaCast(const Config& c) : cfg(c) {
    if (cfg.exo_future) exo_embedder = add("exo_embedder", Linear(cfg.pred_len, cfg.d_model));
  }
  Conv1d embedding1 = add("embedding1", Conv1d(cfg.enc_in, cfg.d_model / 4, cfg.kernel_size, cfg.stride));
  Conv1d embedding2 = add("embedding2", Conv1d(cfg.d_model / 4, cfg.d_model, cfg.kernel_size, cfg.stride));
  Linear exo_embedder{nullptr};
  Template encoder_layer = add("encoder_layer", Template(cfg));
  std::vector<Layer> layers = add_n("transformer_encoder.layers", cfg.e_layers, [this](int64_t) { return Layer(cfg); });
  Linear decoder = add("decoder", Linear(cfg.d_model * (cfg.conv_length() + cfg.exo_future), cfg.pred_len * cfg.forecast_columns()));

  Tensors forward(const Tensors& inputs) override {
    const Tensor& series = inputs.at("series");  // [B, seq_len, enc_in]
    TORCH_CHECK_VALUE(series.dim() == 3 && series.size(1) == cfg.seq_len && series.size(2) == cfg.enc_in, "aquacast: series is ",
                      series.sizes(), "; expected [B, ", cfg.seq_len, ", ", cfg.enc_in, "] (seq_len, enc_in)");
    Tensor x = embedding2(embedding1(series.transpose(1, 2))).transpose(1, 2);  // [B, N, D]
    if (cfg.exo_future) x = at::cat({exo_embedder(future(inputs)), x}, 1);      // [B, 1 + N, D]
    for (auto& layer : layers) x = layer(x);
    x = decoder(mark("transformer_encoder", x).flatten(1));
    x = x.view({x.size(0), cfg.pred_len, cfg.forecast_columns()});
    return {{"forecast", cfg.features == "MS" ? x.slice(2, -1) : x}};  // [B, pred_len, Ct]
  }

  void init_weights() override {
    init_modules();
    at::NoGradGuard no_grad;
    const auto start = layers.front()->named_parameters();  // torch's layers are copies of the template, so all start alike
    const auto copy_to = [&](const torch::nn::Module& other) {
      for (auto& item : other.named_parameters()) item.value().copy_(start[item.key()]);
    };
    for (auto& layer : layers) copy_to(*layer);
    copy_to(*encoder_layer);
  }

 private:
  Tensor future(const Tensors& inputs) const {  // [B, 1, pred_len]
    const auto found = inputs.find("future_exogenous");
    TORCH_CHECK_VALUE(found != inputs.end(), "aquacast: input 'future_exogenous' is missing; expected [B, ", cfg.pred_len,
                      ", 1], the known future of one variable (or set exo_future to 0)");
    TORCH_CHECK_VALUE(found->second.dim() == 3 && found->second.size(1) == cfg.pred_len && found->second.size(2) == 1,
                      "aquacast: future_exogenous is ", found->second.sizes(), "; expected [B, ", cfg.pred_len, ", 1]");
    return found->second.transpose(1, 2);
  }
};

Entry entry() {
  return {"aquacast",
          [](const Json& json) -> std::shared_ptr<Model> { return std::make_shared<AquaCast>(read_config<Config>("aquacast", json)); },
          [](const Json& json) -> std::vector<InputSpec> {
            const auto config = read_config<Config>("aquacast", json);
            std::vector<InputSpec> specs = {{"series", {"B", std::to_string(config.seq_len), std::to_string(config.enc_in)}}};
            if (config.exo_future) specs.push_back({"future_exogenous", {"B", std::to_string(config.pred_len), "1"}});
            return specs;
          }};
}

}  // namespace zoo::aquacast
