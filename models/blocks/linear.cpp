#include "models/blocks/linear.h"

#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <mutex>

#include "models/blocks/gpu_training.h"
#include "models/blocks/onednn.h"

namespace zoo {
namespace linear_detail {

bool float_on_cpu(const Tensor& x, const Tensor& weight) {
  return x.device().is_cpu() && x.scalar_type() == at::kFloat && weight.scalar_type() == at::kFloat && x.numel() > 0;
}

// Rows from which on laying out a weight for one product is worth it: it costs as much as ten of them.
constexpr int64_t kRowsForPanels = 128;

bool by_panels(int64_t rows) { return panels_wanted() && rows >= kRowsForPanels; }

Tensor multiply(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  return by_panels(x.numel() / x.size(-1)) ? multiply_once(x, weight, bias) : onednn::linear(x, weight, bias);
}

// a^T b for a [N, out], b [N, in]: the gradient of a weight.
Tensor transposed_product(const Tensor& a, const Tensor& b) {
  if (!by_panels(a.size(1))) return at::mm(a.t(), b);
  const Tensor turned = at::empty({a.size(1), a.size(0)}, a.options()), dense = a.contiguous();
  transpose(dense.const_data_ptr<float>(), a.size(0), a.size(1), turned.mutable_data_ptr<float>());
  return multiply_once(turned, b.t(), Tensor());
}

// The operator has no derivative of its own: forward and the input's gradient are linears again.
struct Function : torch::autograd::Function<Function> {
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& x, const Tensor& weight,
                        const std::optional<Tensor>& bias) {
    context->save_for_backward({x, weight});
    context->saved_data["bias"] = bias.has_value();
    at::AutoDispatchBelowADInplaceOrView below;
    return multiply(x, weight, bias.value_or(Tensor()));
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list grads) {
    const auto saved = context->get_saved_variables();
    const auto& x = saved[0];
    const auto& weight = saved[1];
    const Tensor grad = grads[0].contiguous();
    const Tensor rows = grad.reshape({-1, grad.size(-1)});  // [N, out]
    Tensor to_x, to_weight, to_bias;
    if (context->needs_input_grad(0)) to_x = multiply(grad, weight.t(), Tensor());
    if (context->needs_input_grad(1)) to_weight = transposed_product(rows, x.reshape({-1, x.size(-1)}));
    if (context->saved_data["bias"].toBool() && context->needs_input_grad(2)) to_bias = rows.sum(0);
    return {to_x, to_weight, to_bias};
  }
};

}  // namespace linear_detail

bool packed_takes(const PackedWeight& packed, const Tensor& x, int64_t out, const Tensor& residual) {
  const auto plain = [](const Tensor& t) { return t.device().is_cpu() && t.scalar_type() == at::kFloat; };
  const bool half = x.device().is_cpu() && x.scalar_type() == at::kBFloat16 && packed.halves();
  if (at::GradMode::is_enabled() || !(plain(x) || half) || x.numel() == 0) return false;
  return !residual.defined() || (plain(residual) && residual.size(-1) == out && residual.numel() == x.numel() / x.size(-1) * out);
}

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  namespace d = linear_detail;
  const auto offset = bias.defined() ? std::optional<Tensor>(bias) : std::nullopt;
  if (const Tensor y = gpu_linear(x, weight, bias, Pointwise::none, Tensor()); y.defined()) return y;
  if (bias.defined() && bias.requires_grad()) {
    if (const Tensor y = trained_linear(x, {{{weight, bias}, {}, {}}}, /*gelu=*/false)[0]; y.defined()) return y;
  }
  if (!onednn::preferred() || !d::float_on_cpu(x, weight)) return at::linear(x, weight, offset);
  if (!at::GradMode::is_enabled()) return d::multiply(x, weight, bias);
  return d::Function::apply(x, weight, offset);
}

LinearImpl::LinearImpl(int64_t in_features, int64_t out_features, bool with_bias) {
  weight = param("weight", {out_features, in_features});
  if (with_bias) bias = param("bias", {out_features});
}

void LinearImpl::init() {
  const double bound = 1.0 / std::sqrt(static_cast<double>(weight.size(1)));
  at::NoGradGuard no_grad;
  weight.uniform_(-bound, bound);
  if (bias.defined()) bias.uniform_(-bound, bound);
}

struct LinearLayer::Joined {
  std::once_flag once;
  std::array<LinearLayer*, 3> of;  // whose weights were copied
  Tensor weight, bias;             // [3 out, in], [3 out] or undefined; no weight: the three differ in shape
  void copy(const std::array<LinearLayer*, 3>& layers);
};

void LinearLayer::Joined::copy(const std::array<LinearLayer*, 3>& layers) {
  of = layers;
  std::array<Tensor, 3> weights, biases;
  for (size_t i = 0; i < 3; ++i) {
    weights[i] = layers[i]->outputs_first();
    biases[i] = layers[i]->bias;
    if (weights[i].sizes() != weights[0].sizes() || weights[i].scalar_type() != weights[0].scalar_type() || biases[i].defined() != biases[0].defined()) return;
  }
  weight = at::cat(at::TensorList(weights));
  if (biases[0].defined()) bias = at::cat(at::TensorList(biases));
}

bool LinearLayer::pack(Precision precision) {
  if (weight.is_cuda() && at::isReducedFloatingType(weight.scalar_type())) joined_ = std::make_shared<Joined>();
  packed_ = pack_weight(outputs_first(), bias, precision);
  return packed_ != nullptr;
}

Tensor LinearLayer::forward(const Tensor& x) {
  const Tensor w = outputs_first();
  const bool by_packed = packed_ && packed_takes(*packed_, x, w.size(0), Tensor());
  if (by_packed && adapters().empty()) return packed_->multiply(x, bias, Pointwise::none, Tensor());
  // What a product left in bfloat16 for this layer.
  const Tensor own = packed_ && x.scalar_type() == at::kBFloat16 ? x.to(w.scalar_type()) : x;
  return adapted(by_packed ? packed_->multiply(own, bias, Pointwise::none, Tensor()) : linear(own, w, bias), own);
}

Tensor LinearLayer::fused(const Tensor& x, Pointwise after, const Tensor& residual) {
  if (!adapters().empty()) return {};
  if (!packed_) {
    if (const Tensor y = gpu_linear(x, outputs_first(), bias, after, residual); y.defined()) return y;
    if (after != Pointwise::gelu || residual.defined() || !bias.defined()) return {};
    return trained_linear(x, {{{outputs_first(), bias}, {}, {}}}, /*gelu=*/true)[0];
  }
  return packed_takes(*packed_, x, outputs_first().size(0), residual) ? packed_->multiply(x, bias, after, residual) : Tensor();
}

Tensor LinearLayer::fused_for_product(const Tensor& x, Pointwise after) {
  if (!adapters().empty() || !packed_ || !packed_takes(*packed_, x, outputs_first().size(0), Tensor())) return {};
  return packed_->multiply_for_product(x, bias, after);
}

bool LinearLayer::takes_half() const { return packed_ && packed_->halves() && adapters().empty() && !at::GradMode::is_enabled(); }

std::array<Tensor, 3> LinearLayer::together(const std::array<LinearLayer*, 3>& layers, const Tensor& x, bool for_product) {
  std::array<LinearWeight, 3> weights;
  std::array<const PackedWeight*, 3> packed;
  for (size_t i = 0; i < 3; ++i) {
    if (!layers[i]->adapters().empty()) return {};
    weights[i] = {layers[i]->outputs_first(), layers[i]->bias};
    packed[i] = layers[i]->packed_.get();
  }
  if (packed[0] && packed_takes(*packed[0], x, 0, Tensor())) return packed[0]->multiply_together(packed, {weights[0].bias, weights[1].bias, weights[2].bias}, x, for_product);
  if (const auto few = gpu_linear(x, weights); few[0].defined()) return few;
  if (const auto many = joined(layers, x); many[0].defined()) return many;
  return trained_linear(x, weights, /*gelu=*/false);
}

std::array<Tensor, 3> LinearLayer::joined(const std::array<LinearLayer*, 3>& layers, const Tensor& x) {
  Joined* const joined = layers[0]->joined_.get();
  if (!joined || at::GradMode::is_enabled() || !x.is_cuda() || x.scalar_type() != layers[0]->weight.scalar_type()) return {};
  std::call_once(joined->once, [&] { joined->copy(layers); });
  if (!joined->weight.defined() || joined->of != layers) return {};
  const Tensor y = at::linear(x, joined->weight, joined->bias.defined() ? std::optional<Tensor>(joined->bias) : std::nullopt);
  const int64_t out = joined->weight.size(0) / 3;
  return {y.narrow(-1, 0, out), y.narrow(-1, out, out), y.narrow(-1, 2 * out, out)};
}

Tensor LinearLayer::product(const Tensor& x, const Tensor& other) { return linear(x, other, Tensor()); }
Tensor LinearLayer::mix_channels(const Tensor& x, const Tensor& other, const Tensor& with) { return linear(x, other, with); }

TiedLinearImpl::TiedLinearImpl(const Tensor& other_weight, const Tensor& other_bias) : weight(other_weight), bias(other_bias) {
  tie("weight", weight);
  if (bias.defined()) tie("bias", bias);
}

bool TiedLinearImpl::pack(Precision precision) {
  packed_ = pack_weight(weight, bias, precision);
  return packed_ != nullptr;
}

Tensor TiedLinearImpl::forward(const Tensor& x) {
  return packed_ && packed_takes(*packed_, x, weight.size(0), Tensor()) ? packed_->multiply(x, bias, Pointwise::none, Tensor()) : linear(x, weight, bias);
}

Tensor normed_for_product(LayerNorm& norm, const Tensor& x, const LinearLayer& reader, const Tensor& order) {
  if (!Trace::active()) return norm->rows(x, reader.takes_half(), order);
  const Tensor y = norm(x);  // which the trace sees
  return order.defined() ? y.index_select(1, order) : y;
}

Pointwise pointwise_of(const std::string& activation) {
  if (activation == "gelu") return Pointwise::gelu;
  if (activation == "gelu_new" || activation == "gelu_pytorch_tanh") return Pointwise::gelu_tanh;
  if (activation == "quick_gelu") return Pointwise::quick_gelu;
  if (activation == "relu") return Pointwise::relu;
  if (activation == "silu" || activation == "swish") return Pointwise::silu;
  return activation == "tanh" ? Pointwise::tanh : Pointwise::none;
}

Tensor activated_apart(const Tensor& y, const std::string& name) { return activation(name)(y); }

std::string linear_kernel_name() {
  return std::string(onednn::preferred() ? "oneDNN" : "at::linear") + ", for inference " + packed_kernel_name(Precision::float32);
}

}  // namespace zoo
