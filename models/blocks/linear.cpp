#include "models/blocks/linear.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <fstream>

namespace zoo {
namespace linear_detail {

using Pointwise = Tensor(const Tensor&, const Tensor&, const std::optional<Tensor>&, c10::string_view,
                         c10::List<std::optional<at::Scalar>>, std::optional<c10::string_view>);
using Reorder = Tensor(const Tensor&, std::optional<int64_t>);

// MKL recognises Intel's processors only; elsewhere it falls back to kernels without AVX-512, and to some whose last bit
// depends on how the weights lie in memory: a network would differ from itself after saving and loading.
bool mkl_is_slow() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    if (line.rfind("vendor_id", 0) == 0) return line.find("GenuineIntel") == std::string::npos;
  }
  return false;
}

template <class Signature>
std::optional<c10::TypedOperatorHandle<Signature>> find_operator(const char* name) {
  const auto schema = c10::Dispatcher::singleton().findSchema({name, ""});
  if (!schema) return std::nullopt;
  try {
    return schema->typed<Signature>();
  } catch (const c10::Error&) {  // another LibTorch gave the operator another signature
    return std::nullopt;
  }
}

struct Kernels {
  std::optional<c10::TypedOperatorHandle<Pointwise>> pointwise;
  std::optional<c10::TypedOperatorHandle<Reorder>> reorder;
};

const Kernels& kernels() {
  static const Kernels found = [] {
    Kernels k;
    k.pointwise = find_operator<Pointwise>("mkldnn::_linear_pointwise");
    k.reorder = find_operator<Reorder>("mkldnn::_reorder_linear_weight");
    return k;
  }();
  return found;
}

// Whether plain (unpacked) weights go to oneDNN. ZOO_LINEAR_KERNEL=onednn|aten overrides the guess, for comparisons and tests.
bool prefer_onednn() {
  static const bool preferred = [] {
    if (!kernels().pointwise) return false;
    const char* wish = std::getenv("ZOO_LINEAR_KERNEL");
    return wish ? std::string(wish) == "onednn" : mkl_is_slow();
  }();
  return preferred;
}

bool float_on_cpu(const Tensor& x, const Tensor& weight) {
  return x.device().is_cpu() && x.scalar_type() == at::kFloat && weight.scalar_type() == at::kFloat && x.numel() > 0;
}

Tensor call(const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias) {
  return kernels().pointwise->call(x, weight, bias, "none", c10::List<std::optional<at::Scalar>>(), "");
}

std::optional<Tensor> optional_bias(const Tensor& bias) {
  return bias.defined() ? std::optional<Tensor>(bias) : std::nullopt;
}

// The operator has no derivative of its own: forward and the input's gradient are linears again.
struct Function : torch::autograd::Function<Function> {
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& x, const Tensor& weight,
                        const std::optional<Tensor>& bias) {
    context->save_for_backward({x, weight});
    context->saved_data["bias"] = bias.has_value();
    at::AutoDispatchBelowADInplaceOrView below;
    return call(x, weight, bias);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list grads) {
    const auto saved = context->get_saved_variables();
    const auto& x = saved[0];
    const auto& weight = saved[1];
    const Tensor grad = grads[0].contiguous();
    const Tensor rows = grad.reshape({-1, grad.size(-1)});  // [N, out]
    Tensor to_x, to_weight, to_bias;
    if (context->needs_input_grad(0)) to_x = call(grad, weight.t(), std::nullopt);
    if (context->needs_input_grad(1)) to_weight = at::mm(rows.t(), x.reshape({-1, x.size(-1)}));
    if (context->saved_data["bias"].toBool() && context->needs_input_grad(2)) to_bias = rows.sum(0);
    return {to_x, to_weight, to_bias};
  }
};

}  // namespace linear_detail

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  namespace d = linear_detail;
  if (!d::prefer_onednn() || !d::float_on_cpu(x, weight)) return at::linear(x, weight, d::optional_bias(bias));
  if (!at::GradMode::is_enabled()) return d::call(x, weight, d::optional_bias(bias));
  return d::Function::apply(x, weight, d::optional_bias(bias));
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

bool LinearImpl::pack() {
  namespace d = linear_detail;
  if (!d::kernels().pointwise || !d::kernels().reorder || !weight.device().is_cpu() || weight.scalar_type() != at::kFloat) return false;
  at::NoGradGuard no_grad;
  packed_ = d::kernels().reorder->call(weight.detach(), std::nullopt);
  return true;
}

Tensor LinearImpl::forward(const Tensor& x) {
  if (packed_.defined() && !at::GradMode::is_enabled() && linear_detail::float_on_cpu(x, weight)) {
    return adapted(linear_detail::call(x, packed_, linear_detail::optional_bias(bias)), x);
  }
  return adapted(linear(x, weight, bias), x);
}

Tensor LinearImpl::product(const Tensor& x, const Tensor& other) { return linear(x, other, Tensor()); }
Tensor LinearImpl::mix_channels(const Tensor& x, const Tensor& other, const Tensor& with) { return linear(x, other, with); }

std::string linear_kernel_name() { 
  const bool packs = linear_detail::kernels().pointwise && linear_detail::kernels().reorder;
  return std::string(linear_detail::prefer_onednn() ? "oneDNN" : "at::linear") + (packs ? ", packed oneDNN for inference" : "");
}

}  // namespace zoo
