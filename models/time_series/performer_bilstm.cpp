// Performer-BiLSTM: Enhancing Price Prediction in Cryptocurrency Using Transformer Neural Network and Technical Indicators
// (Khaniki & Manthouri, 2024, arXiv:2403.03606). An encoder whose attention is FAVOR+ and whose feed-forward part is a
// bidirectional LSTM reads prices and their technical indicators (data/indicators.h).
// No code and no sizes were published: this is a reading of the paper. Attention has the keys and numbers of performer-pytorch
// 1.1.4 (SelfAttention), the LSTM those of torch.nn.LSTM; norms follow each part as in Vaswani et al. The head reads both ends of
// the series and forecasts the change from the last value, so that training starts near the naive forecast. The random features
// are drawn once, kept in the checkpoint and not redrawn.
#include "models/blocks/attention.h"
#include "models/blocks/favor.h"
#include "models/blocks/layers.h"
#include "models/blocks/linear.h"
#include "models/blocks/lstm.h"
#include "models/blocks/positions.h"
#include "models/config.h"
#include "models/model.h"

#include <cmath>

namespace zoo::performer_bilstm {

struct Config {
  int64_t seq_len = 96, pred_len = 24, enc_in = 7, c_out = 1, d_model = 64, n_heads = 4, e_layers = 2, d_ff = 64, nb_features = 0;
  double dropout = 0.1;

  int64_t head_dim() const { return d_model / n_heads; }

  void fields(Fields& f) {
    f.size("seq_len", seq_len);
    f.size("pred_len", pred_len);
    f.size("enc_in", enc_in);
    f.size("c_out", c_out);
    f.size("d_model", d_model);
    f.size("n_heads", n_heads);
    f.depth("e_layers", e_layers);
    f.size("d_ff", d_ff);  // of the LSTM, in each direction
    f.probability("dropout", dropout);
    f.require(d_model % n_heads == 0 && head_dim() >= 2, "d_model " + std::to_string(d_model) + " must be a multiple of n_heads " +
                                                             std::to_string(n_heads) + " that leaves heads of 2 or more");
    if (nb_features == 0) nb_features = std::max<int64_t>(1, int64_t(double(head_dim()) * std::log(double(head_dim()))));
    f.optional_size("nb_features", nb_features);  // default d ln d, as performer-pytorch
    f.require(c_out <= enc_in, "c_out " + std::to_string(c_out) + " is more than enc_in " + std::to_string(enc_in) +
                                   "; the forecast columns are the last ones of the input");
  }
};

// performer-pytorch's SelfAttention without mask, local heads and causality.
struct SelfAttentionImpl : Module {
  Config cfg;
  explicit SelfAttentionImpl(const Config& c) : cfg(c) {}
  Tensor projection = param("fast_attention.projection_matrix", {cfg.nb_features, cfg.head_dim()}, /*trained=*/false);
  Linear to_q = add("to_q", Linear(cfg.d_model, cfg.d_model));
  Linear to_k = add("to_k", Linear(cfg.d_model, cfg.d_model));
  Linear to_v = add("to_v", Linear(cfg.d_model, cfg.d_model));
  Linear to_out = add("to_out", Linear(cfg.d_model, cfg.d_model));

  Tensor forward(const Tensor& x) {
    const auto heads = [&](Linear& layer) { return split_heads(layer(x), cfg.n_heads); };
    const Tensor mixed = mark("fast_attention", favor_attention(heads(to_q), heads(to_k), heads(to_v), projection));
    return at::dropout(to_out(merge_heads(mixed)), cfg.dropout, is_training());
  }
  void init() override { projection.detach().copy_(orthogonal_features(cfg.nb_features, cfg.head_dim())); }
};
ZOO_MODULE(SelfAttention);

struct LayerImpl : Module {
  Config cfg;
  explicit LayerImpl(const Config& c) : cfg(c) {}
  SelfAttention self_attn = add("self_attn", SelfAttention(cfg));
  BiLstm lstm = add("lstm", BiLstm(cfg.d_model, cfg.d_ff, /*layers=*/1));
  Linear out = add("linear", Linear(2 * cfg.d_ff, cfg.d_model));
  LayerNorm norm1 = add("norm1", LayerNorm(cfg.d_model));
  LayerNorm norm2 = add("norm2", LayerNorm(cfg.d_model));

  Tensor forward(Tensor x) {  // [B, L, D], post-norm
    x = norm1(x + self_attn(x));
    return norm2(x + at::dropout(out(lstm(x)), cfg.dropout, is_training()));
  }
};
ZOO_MODULE(Layer);

struct PerformerBiLstm : Model {
  Config cfg;
  explicit PerformerBiLstm(const Config& c) : cfg(c) {}
  Linear embedding = add("embedding", Linear(cfg.enc_in, cfg.d_model));
  std::vector<Layer> layers = add_n("layers", cfg.e_layers, [this](int64_t) { return Layer(cfg); });
  Linear head = add("head", Linear(2 * cfg.d_model, cfg.pred_len * cfg.c_out));
  Tensor positions = sine_position_table(cfg.seq_len, cfg.d_model);  // [1, L, D], not in the checkpoint

  Tensors forward(const Tensors& inputs) override {
    const Tensor& series = inputs.at("series");  // [B, L, C]
    TORCH_CHECK_VALUE(series.dim() == 3 && series.size(1) == cfg.seq_len && series.size(2) == cfg.enc_in, "performer_bilstm: series is ",
                      series.sizes(), "; expected [B, ", cfg.seq_len, ", ", cfg.enc_in, "] (seq_len, enc_in)");
    Tensor x = embedding(series);
    x = at::dropout(x + positions.to(x.options()), cfg.dropout, is_training());
    for (auto& layer : layers) x = layer(x);
    // Where each direction of the LSTM has read the whole series.
    const Tensor ends = at::cat({x.select(1, 0), x.select(1, -1)}, -1);  // [B, 2D]
    const Tensor change = head(ends).view({x.size(0), cfg.pred_len, cfg.c_out});
    return {{"forecast", series.slice(1, -1).slice(2, -cfg.c_out) + change}};  // [B, H, Ct]
  }
};

Entry entry() {
  return {"performer_bilstm",
          [](const Json& json) -> std::shared_ptr<Model> {
            return std::make_shared<PerformerBiLstm>(read_config<Config>("performer_bilstm", json));
          },
          [](const Json& json) -> std::vector<InputSpec> {
            const auto config = read_config<Config>("performer_bilstm", json);
            return {{"series", {"B", std::to_string(config.seq_len), std::to_string(config.enc_in)}}};
          }};
}

}  // namespace zoo::performer_bilstm
