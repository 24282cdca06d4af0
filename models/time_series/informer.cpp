// Informer: Beyond Efficient Transformer for Long Sequence Time-Series Forecasting (Zhou et al., 2021, arXiv:2012.07436).
// Encoder and decoder whose self-attention serves only the queries that differ most from uniform attention, judged on a random
// sample of keys; the encoder halves its length between layers; the decoder reads the window's end and forecasts all steps at once.
// Reference: github.com/zhouhaoyi/Informer2020 @ 29f2a73, models/{model,attn,encoder,decoder,embed}.py.
// The sampled keys may be given as inputs "sample.encoder.0" [Lq, U] ...; else they are drawn, in evaluation always the same ones.
// The decoder's input is made here as in the reference's exp_informer.py; "x_dec" and "x_mark_dec" replace it.
#include <cmath>

#include "models/blocks/attention.h"
#include "models/blocks/dropout.h"
#include "models/blocks/informer.h"
#include "models/blocks/layers.h"
#include "models/blocks/linear.h"
#include "models/blocks/series.h"
#include "models/config.h"
#include "models/model.h"

namespace zoo::informer {

constexpr int64_t kPositions = 5000;  // rows of the reference's position tables, which its checkpoints hold

struct Config {
  std::string architecture = "Informer", attn = "prob", embed = "timeF", freq = "h", activation = "gelu", features = "M";
  int64_t seq_len = 96, label_len = 48, pred_len = 24, enc_in = 7, dec_in = 7, c_out = 7, factor = 5, padding = 0;
  int64_t d_model = 512, n_heads = 8, e_layers = 2, d_layers = 1, d_ff = 2048, time_features = 4;
  std::vector<int64_t> s_layers = {3, 2, 1};  // InformerStack: layers of each encoder; encoder i reads the last 1/2^i of the window
  double dropout = 0.05;
  bool distil = true, mix = true;

  bool stacked() const { return architecture == "InformerStack"; }
  bool calendar_is_numbers() const { return embed == "timeF"; }

  void fields(Fields& f) {
    architecture = architecture_of("informer", f.json(), architecture, {"Informer", "InformerStack"});
    f.size("seq_len", seq_len);
    f.count("label_len", label_len);
    f.size("pred_len", pred_len);
    f.size("out_len", pred_len);  // the constructor's name for it
    f.size("enc_in", enc_in);
    f.size("dec_in", dec_in);
    f.size("c_out", c_out);
    f.size("factor", factor);
    f.count("padding", padding);
    f.size("d_model", d_model);
    f.size("n_heads", n_heads);
    if (stacked()) read_stack(f);
    else f.depth("e_layers", e_layers);
    f.depth("d_layers", d_layers);
    f.size("d_ff", d_ff);
    f.probability("dropout", dropout);
    f.one_of("attn", attn, {"prob", "full"});
    f.one_of("embed", embed, {"timeF", "fixed", "learned"});
    f.one_of("freq", freq, {"s", "t", "h", "d", "b", "w", "m", "a"});
    f.one_of("activation", activation, {"gelu", "relu"});
    f.one_of("features", features, {"M", "S", "MS"});
    read_switch(f, "distil", distil);
    read_switch(f, "mix", mix);
    time_features = calendar_columns();
    f.size("time_features", time_features);  // for data with other calendar features than the frequency's usual ones
    f.ignored({"device", "s_layers", "e_layers"});
    ignore_run_options(f);
    check(f);
  }

 private:
  int64_t calendar_columns() const {
    const std::map<std::string, int64_t> usual = {{"s", 6}, {"t", 5}, {"h", 4}, {"d", 3}, {"b", 3}, {"w", 2}, {"m", 1}, {"a", 1}};
    return usual.at(freq);
  }

  // "3,2,1" as on the command line, or [3, 2, 1].
  void read_stack(Fields& f) {
    const auto found = f.json().find("s_layers");
    if (found == f.json().end()) return;
    const std::string wanted = "s_layers is " + found->dump().substr(0, 80) + "; expected 1 to 8 depths from 1 to 64, such as [3, 2, 1]";
    Json list = *found;
    if (list.is_string()) list = Json::parse("[" + list.get<std::string>() + "]", nullptr, /*allow_exceptions=*/false);
    f.require(list.is_array() && !list.empty() && list.size() <= 8, wanted);
    s_layers.clear();
    for (const auto& depth : list) {
      f.require(depth.is_number_integer() && depth.get<int64_t>() >= 1 && depth.get<int64_t>() <= 64, wanted);
      s_layers.push_back(depth.get<int64_t>());
    }
  }

  void check(const Fields& f) const {
    const auto text = [](int64_t value) { return std::to_string(value); };
    f.require(d_model % n_heads == 0 && d_model % 2 == 0, "d_model " + text(d_model) + " is not a multiple of 2 and of n_heads " + text(n_heads));
    f.require(label_len <= seq_len, "label_len " + text(label_len) + " is more than the seq_len " + text(seq_len) + " whose end it takes");
    f.require(seq_len <= kPositions && label_len + pred_len <= kPositions, "seq_len " + text(seq_len) + " or label_len + pred_len " +
                                                                               text(label_len + pred_len) + " is more than the network's " +
                                                                               text(kPositions) + " positions");
    f.require(padding <= 1, "padding is " + text(padding) + "; expected 0 or 1, what stands where the decoder has nothing yet");
    f.require(calendar_is_numbers() || freq == "h" || freq == "t", "embed \"" + embed + "\" needs freq \"h\" or \"t\", not \"" + freq +
                                                                       "\": it looks up month, day, weekday and hour");
    f.require(!stacked() || (seq_len >> (s_layers.size() - 1)) >= 1, "seq_len " + text(seq_len) + " is too short for " +
                                                                         text(int64_t(s_layers.size())) + " encoders that halve it");
  }
};

// ---- embedding ----

struct TokenEmbeddingImpl : Module {
  TokenEmbeddingImpl(int64_t channels, int64_t width)
      : weight(param("tokenConv.weight", {width, channels, 3})), bias(param("tokenConv.bias", {width})) {}
  Tensor weight, bias;

  Tensor forward(const Tensor& series) { return circular_convolution(series, weight, bias); }  // [B, L, C] -> [B, L, D]

  void init() override {
    const double fan_in = static_cast<double>(weight.size(1) * weight.size(2));
    at::NoGradGuard no_grad;
    weight.normal_(0.0, std::sqrt(2.0 / (1.0 + 0.01 * 0.01) / fan_in));  // He's rule for a leaky ReLU
    bias.uniform_(-1.0 / std::sqrt(fan_in), 1.0 / std::sqrt(fan_in));
  }
};
ZOO_MODULE(TokenEmbedding);

// A row per month, day ...: sines that never train ("fixed") or a table that does ("learned").
struct CalendarTablesImpl : Module {
  Config cfg;
  std::vector<std::pair<int64_t, Tensor>> tables;  // column of the calendar, table
  explicit CalendarTablesImpl(const Config& c) : cfg(c) {
    if (cfg.freq == "t") make("minute_embed", 4, 4);
    make("hour_embed", 24, 3);
    make("weekday_embed", 7, 2);
    make("day_embed", 32, 1);
    make("month_embed", 13, 0);
  }

  Tensor forward(const Tensor& time) {  // [B, L, F] whole numbers
    TORCH_CHECK_VALUE(time.size(2) > tables.front().first && time.ge(0).all().item<bool>(), "informer: embed \"", cfg.embed,
                      "\" reads whole numbers month, day, weekday, hour (and quarter of the hour), not scaled calendar features"
                      " (set embed to \"timeF\")");
    const Tensor fields = time.to(at::kLong);
    Tensor sum;
    for (const auto& [column, table] : tables) {
      const Tensor part = at::embedding(table, fields.select(2, column));
      sum = sum.defined() ? sum + part : part;
    }
    return sum;
  }

  void init() override {
    at::NoGradGuard no_grad;
    for (auto& [column, table] : tables) {
      if (cfg.embed == "fixed") table.copy_(series_position_table(table.size(0), table.size(1)));
      else table.normal_();
    }
  }

 private:
  void make(const std::string& name, int64_t rows, int64_t column) {
    const bool fixed = cfg.embed == "fixed";
    tables.emplace_back(column, param(name + (fixed ? ".emb.weight" : ".weight"), {rows, cfg.d_model}, /*trained=*/!fixed));
  }
};
ZOO_MODULE(CalendarTables);

struct EmbeddingImpl : Module {
  Config cfg;
  EmbeddingImpl(const Config& c, int64_t channels) : cfg(c), value(add("value_embedding", TokenEmbedding(channels, c.d_model))) {
    if (cfg.calendar_is_numbers()) numbers = add("temporal_embedding.embed", Linear(cfg.time_features, cfg.d_model));
    else tables = add("temporal_embedding", CalendarTables(cfg));
  }
  TokenEmbedding value;
  Tensor positions = buffer("position_embedding.pe", series_position_table(kPositions, cfg.d_model).unsqueeze(0));
  Linear numbers{nullptr};
  CalendarTables tables{nullptr};

  Tensor forward(const Tensor& series, const Tensor& time) {  // [B, L, C], [B, L, F]
    const Tensor calendar = cfg.calendar_is_numbers() ? mark("temporal_embedding", numbers(time)) : tables(time);
    return fast_dropout(value(series) + positions.slice(1, 0, series.size(1)) + calendar, cfg.dropout, is_training());
  }
};
ZOO_MODULE(Embedding);

// ---- attention ----

// factor * ceil(ln n), at most n and at least 1.
int64_t sparse_count(int64_t factor, int64_t length) {
  const auto count = factor * static_cast<int64_t>(std::ceil(std::log(static_cast<double>(length))));
  return std::max<int64_t>(1, std::min(count, length));
}

struct SelfAttentionImpl : SeriesAttentionImpl {
  Config cfg;
  bool decoder;
  SelfAttentionImpl(const Config& c, bool in_decoder) : SeriesAttentionImpl(c.d_model, c.n_heads, c.dropout), cfg(c), decoder(in_decoder) {}

  Tensor forward(const Tensor& x, const Tensor& given_sample) {  // [B, L, D]
    const int64_t length = x.size(1);
    const Tensor q = split_heads(query(x), cfg.n_heads), k = split_heads(key(x), cfg.n_heads), v = split_heads(value(x), cfg.n_heads);
    Tensor mixed;
    if (cfg.attn == "prob") {
      const int64_t count = sparse_count(cfg.factor, length);  // keys sampled per query, and queries served
      const Tensor sample = given_sample.defined() ? given_sample : draw_sample({length, count}, length, is_training(), x.device());
      mixed = sparse_attention(q, k, v, sample, count, decoder);
    } else {
      const Tensor causal = decoder ? at::ones({length, length}, x.options().dtype(at::kBool)).tril() : Tensor();
      mixed = attention(q, k, v, causal, is_training() ? cfg.dropout : 0.0);
    }
    // "mix": the decoder reads the memory of [B, H, L, d] as [B, L, H d], which mixes steps and heads (a trait of the reference).
    return out(decoder && cfg.mix ? mixed.reshape(x.sizes()) : merge_heads(mixed));
  }
};
ZOO_MODULE(SelfAttention);

// ---- layers ----

struct EncoderLayerImpl : Module {
  Config cfg;
  explicit EncoderLayerImpl(const Config& c) : cfg(c) {}
  SelfAttention attend = add("attention", SelfAttention(cfg, false));
  PointwiseConv conv1 = add("conv1", PointwiseConv(cfg.d_model, cfg.d_ff));
  PointwiseConv conv2 = add("conv2", PointwiseConv(cfg.d_ff, cfg.d_model));
  LayerNorm norm1 = add("norm1", LayerNorm(cfg.d_model));
  LayerNorm norm2 = add("norm2", LayerNorm(cfg.d_model));

  Tensor forward(Tensor x, const Tensor& sample) {  // [B, L, D]
    x = norm1(x + drop(attend(x, sample)));
    return norm2(x + drop(conv2(drop(activation(cfg.activation)(conv1(x))))));
  }
  Tensor drop(const Tensor& x) const { return fast_dropout(x, cfg.dropout, is_training()); }
};
ZOO_MODULE(EncoderLayer);

// The sample given for a layer, or nothing.
Tensor sample_for(const Tensors& inputs, const std::string& layer) {
  const auto found = inputs.find("sample." + layer);
  return found == inputs.end() ? Tensor() : found->second;
}

struct EncoderImpl : Module {
  Config cfg;
  int64_t depth;
  EncoderImpl(const Config& c, int64_t layers) : cfg(c), depth(layers) {}
  std::vector<EncoderLayer> layers = add_n("attn_layers", depth, [&](int64_t) { return EncoderLayer(cfg); });
  std::vector<Distil> distils = add_n("conv_layers", cfg.distil ? depth - 1 : 0, [&](int64_t) { return Distil(cfg.d_model); });
  LayerNorm norm = add("norm", LayerNorm(cfg.d_model));

  Tensor forward(Tensor x, const Tensors& inputs, const std::string& name) {  // [B, L, D] -> [B, L / 2^(depth - 1), D]
    for (size_t i = 0; i < layers.size(); ++i) {
      x = layers[i](x, sample_for(inputs, name + "." + std::to_string(i)));
      if (i < distils.size()) x = distils[i](x);
    }
    return norm(x);
  }
};
ZOO_MODULE(Encoder);

struct DecoderLayerImpl : Module {
  Config cfg;
  explicit DecoderLayerImpl(const Config& c) : cfg(c) {}
  SelfAttention self = add("self_attention", SelfAttention(cfg, true));
  SeriesAttention cross = add("cross_attention", SeriesAttention(cfg.d_model, cfg.n_heads, cfg.dropout));
  PointwiseConv conv1 = add("conv1", PointwiseConv(cfg.d_model, cfg.d_ff));
  PointwiseConv conv2 = add("conv2", PointwiseConv(cfg.d_ff, cfg.d_model));
  LayerNorm norm1 = add("norm1", LayerNorm(cfg.d_model));
  LayerNorm norm2 = add("norm2", LayerNorm(cfg.d_model));
  LayerNorm norm3 = add("norm3", LayerNorm(cfg.d_model));

  Tensor forward(Tensor x, const Tensor& memory, const Tensor& sample) {  // [B, T, D], [B, S, D]
    x = norm1(x + drop(self(x, sample)));
    x = norm2(x + drop(cross(x, memory)));
    return norm3(x + drop(conv2(drop(activation(cfg.activation)(conv1(x))))));
  }
  Tensor drop(const Tensor& x) const { return fast_dropout(x, cfg.dropout, is_training()); }
};
ZOO_MODULE(DecoderLayer);

struct Informer : Model {
  Config cfg;
  explicit Informer(const Config& c) : cfg(c) {
    if (!cfg.stacked()) encoders.push_back(add("encoder", Encoder(cfg, cfg.e_layers)));
    else encoders = add_n("encoder.encoders", int64_t(cfg.s_layers.size()), [&](int64_t i) { return Encoder(cfg, cfg.s_layers[i]); });
  }
  Embedding enc_embedding = add("enc_embedding", Embedding(cfg, cfg.enc_in));
  Embedding dec_embedding = add("dec_embedding", Embedding(cfg, cfg.dec_in));
  std::vector<Encoder> encoders;
  std::vector<DecoderLayer> decoder = add_n("decoder.layers", cfg.d_layers, [&](int64_t) { return DecoderLayer(cfg); });
  LayerNorm norm = add("decoder.norm", LayerNorm(cfg.d_model));
  Linear projection = add("projection", Linear(cfg.d_model, cfg.c_out));

  Tensors forward(const Tensors& inputs) override {
    const Tensor& series = inputs.at("series");
    TORCH_CHECK_VALUE(series.size(1) == cfg.seq_len && series.size(2) == cfg.enc_in, "informer: series is ", series.sizes().slice(1),
                      "; expected [", cfg.seq_len, ", ", cfg.enc_in, "] (cut the window, or set seq_len and enc_in)");
    const Tensor memory = encode(enc_embedding(series, calendar(inputs, "series_time")), inputs);
    const auto [start, start_time] = decoder_input(inputs);
    Tensor x = dec_embedding(start, start_time);
    for (size_t i = 0; i < decoder.size(); ++i) x = decoder[i](x, memory, sample_for(inputs, "decoder." + std::to_string(i)));
    x = projection(mark("decoder", norm(x)));
    return {{"forecast", x.slice(1, x.size(1) - cfg.pred_len)}};  // [B, H, c_out]
  }

 private:
  Tensor encode(const Tensor& x, const Tensors& inputs) {  // [B, L, D] -> [B, S, D]
    if (!cfg.stacked()) return encoders.front()(x, inputs, "encoder");
    std::vector<Tensor> read;
    for (size_t i = 0; i < encoders.size(); ++i) {
      const int64_t length = x.size(1) >> i;
      read.push_back(encoders[i](x.slice(1, x.size(1) - length), inputs, "encoder." + std::to_string(i)));
    }
    return mark("encoder", at::cat(read, 1));
  }

  static const Tensor& calendar(const Tensors& inputs, const std::string& name) {
    const auto found = inputs.find(name);
    TORCH_CHECK_VALUE(found != inputs.end() && found->second.size(2) > 0, "informer: input '", name, "' is missing; the network reads the calendar (give the data dates)");
    return found->second;
  }

  // The window's last label_len steps, then `padding` in the place of what is to be forecast; and the calendar of both.
  std::pair<Tensor, Tensor> decoder_input(const Tensors& inputs) const {
    if (inputs.count("x_dec")) return {inputs.at("x_dec"), calendar(inputs, "x_mark_dec")};
    const Tensor& series = inputs.at("series");
    TORCH_CHECK_VALUE(cfg.dec_in == cfg.enc_in, "informer: dec_in ", cfg.dec_in, " differs from enc_in ", cfg.enc_in,
                      ": the decoder starts with the window's end, all of its columns (set both alike)");
    const int64_t from = cfg.seq_len - cfg.label_len;
    const Tensor blank = at::full({series.size(0), cfg.pred_len, cfg.dec_in}, double(cfg.padding), series.options());
    return {at::cat({series.slice(1, from), blank}, 1),
            at::cat({calendar(inputs, "series_time").slice(1, from), calendar(inputs, "future_time")}, 1)};
  }
};

Entry entry() {
  return {"informer",
          [](const Json& json) -> std::shared_ptr<Model> {
            return std::make_shared<Informer>(read_config<Config>("informer", json));
          },
          [](const Json& json) -> std::vector<InputSpec> {
            const auto config = read_config<Config>("informer", json);
            const auto steps = std::to_string(config.seq_len), columns = std::to_string(config.time_features);
            const bool numbers = config.embed == "timeF";  // else whole numbers: of those below 4 every table has a row
            const double low = numbers ? -0.5 : 0.0, high = numbers ? 0.5 : 4.0;
            return {{"series", {"B", steps, std::to_string(config.enc_in)}},
                    {"series_time", {"B", steps, columns}, "float32", low, high},
                    {"future_time", {"B", std::to_string(config.pred_len), columns}, "float32", low, high}};
          }};
}

}  // namespace zoo::informer
