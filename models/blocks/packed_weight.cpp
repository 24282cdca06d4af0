#include "models/blocks/packed_weight.h"

#include <ATen/Context.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>

#include <cstdlib>
#include <stdexcept>

#include "models/blocks/onednn.h"

namespace zoo {
namespace packed_detail {

using at::Tensor;

bool has_bf16() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

// Without it pairs of products of bytes are added in 16 bits, which would overflow: weights then use seven bits (255 x 63 x 2 fits).
// That costs less than seven bits for activations, of which there is one scale for all: MiniLM on STS-B lost 0.9 points of Spearman so.
bool has_vnni() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512vnni");
#else
  return false;
#endif
}

// ZOO_LINEAR_KERNEL=panels|onednn|aten overrides the choice, for comparisons and tests.
bool use_panels() {
  static const bool chosen = [] {
    const char* wish = std::getenv("ZOO_LINEAR_KERNEL");
    return wish ? std::string(wish) == "panels" && Panels::possible() : Panels::preferred();
  }();
  return chosen;
}

bool int8_in_panels() { return !has_vnni() && use_panels(); }

std::vector<int64_t> output_shape(const Tensor& x, int64_t out) {
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = out;
  return shape;
}

// after(y) + residual where y is fresh.
Tensor finish(Tensor y, Pointwise after, const Tensor& residual) {
  if (after == Pointwise::none && !residual.defined()) return y;
  if (Panels::possible() && y.is_contiguous() && y.numel() > 0) {
    const Tensor added = residual.defined() ? residual.contiguous() : Tensor();
    finish_in_place(y.mutable_data_ptr<float>(), y.numel() / y.size(-1), y.size(-1), after, added.defined() ? added.const_data_ptr<float>() : nullptr);
    return y;
  }
  switch (after) {
    case Pointwise::relu: y.relu_(); break;
    case Pointwise::gelu: at::gelu_(y); break;
    case Pointwise::gelu_tanh: at::gelu_(y, "tanh"); break;
    case Pointwise::quick_gelu: y = y * at::sigmoid(1.702 * y); break;
    case Pointwise::silu: at::silu_(y); break;
    case Pointwise::tanh: y.tanh_(); break;
    case Pointwise::none: break;
  }
  return residual.defined() ? y.add_(residual) : y;
}

class PanelWeight : public PackedWeight {
 public:
  PanelWeight(const Tensor& weight, PanelType type)
      : out_(weight.size(0)), panels_(weight.const_data_ptr<float>(), weight.size(0), weight.size(1), weight.stride(0), weight.stride(1), type) {}

  Tensor multiply(const Tensor& x, const Tensor& bias, Pointwise after, const Tensor& residual) const override {
    const Tensor dense = x.contiguous(), added = residual.defined() ? residual.contiguous() : residual;
    Tensor y = at::empty(output_shape(x, out_), x.options());
    const auto data = [](const Tensor& t) { return t.defined() ? t.const_data_ptr<float>() : nullptr; };
    panels_.multiply(data(dense), dense.numel() / dense.size(-1), data(bias), after, data(added), y.mutable_data_ptr<float>());
    return y;
  }

 private:
  int64_t out_;
  Panels panels_;
};

// oneDNN's epilogues: fused where its kernels are compiled for the processor's registers (AVX-512), else slower than a pass of
// our own.
class OneDnnWeight : public PackedWeight {
 public:
  OneDnnWeight(const Tensor& weight, at::ScalarType type) : packed_(onednn::pack(weight.to(type))), type_(type) {}

  Tensor multiply(const Tensor& x, const Tensor& bias, Pointwise after, const Tensor& residual) const override {
    const bool fuses = !Panels::preferred() && onednn::has_epilogue(after);
    const Tensor offset = bias.defined() ? bias.to(type_) : bias;
    const Tensor y = onednn::linear(x.to(type_), packed_, offset, fuses ? after : Pointwise::none);
    return finish(y.to(at::kFloat), fuses ? Pointwise::none : after, residual);
  }

 private:
  Tensor packed_;
  at::ScalarType type_;
};

c10::OperatorHandle operator_handle(const char* name) {
  const auto schema = c10::Dispatcher::singleton().findSchema({name, ""});
  if (!schema) throw std::runtime_error(std::string("this LibTorch has no operator ") + name + ", which --dtype int8 needs");
  return *schema;
}

// Called by name with boxed values: the packed weight's type has no header that is ours to include.
class DynamicInt8Weight : public PackedWeight {
 public:
  DynamicInt8Weight(const Tensor& weight, const Tensor& bias) : product_(operator_handle("quantized::linear_dynamic")) {
    at::globalContext().setQEngine(has_vnni() ? at::QEngine::X86 : at::QEngine::FBGEMM);
    const Tensor plain = weight.contiguous();
    const double most = has_vnni() ? 127.0 : 63.0;
    const Tensor scales = (plain.abs().amax(1) / most).clamp_min(1e-20).to(at::kDouble);
    const Tensor numbers = (plain / scales.to(at::kFloat).unsqueeze(1)).round_().clamp_(-most, most).to(at::kChar);
    const Tensor quantised = at::_make_per_channel_quantized_tensor(numbers, scales, at::zeros({plain.size(0)}, at::kLong), 0);
    torch::jit::Stack stack = {quantised, bias.defined() ? c10::IValue(bias.contiguous()) : c10::IValue()};
    operator_handle("quantized::linear_prepack").callBoxed(stack);
    packed_ = stack.at(0);
  }

  Tensor multiply(const Tensor& x, const Tensor& /*in the packed weight*/, Pointwise after, const Tensor& residual) const override {
    torch::jit::Stack stack = {x, packed_, /*reduce_range=*/false};
    product_.callBoxed(stack);
    return finish(stack.at(0).toTensor(), after, residual);
  }

 private:
  c10::OperatorHandle product_;
  c10::IValue packed_;
};

}  // namespace packed_detail

bool panels_wanted() { return packed_detail::use_panels(); }

at::Tensor multiply_once(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  return packed_detail::PanelWeight(weight, PanelType::float32).multiply(x, bias, Pointwise::none, at::Tensor());
}

std::shared_ptr<const PackedWeight> pack_weight(const at::Tensor& weight, const at::Tensor& bias, Precision precision) {
  namespace d = packed_detail;
  if (!weight.device().is_cpu() || weight.scalar_type() != at::kFloat || weight.numel() == 0) return nullptr;
  const at::NoGradGuard no_grad;
  const at::Tensor plain = weight.detach();
  const bool codes = precision == Precision::int8_weights || precision == Precision::int4_weights;
  if (codes && !Panels::possible()) throw std::runtime_error("weights of 8 and 4 bits on the CPU need AVX2 and FMA, which this processor lacks (use --dtype int8)");
  if (codes || (precision == Precision::int8 && d::int8_in_panels())) {
    return std::make_shared<d::PanelWeight>(plain, precision == Precision::int4_weights ? PanelType::int4 : PanelType::int8);
  }
  if (precision == Precision::int8) return std::make_shared<d::DynamicInt8Weight>(plain, bias.defined() ? bias.detach() : bias);
  if (precision == Precision::bfloat16) {
    if (d::has_bf16() && onednn::can_pack()) return std::make_shared<d::OneDnnWeight>(plain, at::kBFloat16);
    if (!Panels::possible()) throw std::runtime_error("bfloat16 on the CPU needs AVX2 and FMA, which this processor lacks (use --dtype float32)");
    return std::make_shared<d::PanelWeight>(plain, PanelType::bfloat16);
  }
  if (d::use_panels()) return std::make_shared<d::PanelWeight>(plain, PanelType::float32);
  return onednn::can_pack() && onednn::wanted() ? std::make_shared<d::OneDnnWeight>(plain, at::kFloat) : nullptr;
}

std::string packed_kernel_name(Precision precision) {
  namespace d = packed_detail;
  if (precision == Precision::int4_weights) return "panels (AVX2), weights of 4 bits";
  if (precision == Precision::int8_weights || (precision == Precision::int8 && d::int8_in_panels())) return "panels (AVX2), weights of 8 bits";
  if (precision == Precision::int8) return std::string("dynamic int8, per channel (") + (d::has_vnni() ? "VNNI" : "no VNNI: weights of seven bits") + ")";
  if (precision == Precision::bfloat16 && !(d::has_bf16() && onednn::can_pack())) return "panels (AVX2), weights in bfloat16";
  if (precision == Precision::float32 && d::use_panels()) return "panels (AVX2)";
  return onednn::can_pack() && (onednn::wanted() || precision == Precision::bfloat16) ? "packed oneDNN" : "the plain weight";
}

}  // namespace zoo
