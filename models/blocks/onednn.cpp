#include "models/blocks/onednn.h"

#include <ATen/core/dispatch/Dispatcher.h>

#include <cstdlib>
#include <fstream>
#include <string>

namespace zoo::onednn {
namespace onednn_detail {

using Scalars = c10::List<std::optional<at::Scalar>>;
using Pointwise = at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&, c10::string_view, Scalars,
                             std::optional<c10::string_view>);
using Reorder = at::Tensor(const at::Tensor&, std::optional<int64_t>);

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
  std::optional<c10::TypedOperatorHandle<Pointwise>> pointwise = find_operator<Pointwise>("mkldnn::_linear_pointwise");
  std::optional<c10::TypedOperatorHandle<Reorder>> reorder = find_operator<Reorder>("mkldnn::_reorder_linear_weight");
  std::string wish = std::getenv("ZOO_LINEAR_KERNEL") ? std::getenv("ZOO_LINEAR_KERNEL") : "";
};

const Kernels& kernels() {
  static const Kernels found;
  return found;
}

struct Epilogue {
  const char *name, *algorithm;
};

Epilogue epilogue_of(zoo::Pointwise after) {
  switch (after) {
    case zoo::Pointwise::relu: return {"relu", ""};
    case zoo::Pointwise::gelu: return {"gelu", "none"};
    case zoo::Pointwise::gelu_tanh: return {"gelu", "tanh"};
    case zoo::Pointwise::silu: return {"swish", ""};
    case zoo::Pointwise::tanh: return {"tanh", ""};
    case zoo::Pointwise::none: return {"none", ""};
    case zoo::Pointwise::quick_gelu: break;
  }
  return {nullptr, ""};
}

}  // namespace onednn_detail

bool available() { return onednn_detail::kernels().pointwise.has_value(); }
bool can_pack() { return available() && onednn_detail::kernels().reorder.has_value(); }
bool wanted() { return onednn_detail::kernels().wish != "aten"; }

bool preferred() {
  static const bool chosen = available() && (onednn_detail::kernels().wish.empty() ? onednn_detail::mkl_is_slow() : onednn_detail::kernels().wish != "aten");
  return chosen;
}

at::Tensor pack(const at::Tensor& weight) { return onednn_detail::kernels().reorder->call(weight.contiguous(), std::nullopt); }

bool has_epilogue(Pointwise after) { return onednn_detail::epilogue_of(after).name != nullptr; }

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, Pointwise after) {
  const auto [name, algorithm] = onednn_detail::epilogue_of(after);
  const auto offset = bias.defined() ? std::optional<at::Tensor>(bias) : std::nullopt;
  return onednn_detail::kernels().pointwise->call(x, weight, offset, name, onednn_detail::Scalars(), algorithm);
}

}  // namespace zoo::onednn
