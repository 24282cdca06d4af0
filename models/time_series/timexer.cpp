// TimeXer: Empowering Transformers for Time Series Forecasting with Exogenous Variables (Wang et al., 2024, arXiv:2402.19072).
// Each forecast series is cut into patches, with one global token behind them; the patches attend to each other, the global
// token alone attends to the exogenous series, which are one token each. A linear head reads a series' tokens at once.
// Reference: github.com/thuml/TimeXer @ 7601190, models/TimeXer.py.
// features "M": every series is forecast and is exogenous to the others; "MS", "S": the last series is forecast from the rest
// and the calendar. The steps that do not fill a patch are dropped, as in the reference: the first ones of the window stay.
#include "models/blocks/dropout.h"
#include "models/blocks/layers.h"
#include "models/blocks/linear.h"
#include "models/blocks/series.h"
#include "models/config.h"
#include "models/model.h"

namespace zoo::timexer {

constexpr int64_t kPositions = 5000;  // rows of the reference's position table, which its checkpoints hold

struct Config {
  int64_t seq_len = 96, pred_len = 96, enc_in = 7, d_model = 512, n_heads = 8, e_layers = 2, d_ff = 2048, patch_len = 16;
  double dropout = 0.1;
  std::string activation = "gelu", features = "M";
  bool use_norm = true;

  int64_t patches() const { return seq_len / patch_len; }
  bool multivariate() const { return features == "M"; }
  int64_t variables() const { return features == "MS" ? 1 : enc_in; }  // that are forecast

  void fields(Fields& f) {
    f.size("seq_len", seq_len);
    f.size("pred_len", pred_len);
    f.size("enc_in", enc_in);
    f.size("d_model", d_model);
    f.size("n_heads", n_heads);
    f.depth("e_layers", e_layers);
    f.size("d_ff", d_ff);
    f.size("patch_len", patch_len);
    f.probability("dropout", dropout);
    f.one_of("activation", activation, {"gelu", "relu"});
    f.one_of("features", features, {"M", "S", "MS"});
    read_switch(f, "use_norm", use_norm);
    ignore_run_options(f);
    const auto text = [](int64_t value) { return std::to_string(value); };
    f.require(d_model % n_heads == 0 && d_model % 2 == 0, "d_model " + text(d_model) + " is not a multiple of 2 and of n_heads " + text(n_heads));
    f.require(patches() >= 1 && patches() <= kPositions, "seq_len " + text(seq_len) + " holds " + text(patches()) + " patches of patch_len " +
                                                             text(patch_len) + "; expected 1 to " + text(kPositions));
    f.require(features != "S" || enc_in == 1, "features \"S\" forecasts a single series, but enc_in is " + text(enc_in) + " (set it to 1, or use \"MS\")");
  }
};

struct PatchEmbeddingImpl : Module {
  Config cfg;
  explicit PatchEmbeddingImpl(const Config& c) : cfg(c) {}
  Linear value = add("value_embedding", Linear(cfg.patch_len, cfg.d_model, /*with_bias=*/false));
  Tensor global = param("glb_token", {1, cfg.variables(), 1, cfg.d_model});
  Tensor positions = buffer("position_embedding.pe", series_position_table(kPositions, cfg.d_model).unsqueeze(0));

  Tensor forward(const Tensor& series) {  // [B, V, L]
    const int64_t batch = series.size(0), variables = series.size(1), patches = cfg.patches();
    const Tensor cut = series.slice(2, 0, patches * cfg.patch_len).reshape({batch, variables, patches, cfg.patch_len});
    const Tensor tokens = value(cut) + positions.slice(1, 0, patches);                                    // [B, V, P, D]
    const Tensor x = at::cat({tokens, global.expand({batch, variables, 1, cfg.d_model})}, 2).flatten(0, 1);  // [B V, P + 1, D]
    return fast_dropout(x, cfg.dropout, is_training());
  }

  void init() override {
    at::NoGradGuard no_grad;
    global.normal_();
  }
};
ZOO_MODULE(PatchEmbedding);

// One token per exogenous series and calendar feature.
struct VariableEmbeddingImpl : Module {
  Config cfg;
  explicit VariableEmbeddingImpl(const Config& c) : cfg(c) {}
  Linear value = add("value_embedding", Linear(cfg.seq_len, cfg.d_model));

  Tensor forward(const Tensor& series, const Tensor& time) {  // [B, E, L], [B, L, F] or undefined
    const Tensor rows = time.defined() ? at::cat({series, time.transpose(1, 2)}, 1) : series.contiguous();
    return fast_dropout(value(rows), cfg.dropout, is_training());  // [B, E + F, D]
  }
};
ZOO_MODULE(VariableEmbedding);

struct LayerImpl : Module {
  Config cfg;
  explicit LayerImpl(const Config& c) : cfg(c) {}
  SeriesAttention self = add("self_attention", SeriesAttention(cfg.d_model, cfg.n_heads, cfg.dropout));
  SeriesAttention cross = add("cross_attention", SeriesAttention(cfg.d_model, cfg.n_heads, cfg.dropout));
  PointwiseConv conv1 = add("conv1", PointwiseConv(cfg.d_model, cfg.d_ff));
  PointwiseConv conv2 = add("conv2", PointwiseConv(cfg.d_ff, cfg.d_model));
  LayerNorm norm1 = add("norm1", LayerNorm(cfg.d_model));
  LayerNorm norm2 = add("norm2", LayerNorm(cfg.d_model));
  LayerNorm norm3 = add("norm3", LayerNorm(cfg.d_model));

  Tensor forward(Tensor x, const Tensor& exogenous) {  // [B V, P + 1, D], [B, E + F, D]
    x = norm1(x + drop(self(x, x)));
    const int64_t patches = x.size(1) - 1;
    Tensor global = x.select(1, patches).reshape({exogenous.size(0), -1, cfg.d_model});  // [B, V, D]
    global = norm2((global + drop(cross(global, exogenous))).view({-1, 1, cfg.d_model}));   // [B V, 1, D]
    x = at::cat({x.slice(1, 0, patches), global}, 1);
    return norm3(x + drop(conv2(drop(activation(cfg.activation)(conv1(x))))));
  }
  Tensor drop(const Tensor& x) const { return fast_dropout(x, cfg.dropout, is_training()); }
};
ZOO_MODULE(Layer);

struct TimeXer : Model {
  Config cfg;
  explicit TimeXer(const Config& c) : cfg(c) {}
  PatchEmbedding endogenous = add("en_embedding", PatchEmbedding(cfg));
  VariableEmbedding exogenous = add("ex_embedding", VariableEmbedding(cfg));
  std::vector<Layer> layers = add_n("encoder.layers", cfg.e_layers, [&](int64_t) { return Layer(cfg); });
  LayerNorm norm = add("encoder.norm", LayerNorm(cfg.d_model));
  Linear head = add("head.linear", Linear(cfg.d_model * (cfg.patches() + 1), cfg.pred_len));

  Tensors forward(const Tensors& inputs) override {
    const Tensor& series = inputs.at("series");
    const auto found = inputs.find("series_time");
    const Tensor time = found == inputs.end() ? Tensor() : found->second;
    TORCH_CHECK_VALUE(series.size(1) == cfg.seq_len && series.size(2) == cfg.enc_in, "timexer: series is ", series.sizes().slice(1),
                      "; expected [", cfg.seq_len, ", ", cfg.enc_in, "] (cut the window, or set seq_len and enc_in)");
    TORCH_CHECK_VALUE(cfg.multivariate() || cfg.enc_in > 1 || (time.defined() && time.size(2) > 0),
                      "timexer: a single series and no series_time leave the global token nothing to attend to (give calendar features)");
    if (!cfg.use_norm) return {{"forecast", predict(series, time)}};
    WindowNorm window(series);
    const Tensor forecast = predict(window.series, time);
    if (!cfg.multivariate()) window.keep_last();
    return {{"forecast", window.restore(forecast)}};
  }

 private:
  Tensor predict(const Tensor& series, const Tensor& time) {  // [B, L, C] -> [B, H, V]
    const Tensor rows = series.transpose(1, 2);               // [B, C, L]
    Tensor x = endogenous(cfg.multivariate() ? rows : rows.slice(1, -1));
    const Tensor other = exogenous(cfg.multivariate() ? rows : rows.slice(1, 0, cfg.enc_in - 1), time);
    for (auto& layer : layers) x = layer(x, other);
    x = mark("encoder", norm(x));  // [B V, P + 1, D]
    // The head's weight is ordered by feature, then token.
    const Tensor flat = x.transpose(1, 2).reshape({series.size(0), -1, x.size(1) * x.size(2)});
    return fast_dropout(mark("head", head(flat)), cfg.dropout, is_training()).transpose(1, 2);
  }
};

Entry entry() {
  return {"timexer",
          [](const Json& json) -> std::shared_ptr<Model> {
            return std::make_shared<TimeXer>(read_config<Config>("timexer", json));
          },
          [](const Json& json) -> std::vector<InputSpec> {
            const auto config = read_config<Config>("timexer", json);
            const auto steps = std::to_string(config.seq_len);
            return {{"series", {"B", steps, std::to_string(config.enc_in)}}, {"series_time", {"B", steps, "F"}, "float32", -0.5, 0.5}};
          }};
}

}  // namespace zoo::timexer
