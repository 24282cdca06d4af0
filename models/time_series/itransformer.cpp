// iTransformer: Inverted Transformers Are Effective for Time Series Forecasting (Liu et al., 2024, arXiv:2310.06625).
// Every series of the window, and every calendar feature, is one token; a post-norm encoder mixes them, and a linear head
// turns each series' token into its forecast. Windows are normalised and the forecasts taken back.
// Reference: github.com/thuml/iTransformer @ c2426e6, model/iTransformer.py.
// The 1x1 convolutions of the reference are linear layers here; calendar features are optional, as there.
#include "models/blocks/dropout.h"
#include "models/blocks/layers.h"
#include "models/blocks/linear.h"
#include "models/blocks/series.h"
#include "models/config.h"
#include "models/model.h"

namespace zoo::itransformer {

struct Config {
  int64_t seq_len = 96, pred_len = 96, enc_in = 7, d_model = 512, n_heads = 8, e_layers = 2, d_ff = 2048;
  double dropout = 0.1;
  std::string activation = "gelu", features = "M";
  bool use_norm = true;

  void fields(Fields& f) {
    f.size("seq_len", seq_len);
    f.size("pred_len", pred_len);
    f.size("enc_in", enc_in);
    f.size("d_model", d_model);
    f.size("n_heads", n_heads);
    f.depth("e_layers", e_layers);
    f.size("d_ff", d_ff);
    f.probability("dropout", dropout);
    f.one_of("activation", activation, {"gelu", "relu"});
    f.one_of("features", features, {"M", "S", "MS"});
    read_switch(f, "use_norm", use_norm);
    ignore_run_options(f);
    f.require(d_model % n_heads == 0, "d_model " + std::to_string(d_model) + " is not a multiple of n_heads " + std::to_string(n_heads));
  }
};

struct EmbeddingImpl : Module {
  Config cfg;
  explicit EmbeddingImpl(const Config& c) : cfg(c) {}
  Linear value = add("value_embedding", Linear(cfg.seq_len, cfg.d_model));

  Tensor forward(const Tensor& series, const Tensor& time) {  // [B, L, C], [B, L, F] or undefined
    const Tensor rows = time.defined() ? at::cat({series.transpose(1, 2), time.transpose(1, 2)}, 1) : series.transpose(1, 2).contiguous();
    return fast_dropout(value(rows), cfg.dropout, is_training());  // [B, C + F, D]
  }
};
ZOO_MODULE(Embedding);

struct LayerImpl : Module {
  Config cfg;
  explicit LayerImpl(const Config& c) : cfg(c) {}
  SeriesAttention attend = add("attention", SeriesAttention(cfg.d_model, cfg.n_heads, cfg.dropout));
  PointwiseConv conv1 = add("conv1", PointwiseConv(cfg.d_model, cfg.d_ff));
  PointwiseConv conv2 = add("conv2", PointwiseConv(cfg.d_ff, cfg.d_model));
  LayerNorm norm1 = add("norm1", LayerNorm(cfg.d_model));
  LayerNorm norm2 = add("norm2", LayerNorm(cfg.d_model));

  Tensor forward(Tensor x) {  // [B, N, D]
    x = norm1(x + fast_dropout(attend(x, x), cfg.dropout, is_training()));
    const Tensor inner = fast_dropout(activation(cfg.activation)(conv1(x)), cfg.dropout, is_training());
    return norm2(x + fast_dropout(conv2(inner), cfg.dropout, is_training()));
  }
};
ZOO_MODULE(Layer);

struct ITransformer : Model {
  Config cfg;
  explicit ITransformer(const Config& c) : cfg(c) {}
  Embedding embedding = add("enc_embedding", Embedding(cfg));
  std::vector<Layer> layers = add_n("encoder.attn_layers", cfg.e_layers, [&](int64_t) { return Layer(cfg); });
  LayerNorm norm = add("encoder.norm", LayerNorm(cfg.d_model));
  Linear projector = add("projector", Linear(cfg.d_model, cfg.pred_len));

  Tensors forward(const Tensors& inputs) override {
    const Tensor& series = inputs.at("series");
    const auto time = inputs.find("series_time");
    TORCH_CHECK_VALUE(series.size(1) == cfg.seq_len, "itransformer: series has ", series.size(1), " steps; expected ", cfg.seq_len,
                      " (cut the window, or set seq_len)");
    const Tensor marks = time == inputs.end() ? Tensor() : time->second;
    if (!cfg.use_norm) return {{"forecast", targets(predict(series, marks))}};
    const WindowNorm window(series);
    return {{"forecast", targets(window.restore(predict(window.series, marks)))}};
  }

 private:
  Tensor predict(const Tensor& series, const Tensor& time) {  // -> [B, H, C]
    Tensor x = embedding(series, time);
    for (auto& layer : layers) x = layer(x);
    x = projector(mark("encoder", norm(x)));                  // [B, C + F, H]
    return x.slice(1, 0, series.size(2)).transpose(1, 2);     // what the calendar's tokens say is left out
  }

  // "MS" forecasts the last series only; the reference cuts it out in its training script.
  Tensor targets(const Tensor& forecast) const { return cfg.features == "MS" ? forecast.slice(2, -1) : forecast; }
};

Entry entry() {
  return {"itransformer",
          [](const Json& json) -> std::shared_ptr<Model> {
            return std::make_shared<ITransformer>(read_config<Config>("itransformer", json));
          },
          [](const Json& json) -> std::vector<InputSpec> {
            const auto config = read_config<Config>("itransformer", json);
            const auto steps = std::to_string(config.seq_len);  // no weight depends on the number of series: any will do
            return {{"series", {"B", steps, "enc_in"}}, {"series_time", {"B", steps, "F"}, "float32", -0.5, 0.5}};
          }};
}

}  // namespace zoo::itransformer
