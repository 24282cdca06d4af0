// The two networks of "Towards Neural Scaling Laws for Time Series Foundation Models" (Yao et al., 2025, arXiv:2410.12360).
// A series is cut into patches; a pre-norm transformer (RMSNorm, normed queries and keys, rotary on half of each head, gated
// feed-forward) gives each patch a mixture of Student-t. Encoder-only: the horizon's patches are masked. Decoder-only: next patch.
// Reference: github.com/Qingrenn/TSFM-ScalingLaws @ d157a26, tsfm/model/{encoder,decoder}/{module,forecast}.py.
// Without prediction_length this is the reference's BasicModule, on packed patches. With it, `series` is packed as the
// reference's Forecast classes do: the encoder sees all variates as one sequence, the decoder one variate at a time.
// Differences: `forecast` is the mixture's mean, which the decoder also feeds back (the reference: the median of 100 samples);
// attention dropout stops in eval mode; covariates known for the future are not read.
#include "models/blocks/attention.h"
#include "models/blocks/layers.h"
#include "models/blocks/linear.h"
#include "models/blocks/student_t_mixture.h"
#include "models/config.h"
#include "models/model.h"

#include <limits>

namespace zoo::tsfm_scaling_laws {

const std::vector<std::string> kArchitectures = {"TransformerEncoderForecast", "TransformerDecoderForecast",
                                                 "TransformerEncoderPretrain", "TransformerDecoderPretrain"};

struct Config {
  std::string architecture = kArchitectures.front();
  int64_t d_model = 384, num_layers = 8, num_heads = 0, patch_size = 32, max_seq_len = 512, components = 4;
  double attn_dropout_p = 0.0, dropout_p = 0.0;
  bool scaling = true;
  int64_t context_length = 0, prediction_length = 0;  // of `series`, in steps; 0: packed patches
  int64_t input_dim = 1, target_dim = 0;              // columns of `series`; how many of them, at the end, are forecast

  bool decoder() const { return architecture.find("Decoder") != std::string::npos; }
  bool packed() const { return prediction_length == 0; }
  int64_t head_dim() const { return d_model / num_heads; }
  int64_t rotary() const { return head_dim() / 2; }
  int64_t ffn() const { return (4 * d_model * 2 / 3 + 7) / 8 * 8; }
  int64_t patches(int64_t steps) const { return (steps + patch_size - 1) / patch_size; }

  // The reference's configs describe the head as a tree of class names; only mixtures of Student-t are published.
  void read_head(Fields& f) {
    f.ignored({"distr_output"});
    const auto head = f.json().find("distr_output");
    if (head == f.json().end()) return;
    const auto is = [](const Json& node, const char* name) {
      const auto target = node.is_object() ? node.value("_target_", Json()) : Json();
      return target.is_string() && target.get<std::string>().ends_with(name);
    };
    bool known = is(*head, "MixtureOutput") && head->contains("components") && head->at("components").is_array();
    if (known) {
      components = static_cast<int64_t>(head->at("components").size());
      for (const auto& part : head->at("components")) known = known && is(part, "StudentTOutput");
    }
    f.require(known && components >= 1 && components <= 64,
              "distr_output is not a MixtureOutput of 1 to 64 StudentTOutput, the only head this network implements");
  }

  void fields(Fields& f) {
    architecture = architecture_of("tsfm_scaling_laws", f.json(), architecture, kArchitectures);
    f.size("d_model", d_model);
    f.depth("num_layers", num_layers);
    if (num_heads == 0) num_heads = std::max<int64_t>(1, d_model / 64);
    f.optional_size("num_heads", num_heads);
    f.size("patch_size", patch_size);
    f.size("max_seq_len", max_seq_len);  // the reference's rotary tables grow beyond it, so it limits nothing
    f.probability("attn_dropout_p", attn_dropout_p);
    f.probability("dropout_p", dropout_p);
    f.flag("scaling", scaling);
    read_head(f);
    f.count("context_length", context_length);
    f.count("prediction_length", prediction_length);
    f.size("input_dim", input_dim);
    if (target_dim == 0) target_dim = input_dim;
    f.size("target_dim", target_dim);
    f.fixed("feat_dynamic_real_dim", 0);
    f.ignored({"past_feat_dynamic_real_dim", "num_samples"});
    f.require(d_model % num_heads == 0 && rotary() % 2 == 0 && rotary() > 0,
              "d_model " + std::to_string(d_model) + " over num_heads " + std::to_string(num_heads) +
                  " must give heads whose half is an even width (rotary positions turn pairs)");
    f.require(packed() || context_length > 0, "context_length is 0; a forecast needs a lookback");
    f.require(target_dim <= input_dim, "target_dim " + std::to_string(target_dim) + " is more than input_dim " + std::to_string(input_dim));
  }
};

// x / rms(x) * weight over the last axis (Zhang & Sennrich, 2019).
struct RmsNormImpl : Module {
  explicit RmsNormImpl(int64_t width) : weight(param("weight", {width})) {}
  Tensor weight;
  Tensor forward(const Tensor& x) {
    return x * at::rsqrt(x.to(at::kFloat).square().mean(-1, /*keepdim=*/true) + 1e-5).to(x.scalar_type()) * weight;
  }
  void init() override { weight.detach().fill_(1.0); }
};
ZOO_MODULE(RmsNorm);

// What the network reads: patches of several series in one row (Woo et al., 2024, section 3.1).
struct Packed {
  Tensor target, observed;         // [B, T, P] float32, bool
  Tensor sample, time, variate;    // [B, T] int64; sample 0 is padding
  Tensor predicted;                // [B, T] bool: patches of the horizon
};

// Mean and deviation of each variate of each sample over what is observed and not to be predicted, in double.
struct ScalerImpl : Module {
  bool active;
  explicit ScalerImpl(bool on) : active(on) {}

  std::pair<Tensor, Tensor> forward(const Packed& in) {  // 2 x [B, T, 1]
    const Tensor x = in.target.to(at::kDouble);
    if (!active) return {at::zeros_like(in.target), at::ones_like(in.target)};
    const Tensor seen = at::logical_and(in.observed, in.predicted.unsqueeze(-1).logical_not()).to(at::kDouble);
    const auto same = [](const Tensor& id) { return id.unsqueeze(-1) == id.unsqueeze(-2); };
    const Tensor group = at::logical_and(same(in.sample), same(in.variate)).to(at::kDouble);          // [B, T, T]
    const auto total = [&](const Tensor& value) { return group.matmul((value * seen).sum(-1, true)); };  // [B, T, 1]
    const auto divide = [](const Tensor& a, const Tensor& b) { return a / at::where(b == 0, at::ones_like(b), b); };
    const Tensor count = group.matmul(seen.sum(-1, true));
    const Tensor mean = divide(total(x), count);
    const Tensor scale = at::sqrt(divide(total((x - mean).square()), count - 1.0) + 1e-5);
    const Tensor padding = (in.sample == 0).unsqueeze(-1);
    return {mean.masked_fill(padding, 0.0).to(at::kFloat), scale.masked_fill(padding, 1.0).to(at::kFloat)};
  }
};
ZOO_MODULE(Scaler);

// cos and sin [B, 1, T, width] of time * 10000^(-2i/width), each angle twice: neighbours form a pair.
std::pair<Tensor, Tensor> rotations(const Tensor& time, int64_t width, at::ScalarType type) {
  const Tensor even = at::arange(0, width, 2, time.options().dtype(at::kFloat)) / static_cast<double>(width);
  const Tensor theta = 1.0 / at::pow(at::Scalar(10000.0), even);
  const Tensor angle = (time.to(at::kFloat).unsqueeze(-1) * theta).repeat_interleave(2, -1).unsqueeze(1);
  return {angle.cos().to(type), angle.sin().to(type)};
}

// Turns the first `width` columns of x [B, heads, T, d]; the others stay.
Tensor rotate(const Tensor& x, const std::pair<Tensor, Tensor>& turn, int64_t width) {
  const Tensor part = x.slice(-1, 0, width);
  const Tensor pairs = part.unflatten(-1, {width / 2, 2});
  const Tensor crossed = at::stack({-pairs.select(-1, 1), pairs.select(-1, 0)}, -1).flatten(-2);
  return at::cat({turn.first * part + turn.second * crossed, x.slice(-1, width)}, -1);
}

struct SelfAttentionImpl : Module {
  Config cfg;
  explicit SelfAttentionImpl(const Config& c) : cfg(c) {}
  Linear q_proj = add("q_proj", Linear(cfg.d_model, cfg.d_model, /*with_bias=*/false));
  Linear k_proj = add("k_proj", Linear(cfg.d_model, cfg.d_model, /*with_bias=*/false));
  Linear v_proj = add("v_proj", Linear(cfg.d_model, cfg.d_model, /*with_bias=*/false));
  RmsNorm q_norm = add("q_norm", RmsNorm(cfg.head_dim()));
  RmsNorm k_norm = add("k_norm", RmsNorm(cfg.head_dim()));
  Linear out_proj = add("out_proj", Linear(cfg.d_model, cfg.d_model, /*with_bias=*/false));

  Tensor forward(const Tensor& x, const Tensor& mask, const std::pair<Tensor, Tensor>& turn) {
    // The reference norms [B, heads, 1, T, d]: its axis of heads per group, of which there is always one.
    const auto normed = [&](RmsNorm& by, const Tensor& y) { return by(split_heads(y, cfg.num_heads).unsqueeze(2)).squeeze(2); };
    const Tensor q = rotate(normed(q_norm, q_proj(x)), turn, cfg.rotary());
    const Tensor k = rotate(normed(k_norm, k_proj(x)), turn, cfg.rotary());
    const Tensor v = split_heads(v_proj(x), cfg.num_heads);
    return out_proj(merge_heads(attention(q, k, v, mask, is_training() ? cfg.attn_dropout_p : 0.0)));
  }
};
ZOO_MODULE(SelfAttention);

struct FeedForwardImpl : Module {
  Config cfg;
  explicit FeedForwardImpl(const Config& c) : cfg(c) {}
  Linear fc1 = add("fc1", Linear(cfg.d_model, cfg.ffn(), /*with_bias=*/false));
  Linear fc2 = add("fc2", Linear(cfg.ffn(), cfg.d_model, /*with_bias=*/false));
  Linear fc_gate = add("fc_gate", Linear(cfg.d_model, cfg.ffn(), /*with_bias=*/false));

  Tensor forward(const Tensor& x) {
    const Tensor inner = at::silu(fc_gate(x)) * fc1(x);
    return at::dropout(fc2(at::dropout(inner, cfg.dropout_p, is_training())), cfg.dropout_p, is_training());
  }
};
ZOO_MODULE(FeedForward);

struct LayerImpl : Module {
  Config cfg;
  explicit LayerImpl(const Config& c) : cfg(c) {}
  SelfAttention self_attn = add("self_attn", SelfAttention(cfg));
  FeedForward feed = add("ffn", FeedForward(cfg));
  RmsNorm norm1 = add("norm1", RmsNorm(cfg.d_model));
  RmsNorm norm2 = add("norm2", RmsNorm(cfg.d_model));

  Tensor forward(Tensor x, const Tensor& mask, const std::pair<Tensor, Tensor>& turn) {  // [B, T, D]
    x = x + at::dropout(self_attn(norm1(x), mask, turn), cfg.dropout_p, is_training());
    return x + feed(norm2(x));
  }
};
ZOO_MODULE(Layer);

// The four parameters of each component at each step of a patch.
struct HeadImpl : Module {
  Config cfg;
  explicit HeadImpl(const Config& c) : cfg(c) {}
  Linear logits = add("proj.weights_logits", Linear(cfg.d_model, cfg.components * cfg.patch_size));
  std::vector<Linear> df = parts("df"), loc = parts("loc"), scale = parts("scale");

  std::vector<Linear> parts(const std::string& name) {
    std::vector<Linear> made;
    for (int64_t i = 0; i < cfg.components; ++i) {
      made.push_back(add("proj.components." + std::to_string(i) + "." + name, Linear(cfg.d_model, cfg.patch_size)));
    }
    return made;
  }
  static Tensor stacked(std::vector<Linear>& layers, const Tensor& x) {  // [B, T, P, K]
    std::vector<Tensor> columns;
    for (auto& layer : layers) columns.push_back(layer(x));
    return at::stack(columns, -1);
  }

  std::tuple<Tensor, Tensor, Tensor, Tensor> forward(const Tensor& x) {  // [B, T, D] -> 4 x [B, T, P, K]
    const Tensor weights = logits(x).unflatten(-1, {cfg.components, cfg.patch_size}).transpose(-1, -2);
    return {weights, 2.0 + at::softplus(stacked(df, x)), stacked(loc, x),
            at::softplus(stacked(scale, x)).clamp_min(std::numeric_limits<float>::epsilon())};
  }
};
ZOO_MODULE(Head);

struct ScalingLawsModel : Model {
  Config cfg;
  explicit ScalingLawsModel(const Config& c) : cfg(c) {
    if (!cfg.decoder()) mask_encoding = add("mask_encoding", Embedding(1, cfg.d_model));
  }
  Embedding mask_encoding{nullptr};
  Scaler scaler = add("scaler", Scaler(cfg.scaling));
  Linear in_proj = add("in_proj", Linear(cfg.patch_size, cfg.d_model));
  std::vector<Layer> layers = add_n("encoder.layers", cfg.num_layers, [this](int64_t) { return Layer(cfg); });
  RmsNorm norm = add("encoder.norm", RmsNorm(cfg.d_model));
  Head head = add("param_proj", Head(cfg));

  // The density of each patch's steps (the encoder's own patch, the decoder's next one), in the units of the target.
  StudentTMixture density(const Packed& in) {
    const auto [loc, scale] = scaler(in);
    const at::ScalarType type = norm->weight.scalar_type();
    Tensor x = in_proj(((in.target - loc) / scale).to(type));  // [B, T, D]; the density itself is in float32
    if (!cfg.decoder()) x = at::where(in.predicted.unsqueeze(-1), mask_encoding->weight, x);
    Tensor mask = (in.sample.unsqueeze(-1) == in.sample.unsqueeze(-2)).unsqueeze(1);  // [B, 1, T, T]
    if (cfg.decoder()) mask = mask.tril();
    else if (mask.device().is_cpu() && mask.all().item<bool>()) mask = Tensor();  // faster without
    const auto turn = rotations(in.time, cfg.rotary(), type);
    for (auto& layer : layers) x = layer(x, mask, turn);
    const auto [logits, df, mean, width] = head(mark("encoder", norm(x)));
    const Tensor by = scale.unsqueeze(-1);
    return {at::softmax(logits, -1, at::kFloat), df.to(at::kFloat), mean * by + loc.unsqueeze(-1), width * by};
  }

  Tensors forward(const Tensors& inputs) override {
    const bool packed = cfg.packed() || !inputs.count("series");
    const StudentTMixture mixture = packed ? density(packed_inputs(inputs)) : cfg.decoder() ? decode(inputs) : encode(inputs);
    Tensors outputs = {{packed ? "mean" : "forecast", mixture.mean()}};
    mixture.into(outputs);
    return outputs;
  }

 private:
  static Packed packed_inputs(const Tensors& inputs) {
    const auto flag = [&](const char* name) { return inputs.at(name).to(at::kBool); };
    return {inputs.at("target"), flag("observed_mask"), inputs.at("sample_id"), inputs.at("time_id"), inputs.at("variate_id"),
            flag("prediction_mask")};
  }

  void check(const Tensor& series) const {
    TORCH_CHECK_VALUE(series.dim() == 3 && series.size(1) == cfg.context_length && series.size(2) == cfg.input_dim,
                      "tsfm_scaling_laws: series is ", series.sizes(), "; expected [B, ", cfg.context_length, ", ", cfg.input_dim,
                      "] (context_length, input_dim)");
  }

  // steps [B, S, C], zeros in front (`before`) or behind up to whole patches -> [B, C * n, P], variate by variate
  Tensor cut(const Tensor& steps, bool before) const {
    const int64_t n = cfg.patches(steps.size(1)), pad = n * cfg.patch_size - steps.size(1);
    const Tensor whole = at::constant_pad_nd(steps, {0, 0, before ? pad : 0, before ? 0 : pad});
    return whole.unflatten(1, {n, cfg.patch_size}).permute({0, 3, 1, 2}).flatten(1, 2);
  }

  // `past` [B, L, C] and what is given of the future [B, S, C], as one row of patches per sample; the last `extra` variates
  // of the past have no future.
  Packed pack(const Tensor& past, const Tensor& future, const Tensor& extra) const {
    const auto ids = past.options().dtype(at::kLong);
    const int64_t n = cfg.patches(past.size(1)), m = cfg.patches(future.size(1)), c = past.size(2), e = extra.size(2);
    const auto each = [&](int64_t count, int64_t from) { return at::arange(from, from + count, ids); };
    Packed in;
    in.target = at::cat({cut(past, true), cut(future, false), cut(extra, true)}, 1);
    const auto ones = [](const Tensor& x) { return at::ones_like(x, at::kBool); };
    in.observed = at::cat({cut(ones(past), true), cut(ones(future), false), cut(ones(extra), true)}, 1);
    const int64_t rows = past.size(0), length = in.target.size(1);
    in.sample = at::ones({rows, length}, ids);
    in.time = at::cat({each(n, 0).repeat({c}), each(m, n).repeat({c}), each(n, 0).repeat({e})}).expand({rows, -1});
    in.variate = at::cat({each(c, 0).repeat_interleave(n), each(c, 0).repeat_interleave(m), each(e, c).repeat_interleave(n)}).expand({rows, -1});
    const auto place = at::arange(length, ids);
    in.predicted = at::logical_and(place >= c * n, place < c * (n + m)).expand({rows, -1});
    return in;
  }

  // patches [B, C * m, P, K] of the horizon -> [B, H, C, K]
  Tensor steps(const Tensor& patches, int64_t c) const {
    return patches.unflatten(1, {c, -1}).permute({0, 2, 3, 1, 4}).flatten(1, 2).slice(1, 0, cfg.prediction_length);
  }

  StudentTMixture encode(const Tensors& inputs) {
    const Tensor& series = inputs.at("series");
    check(series);
    const int64_t others = cfg.input_dim - cfg.target_dim, c = cfg.target_dim;
    const Tensor past = series.slice(2, others), extra = series.slice(2, 0, others);
    const StudentTMixture all = density(pack(past, at::zeros({past.size(0), cfg.prediction_length, c}, past.options()), extra));
    const int64_t from = c * cfg.patches(cfg.context_length), to = from + c * cfg.patches(cfg.prediction_length);
    const auto horizon = [&](const Tensor& x) { return steps(x.slice(1, from, to), c); };
    return {horizon(all.weight), horizon(all.df), horizon(all.loc), horizon(all.scale)};
  }

  // Patch by patch, the mean of one fed in for the next. In training a known `target` is fed instead, in one pass.
  StudentTMixture decode(const Tensors& inputs) {
    check(inputs.at("series"));
    const Tensor series = inputs.at("series").slice(2, cfg.input_dim - cfg.target_dim);  // [B, L, Ct]
    const auto rows = [](const Tensor& x) { return x.transpose(1, 2).flatten(0, 1).unsqueeze(-1); };  // [B * Ct, S, 1]
    const Tensor past = rows(series), none = past.slice(2, 0, 0);
    const int64_t n = cfg.patches(cfg.context_length), m = cfg.patches(cfg.prediction_length);
    const auto target = inputs.find("target");
    const bool forced = is_training() && target != inputs.end() && target->second.dim() == 3 &&
                        target->second.size(1) == cfg.prediction_length && target->second.size(2) == cfg.target_dim;
    Tensor future = forced ? rows(target->second).slice(1, 0, (m - 1) * cfg.patch_size) : past.slice(1, 0, 0);
    std::vector<StudentTMixture> found;
    for (int64_t i = forced ? m - 1 : 0; i < m; ++i) {
      const StudentTMixture all = density(pack(past, future, none));
      const auto last = [&](const Tensor& x) { return x.slice(1, forced ? n - 1 : n - 1 + i); };
      found.push_back({last(all.weight), last(all.df), last(all.loc), last(all.scale)});
      if (i + 1 < m) future = at::cat({future, found.back().mean().detach().transpose(1, 2)}, 1);
    }
    const auto horizon = [&](Tensor StudentTMixture::*part) {
      std::vector<Tensor> patches;
      for (const auto& one : found) patches.push_back(one.*part);
      return steps(at::cat(patches, 1).unflatten(0, {-1, cfg.target_dim}).flatten(1, 2), cfg.target_dim);
    };
    return {horizon(&StudentTMixture::weight), horizon(&StudentTMixture::df), horizon(&StudentTMixture::loc), horizon(&StudentTMixture::scale)};
  }
};

Entry entry() {
  return {"tsfm_scaling_laws",
          [](const Json& json) -> std::shared_ptr<Model> {
            return std::make_shared<ScalingLawsModel>(read_config<Config>("tsfm_scaling_laws", json));
          },
          [](const Json& json) -> std::vector<InputSpec> {
            const auto config = read_config<Config>("tsfm_scaling_laws", json);
            if (!config.packed()) return {{"series", {"B", std::to_string(config.context_length), std::to_string(config.input_dim)}}};
            const auto patch = std::to_string(config.patch_size);
            return {{"target", {"B", "T", patch}},
                    {"observed_mask", {"B", "T", patch}, "bool"},
                    {"sample_id", {"B", "T"}, "int64", 1, 2},
                    {"time_id", {"B", "T"}, "int64", 0, 16},
                    {"variate_id", {"B", "T"}, "int64", 0, 2},
                    {"prediction_mask", {"B", "T"}, "bool"}};
          }};
}

}  // namespace zoo::tsfm_scaling_laws
