// Informer as transformers has it: a probabilistic forecaster (Zhou et al., 2021, arXiv:2012.07436; head as in DeepAR).
// Scaled lags of the series, static features and the calendar are the tokens; ProbSparse encoder with distilling and a causal
// decoder; each step ends in a Student-t. Other numbers than the authors' network (informer.cpp) for several reasons: see there.
// Reference: transformers 5.23.0, models/informer/modeling_informer.py: InformerForPrediction, and time_series_utils.py.
// With "future_values" (in training "target") the decoder reads the true past of every step. Without, num_parallel_samples paths
// are sampled step by step as in generate(), in evaluation always the same ones; the forecast's distribution is the mixture of
// their Student-t (or normal, or negative binomial) distributions, its mean the forecast. The loss is "nll".
#include <ATen/CPUGeneratorImpl.h>

#include <cmath>
#include <limits>

#include "models/blocks/attention.h"
#include "models/blocks/dropout.h"
#include "models/blocks/informer.h"
#include "models/blocks/layers.h"
#include "models/blocks/linear.h"
#include "models/blocks/negative_binomial_mixture.h"
#include "models/blocks/student_t_mixture.h"
#include "models/config.h"
#include "models/init.h"
#include "models/model.h"

namespace zoo::informer_for_prediction {

struct Config {
  int64_t prediction_length = 24, context_length = 0, input_size = 1, num_parallel_samples = 100, sampling_factor = 5;
  int64_t num_dynamic_real_features = 0, num_static_real_features = 0, num_static_categorical_features = 0, num_time_features = 0;
  int64_t d_model = 64, encoder_ffn_dim = 32, decoder_ffn_dim = 32, encoder_attention_heads = 2, decoder_attention_heads = 2;
  int64_t encoder_layers = 2, decoder_layers = 2;
  std::vector<int64_t> lags_sequence = {1, 2, 3, 4, 5, 6, 7}, cardinality, embedding_dimension;
  std::string scaling = "mean", distribution_output = "student_t", attention_type = "prob", activation_function = "gelu";
  double dropout = 0.05, encoder_layerdrop = 0.1, decoder_layerdrop = 0.1, attention_dropout = 0.1, activation_dropout = 0.1, init_std = 0.02;
  bool distil = true;

  int64_t longest_lag() const { return *std::max_element(lags_sequence.begin(), lags_sequence.end()); }
  int64_t past_length() const { return context_length + longest_lag(); }
  int64_t calendar_columns() const { return num_time_features + num_dynamic_real_features; }
  int64_t feature_size() const {  // of a token: lags, embedded categories, static numbers, log |loc| and log scale, calendar
    int64_t size = input_size * int64_t(lags_sequence.size()) + calendar_columns() + num_static_real_features + 2 * input_size;
    for (const int64_t width : embedding_dimension) size += width;
    return size;
  }

  void fields(Fields& f) {
    f.size("prediction_length", prediction_length);
    f.size("input_size", input_size);
    f.size("num_parallel_samples", num_parallel_samples);
    f.size("sampling_factor", sampling_factor);
    f.count("num_dynamic_real_features", num_dynamic_real_features);
    f.count("num_static_real_features", num_static_real_features);
    f.count("num_static_categorical_features", num_static_categorical_features);
    f.count("num_time_features", num_time_features);
    f.size("d_model", d_model);
    f.size("encoder_ffn_dim", encoder_ffn_dim);
    f.size("decoder_ffn_dim", decoder_ffn_dim);
    f.size("encoder_attention_heads", encoder_attention_heads);
    f.size("decoder_attention_heads", decoder_attention_heads);
    f.depth("encoder_layers", encoder_layers);
    f.depth("decoder_layers", decoder_layers);
    f.one_of("attention_type", attention_type, {"prob", "full"});
    f.one_of("activation_function", activation_function, activation_names());
    f.probability("dropout", dropout);
    f.probability("encoder_layerdrop", encoder_layerdrop);
    f.probability("decoder_layerdrop", decoder_layerdrop);
    f.probability("attention_dropout", attention_dropout);
    f.probability("activation_dropout", activation_dropout);
    f.number("init_std", init_std);
    f.flag("distil", distil);
    f.one_of("distribution_output", distribution_output, {"student_t", "normal", "negative_binomial"});
    f.fixed("loss", "nll");
    f.ignored({"feature_size", "lags_sequence", "cardinality", "embedding_dimension", "scaling"});
    read_scaling(f);
    read_lists(f);
    read_lengths(f);
    check(f);
  }

 private:
  // "mean", "std", true (mean), or false or null for none.
  void read_scaling(Fields& f) {
    const auto found = f.json().find("scaling");
    if (found == f.json().end()) return;
    if (found->is_null() || *found == false) scaling = "none";
    else if (*found == true) scaling = "mean";
    else f.one_of("scaling", scaling, {"mean", "std"});
  }

  static std::vector<int64_t> list(const Fields& f, const std::string& key, std::vector<int64_t> otherwise, int64_t high) {
    const auto found = f.json().find(key);
    if (found == f.json().end() || found->is_null()) return otherwise;
    const std::string wanted = key + " is " + found->dump().substr(0, 80) + "; expected a list of whole numbers from 1 to " + std::to_string(high);
    f.require(found->is_array() && !found->empty() && found->size() <= 1024, wanted);
    std::vector<int64_t> values;
    for (const auto& item : *found) {
      f.require(item.is_number_integer() && item.get<int64_t>() >= 1 && item.get<int64_t>() <= high, wanted);
      values.push_back(item.get<int64_t>());
    }
    return values;
  }

  void read_lists(const Fields& f) {
    lags_sequence = list(f, "lags_sequence", lags_sequence, 1 << 20);
    if (num_static_categorical_features == 0) return;  // the reference then stores [0] and [0]
    cardinality = list(f, "cardinality", {}, int64_t{1} << 31);
    std::vector<int64_t> usual;
    for (const int64_t size : cardinality) usual.push_back(std::min<int64_t>(50, (size + 1) / 2));
    embedding_dimension = list(f, "embedding_dimension", usual, 1 << 20);
  }

  // "past_length" is zoo's: the rows that the network reads, which are context_length and before it the longest lag.
  void read_lengths(Fields& f) {
    int64_t past = 0;
    f.optional_size("past_length", past);
    context_length = past > longest_lag() ? past - longest_lag() : prediction_length;
    f.optional_size("context_length", context_length);
    f.require(past == 0 || past == past_length(),
              "past_length is " + std::to_string(past) + "; expected context_length " + std::to_string(context_length) + " + the longest lag " +
                  std::to_string(longest_lag()) + " = " + std::to_string(past_length()) + " (set both, or leave one out)");
  }

  void check(const Fields& f) const {
    const auto text = [](size_t value) { return std::to_string(value); };
    const auto categories = static_cast<size_t>(num_static_categorical_features);
    f.require(cardinality.size() == categories && embedding_dimension.size() == categories,
              "cardinality lists " + text(cardinality.size()) + " and embedding_dimension " + text(embedding_dimension.size()) +
                  " features; num_static_categorical_features is " + text(categories));
    f.require(d_model % encoder_attention_heads == 0 && d_model % decoder_attention_heads == 0,
              "d_model " + text(d_model) + " is not a multiple of encoder_attention_heads " + text(encoder_attention_heads) +
                  " and of decoder_attention_heads " + text(decoder_attention_heads));
  }
};

int64_t log_length(int64_t length) { return static_cast<int64_t>(std::ceil(std::log1p(static_cast<double>(length)))); }

// ---- attention ----

struct AttentionImpl : Module {
  Config cfg;
  int64_t heads;
  bool sparse, causal;
  AttentionImpl(const Config& c, int64_t head_count, bool self, bool decoder)
      : cfg(c), heads(head_count), sparse(self && c.attention_type == "prob"), causal(self && decoder) {}
  Linear key = add("k_proj", Linear(cfg.d_model, cfg.d_model));
  Linear value = add("v_proj", Linear(cfg.d_model, cfg.d_model));
  Linear query = add("q_proj", Linear(cfg.d_model, cfg.d_model));
  Linear out = add("out_proj", Linear(cfg.d_model, cfg.d_model));

  Tensor forward(const Tensor& x, const Tensor& memory, const Tensor& given_sample) {  // [B, T, D], [B, S, D]
    const Tensor q = split_heads(query(x), heads), k = split_heads(key(memory), heads), v = split_heads(value(memory), heads);
    const double drop = is_training() ? cfg.attention_dropout : 0.0;
    const int64_t length = x.size(1);
    if (!sparse) {
      const Tensor mask = causal ? at::ones({length, length}, x.options().dtype(at::kBool)).tril() : Tensor();
      return out(merge_heads(attention(q, k, v, mask, drop)));
    }
    // One sample of keys for all queries; in practice as many as there are keys, with repetitions.
    const int64_t sampled = std::min(cfg.sampling_factor * length * log_length(length), length);
    const Tensor sample = given_sample.defined() ? given_sample : draw_sample({sampled}, length, is_training(), x.device());
    const int64_t active = std::min(cfg.sampling_factor * log_length(length), length);
    // The reference scales the queries before it compares them; the order is the same.
    return out(merge_heads(sparse_attention(q, k, v, sample.unsqueeze(0), active, causal, drop)));
  }
};
ZOO_MODULE(Attention);

// ---- layers ----

struct LayerImpl : Module {
  Config cfg;
  bool decoder;
  int64_t heads, inner;
  LayerImpl(const Config& c, bool in_decoder)
      : cfg(c), decoder(in_decoder), heads(in_decoder ? c.decoder_attention_heads : c.encoder_attention_heads),
        inner(in_decoder ? c.decoder_ffn_dim : c.encoder_ffn_dim) {
    if (!decoder) return;
    cross = add("encoder_attn", Attention(cfg, heads, false, true));
    cross_norm = add("encoder_attn_layer_norm", LayerNorm(cfg.d_model));
  }
  Attention self = add("self_attn", Attention(cfg, heads, true, decoder));
  LayerNorm self_norm = add("self_attn_layer_norm", LayerNorm(cfg.d_model));
  Attention cross{nullptr};
  LayerNorm cross_norm{nullptr};
  Linear fc1 = add("fc1", Linear(cfg.d_model, inner));
  Linear fc2 = add("fc2", Linear(inner, cfg.d_model));
  LayerNorm final_norm = add("final_layer_norm", LayerNorm(cfg.d_model));

  // [N, T, D]; the decoder's memory [B, S, D] serves N / B sampled paths each.
  Tensor forward(Tensor x, const Tensor& memory, const Tensor& sample) {
    x = self_norm(x + drop(self(x, x, sample), cfg.dropout));
    if (decoder) {
      const Tensor queries = x.reshape({memory.size(0), -1, cfg.d_model});  // the paths of a series, one after another
      x = cross_norm(x + drop(cross(queries, memory, Tensor()).view(x.sizes()), cfg.dropout));
    }
    const Tensor y = drop(activated(fc1, x, cfg.activation_function), cfg.activation_dropout);
    return final_norm(x + drop(fc2(y), cfg.dropout));
  }
  Tensor drop(const Tensor& x, double p) const { return fast_dropout(x, p, is_training()); }
};
ZOO_MODULE(Layer);

// Both halves: value and position embedding, norm, layers; the encoder distils between its layers.
struct StackImpl : Module {
  Config cfg;
  bool decoder;
  StackImpl(const Config& c, bool is_decoder) : cfg(c), decoder(is_decoder) {}
  Linear value = add("value_embedding.value_projection", Linear(cfg.feature_size(), cfg.d_model, /*with_bias=*/false));
  Tensor positions = param("embed_positions.weight", {cfg.context_length + cfg.prediction_length, cfg.d_model}, /*trained=*/false);
  std::vector<Layer> layers = add_n("layers", decoder ? cfg.decoder_layers : cfg.encoder_layers, [&](int64_t) { return Layer(cfg, decoder); });
  LayerNorm norm = add("layernorm_embedding", LayerNorm(cfg.d_model));
  std::vector<Distil> distils = add_n("conv_layers", decoder || !cfg.distil ? 0 : cfg.encoder_layers - 1, [&](int64_t) { return Distil(cfg.d_model); });

  Tensor forward(const Tensor& tokens, const Tensor& memory, const Tensors& inputs) {  // [N, T, features]
    const int64_t first = decoder ? cfg.context_length : 0;
    Tensor x = fast_dropout(norm(value(tokens) + positions.slice(0, first, first + tokens.size(1))), cfg.dropout, is_training());
    for (size_t i = 0; i < layers.size(); ++i) {
      if (skipped()) continue;  // with its distilling: the next layer then sees the longer sequence
      const auto sample = inputs.find(std::string(decoder ? "sample.decoder." : "sample.encoder.") + std::to_string(i));
      x = layers[i](x, memory, sample == inputs.end() ? Tensor() : sample->second);
      if (i < distils.size()) x = distils[i](x);
    }
    return x;
  }

  bool skipped() const {  // LayerDrop (Fan et al., 2020, arXiv:1909.11556)
    const double p = decoder ? cfg.decoder_layerdrop : cfg.encoder_layerdrop;
    return is_training() && p > 0.0 && at::rand({}).item<double>() < p;
  }
};
ZOO_MODULE(Stack);

// ---- inputs ----

struct Scale {
  Tensor loc, scale;  // [B, 1, C]
};

// What the observed part of the context [B, T, C] is divided by: its mean absolute value, or moved and divided by its moments.
Scale scale_of(const Tensor& context, const Tensor& observed, const std::string& kind) {
  const Tensor count = observed.sum(1, true);
  if (kind == "none") return {at::zeros_like(count), at::ones_like(count)};
  const Tensor some = count.clamp_min(1.0);
  if (kind == "std") {
    const Tensor loc = (context * observed).sum(1, true) / some;
    const Tensor variance = ((context - loc) * observed).square().sum(1, true) / some;
    return {loc, at::sqrt(variance + 1e-5)};
  }
  const Tensor sum = (context * observed).abs().sum(1, true);
  const Tensor otherwise = sum.sum(0, true) / count.sum(0, true).clamp_min(1.0);  // the batch's, where nothing was observed
  return {at::zeros_like(sum), at::where(count > 0, sum / some, otherwise).clamp_min(1e-10)};
}

// [B, T, C] -> the last `steps` steps, each with its past: [B, steps, C * lags]; lag 0 after `shift` is the step itself.
Tensor lagged(const Tensor& series, int64_t steps, int64_t shift, const std::vector<int64_t>& lags) {
  std::vector<Tensor> parts;
  for (const int64_t lag : lags) {
    const int64_t end = series.size(1) - (lag - shift);
    parts.push_back(series.slice(1, end - steps, end));
  }
  return at::stack(parts, -1).flatten(2, 3);
}

// ---- the network ----

// Of a point's distribution of the scaled series, each [N, T, C]: Student-t df, loc, scale, where infinite df are a normal one; or
// negative binomial total_count, logits.
using Parameters = std::vector<Tensor>;

struct InformerForPrediction : Model {
  Config cfg;
  explicit InformerForPrediction(const Config& c) : cfg(c) {}
  std::vector<Embedding> embedders = add_n("model.embedder.embedders", cfg.num_static_categorical_features,
                                           [&](int64_t i) { return Embedding(cfg.cardinality[i], cfg.embedding_dimension[i]); });
  Stack encoder = add("model.encoder", Stack(cfg, false));
  Stack decoder = add("model.decoder", Stack(cfg, true));
  std::vector<Linear> heads = add_n("parameter_projection.proj", cfg.distribution_output == "student_t" ? 3 : 2, [&](int64_t) { return Linear(cfg.d_model, cfg.input_size); });

  Tensors forward(const Tensors& inputs) override {
    const Tensor& past = inputs.at("series");
    TORCH_CHECK_VALUE(past.size(1) == cfg.past_length() && past.size(2) == cfg.input_size, "informer_for_prediction: series is ",
                      past.sizes().slice(1), "; expected [", cfg.past_length(), ", ", cfg.input_size, "]: context_length ", cfg.context_length,
                      " and the longest lag, ", cfg.longest_lag(), ", by input_size");
    const auto observed = inputs.find("past_observed_mask");
    const Tensor seen = observed == inputs.end() ? at::ones_like(past) : observed->second.to(past.scalar_type()).reshape(past.sizes());
    const Scale scale = scale_of(past.slice(1, cfg.longest_lag()), seen.slice(1, cfg.longest_lag()), cfg.scaling);
    const Tensor steady = static_features(inputs, scale);
    const Tensor series = (past - scale.loc) / scale.scale;
    const Tensor tokens = with_features(lagged(series, cfg.context_length, 0, cfg.lags_sequence), steady,
                                        calendar(inputs, "series_time", cfg.past_length()).slice(1, cfg.longest_lag()));
    const Tensor memory = encoder(tokens, Tensor(), inputs);
    const Tensor future_time = calendar(inputs, "future_time", cfg.prediction_length);
    const Tensor future = known_future(inputs);
    if (future.defined()) return teacher_forced(at::cat({series, (future - scale.loc) / scale.scale}, 1), steady, future_time, memory, scale, inputs);
    return sampled(series, steady, future_time, memory, scale);
  }

  void init_weights() override {
    init_modules();  // batch norms
    init_transformers(*this, cfg.init_std);
    at::NoGradGuard no_grad;
    for (auto& distil : encoder->distils) {
      distil->weight.normal_(0.0, cfg.init_std);
      distil->bias.zero_();
    }
    for (auto* stack : {encoder.get(), decoder.get()}) stack->positions.copy_(half_sine_table(stack->positions.size(0), cfg.d_model));
  }

 private:
  // Sines in the left half, cosines in the right: not interleaved as in the paper.
  static Tensor half_sine_table(int64_t rows, int64_t width) {
    const Tensor column = at::arange(width, at::kDouble);
    const Tensor rate = at::pow(10000.0, at::floor_divide(column, 2) * 2 / static_cast<double>(width));
    const Tensor angle = at::arange(rows, at::kDouble).unsqueeze(1) / rate;  // [rows, width]
    return at::cat({angle.slice(1, 0, std::nullopt, 2).sin(), angle.slice(1, 1, std::nullopt, 2).cos()}, 1).to(at::kFloat);
  }

  Tensor known_future(const Tensors& inputs) const {  // [B, H, C] or undefined
    auto found = inputs.find("future_values");
    if (found == inputs.end() && is_training()) found = inputs.find("target");
    return found == inputs.end() ? Tensor() : found->second.reshape({-1, cfg.prediction_length, cfg.input_size});
  }

  Tensor calendar(const Tensors& inputs, const std::string& name, int64_t steps) const {  // [B, steps, F]
    if (cfg.calendar_columns() == 0) return at::zeros({inputs.at("series").size(0), steps, 0}, inputs.at("series").options());
    const auto found = inputs.find(name);
    TORCH_CHECK_VALUE(found != inputs.end(), "informer_for_prediction: input '", name, "' is missing; the network reads ",
                      cfg.calendar_columns(), " calendar features (give the data dates)");
    return found->second;
  }

  // Embedded categories, static numbers, log(1 + |loc|), log scale: [B, n], the same at every step.
  Tensor static_features(const Tensors& inputs, const Scale& scale) {
    std::vector<Tensor> parts;
    for (size_t i = 0; i < embedders.size(); ++i) parts.push_back(embedders[i](inputs.at("static_categorical_features").select(1, int64_t(i))));
    if (cfg.num_static_real_features > 0) parts.push_back(inputs.at("static_real_features"));
    parts.push_back(scale.loc.squeeze(1).abs().log1p());
    parts.push_back(scale.scale.squeeze(1).log());
    return at::cat(parts, 1);
  }

  static Tensor with_features(const Tensor& lags, const Tensor& steady, const Tensor& time) {  // -> [B, T, features]
    return at::cat({lags, steady.unsqueeze(1).expand({-1, lags.size(1), -1}), time}, 2);
  }

  Parameters parameters(const Tensor& hidden) {
    const auto squareplus = [](const Tensor& x) { return (x + at::sqrt(x.square() + 4.0)) / 2.0; };
    const auto width = [&](const Tensor& x) { return squareplus(x).clamp_min(std::numeric_limits<float>::epsilon()); };
    const Tensor first = heads[0](hidden), second = heads[1](hidden);
    if (counts()) return {squareplus(first), second};
    if (cfg.distribution_output == "normal") return {at::full_like(first, std::numeric_limits<double>::infinity()), first, width(second)};
    return {2.0 + squareplus(first), second, width(heads[2](hidden))};
  }
  bool counts() const { return cfg.distribution_output == "negative_binomial"; }

  Tensors teacher_forced(const Tensor& series, const Tensor& steady, const Tensor& time, const Tensor& memory, const Scale& scale,
                         const Tensors& inputs) {
    const Tensor tokens = with_features(lagged(series, cfg.prediction_length, 0, cfg.lags_sequence), steady, time);
    Parameters given = parameters(decoder(tokens, memory, inputs));
    for (auto& values : given) values = values.unsqueeze(-1);
    return outputs(given, scale);
  }

  // Path by path and step by step: what was drawn for a step is the next one's past.
  Tensors sampled(const Tensor& series, const Tensor& steady, const Tensor& time, const Tensor& memory, const Scale& scale) {
    const int64_t paths = cfg.num_parallel_samples, batch = series.size(0);
    const Tensor noise = counts() ? Tensor() : draw_noise(paths, series.options());  // [2, H, 1, paths, C]
    const Tensor steady_paths = steady.repeat_interleave(paths, 0), time_paths = time.repeat_interleave(paths, 0);
    Tensor grown = series.repeat_interleave(paths, 0);  // [B paths, T, C], a step longer in each round
    std::vector<std::vector<Tensor>> steps(counts() ? 2 : 3);
    for (int64_t step = 0; step < cfg.prediction_length; ++step) {
      const Tensor tokens = with_features(lagged(grown, step + 1, 1, cfg.lags_sequence), steady_paths, time_paths.slice(1, 0, step + 1));
      const Tensor last = decoder(tokens, memory, Tensors()).slice(1, step);  // [B paths, 1, D]
      const Parameters given = parameters(last);
      for (size_t i = 0; i < given.size(); ++i) steps[i].push_back(given[i].view({batch, paths, -1}));
      const Tensor drawn = counts() ? draw_counts(given, scale, batch, step) : draw(given, noise.select(1, step).expand({2, batch, paths, cfg.input_size}));
      grown = at::cat({grown, drawn}, 1);
    }
    Parameters all;
    for (const auto& values : steps) all.push_back(at::stack(values, 1).transpose(2, 3));  // [B, H, C, paths]
    return outputs(all, scale);
  }

  // Two uniform numbers per step, path and column: the same for every row of a batch, so that rows do not depend on each other.
  Tensor draw_noise(int64_t paths, const at::TensorOptions& options) const {
    const std::vector<int64_t> shape = {2, cfg.prediction_length, 1, paths, cfg.input_size};
    Tensor noise = at::empty(shape, at::kDouble);
    if (is_training()) noise.uniform_(1e-12, 1.0);
    else noise.uniform_(1e-12, 1.0, at::make_generator<at::CPUGeneratorImpl>(uint64_t{0}));
    return noise.to(options.device());
  }

  // A Student-t from two uniform numbers by Bailey's polar method (1994): cos(2 pi v) sqrt(df (u^(-2 / df) - 1)); with infinite df it
  // is Box and Muller's (1958) for a normal one.
  static Tensor draw(const Parameters& of, const Tensor& noise) {  // noise [2, B, paths, C] -> [B paths, 1, C]
    const at::NoGradGuard no_grad;
    const Tensor df = of[0].to(at::kDouble), log_u = noise[0].reshape(df.sizes()).log(), v = noise[1].reshape(df.sizes());
    const Tensor radius = at::where(df.isinf(), -2.0 * log_u, df * at::expm1(-2.0 / df * log_u));
    const Tensor standard = at::cos(2.0 * M_PI * v) * at::sqrt(radius);
    return of[1] + of[2] * standard.to(of[1].scalar_type());
  }

  // Negative binomial numbers in the series' own units as Poisson numbers of gamma rates, scaled like the series. Row by row, always
  // with the same seed in evaluation, so that rows do not depend on each other.
  Tensor draw_counts(const Parameters& of, const Scale& scale, int64_t batch, int64_t step) const {  // -> [B paths, 1, C]
    const at::NoGradGuard no_grad;
    const auto rows = [&](const Tensor& values) { return values.to(at::kCPU, at::kDouble).reshape({batch, -1, cfg.input_size}); };  // [B, paths, C]
    const Tensor by = rows(scale.scale), odds = rows(of[1]).exp() * by, failures = rows(of[0]);
    std::vector<Tensor> drawn;
    for (int64_t row = 0; row < batch; ++row) {
      const auto generator = is_training() ? at::Generator() : at::make_generator<at::CPUGeneratorImpl>(static_cast<uint64_t>(step));
      const auto chosen = is_training() ? std::nullopt : std::optional(generator);
      drawn.push_back(at::poisson(at::_standard_gamma(failures[row], chosen) * odds[row], chosen));
    }
    return ((at::stack(drawn) - rows(scale.loc)) / by).reshape(of[0].sizes()).to(of[0].options());
  }

  // [B, H, C, K] of the scaled series -> the series' own units.
  Tensors outputs(const Parameters& of, const Scale& scale) const {
    const Tensor by = scale.scale.unsqueeze(-1), from = scale.loc.unsqueeze(-1);  // [B, 1, C, 1]
    const Tensor weight = at::full(of[0].sizes(), 1.0 / static_cast<double>(of[0].size(-1)), of[0].options());
    Tensors result;
    if (counts()) {  // their distribution cannot be moved: the odds grow by the scale, and the loc has no say
      const NegativeBinomialMixture mixture{weight, of[0], of[1] + by.log()};
      mixture.into(result);
      result["forecast"] = mixture.mean();
      return result;
    }
    const bool normal = cfg.distribution_output == "normal";
    const StudentTMixture mixture{weight, normal ? Tensor() : of[0], of[1] * by + from, of[2] * by};
    mixture.into(result);
    result["forecast"] = mixture.loc.mean(-1);  // the mean of a Student-t with more than one degree of freedom is its place
    return result;
  }
};

Entry entry() {
  return {"informer_for_prediction",
          [](const Json& json) -> std::shared_ptr<Model> {
            return std::make_shared<InformerForPrediction>(read_config<Config>("informer_for_prediction", json));
          },
          [](const Json& json) -> std::vector<InputSpec> {
            const auto config = read_config<Config>("informer_for_prediction", json);
            const auto text = [](int64_t value) { return std::to_string(value); };
            std::vector<InputSpec> specs = {{"series", {"B", text(config.past_length()), text(config.input_size)}}};
            if (config.calendar_columns() > 0) {
              specs.push_back({"series_time", {"B", text(config.past_length()), text(config.calendar_columns())}, "float32", -0.5, 0.5});
              specs.push_back({"future_time", {"B", text(config.prediction_length), text(config.calendar_columns())}, "float32", -0.5, 0.5});
            }
            if (config.num_static_categorical_features > 0) {
              const auto fewest = *std::min_element(config.cardinality.begin(), config.cardinality.end());
              specs.push_back({"static_categorical_features", {"B", text(config.num_static_categorical_features)}, "int64", 0, double(fewest)});
            }
            if (config.num_static_real_features > 0) specs.push_back({"static_real_features", {"B", text(config.num_static_real_features)}});
            return specs;
          }};
}

}  // namespace zoo::informer_for_prediction
