#include "models/blocks/packed_weight.h"

#include <ATen/Context.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>

#include <cstdlib>
#include <stdexcept>

#include "models/blocks/onednn.h"
#include "models/blocks/wide_panels.h"
#include "models/blocks/winograd.h"

namespace zoo {
namespace packed_detail {

using at::Tensor;

enum class Kernel { wide_panels, panels, onednn, dynamic_int8, plain };

// ZOO_LINEAR_KERNEL=wide|avx512|panels|onednn|aten, for comparisons and tests: what the wish can't give is chosen as ever. avx512: wide panels without AMX.
Kernel kernel_for(Precision precision) {
  static const std::string wish = std::getenv("ZOO_LINEAR_KERNEL") ? std::getenv("ZOO_LINEAR_KERNEL") : "";
  const bool narrow = !wish.empty() && wish != "wide" && wish != "avx512";
  switch (precision) {
    case Precision::int8_weights:
    case Precision::int4_weights: return Kernel::panels;
    case Precision::int8: {
      if (!narrow && WidePanels::possible(PanelType::int8)) return Kernel::wide_panels;
      return wish == "onednn" || wish == "aten" || !Panels::possible() ? Kernel::dynamic_int8 : Kernel::panels;
    }
    case Precision::bfloat16: {
      if (wish == "onednn" && onednn::can_pack()) return Kernel::onednn;
      if (!narrow && WidePanels::possible(PanelType::bfloat16)) return Kernel::wide_panels;
      return Kernel::panels;
    }
    case Precision::float32: break;
  }
  if (!narrow && WidePanels::possible(PanelType::float32)) return Kernel::wide_panels;
  if (wish != "onednn" && wish != "aten" && Panels::possible()) return Kernel::panels;
  return onednn::can_pack() && wish != "aten" ? Kernel::onednn : Kernel::plain;
}

std::vector<int64_t> output_shape(const Tensor& x, int64_t out) {
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = out;
  return shape;
}

Tensor dense_or_none(const Tensor& t) { return t.defined() ? t.contiguous() : t; }

// after(y) + residual where y is fresh.
Tensor finish(Tensor y, Pointwise after, const Tensor& residual) {
  if (after == Pointwise::none && !residual.defined()) return y;
  if (Panels::possible() && y.is_contiguous() && y.numel() > 0) {
    const Tensor added = dense_or_none(residual);
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

const float* data(const Tensor& t) { return t.defined() ? t.const_data_ptr<float>() : nullptr; }

class PanelWeight : public PackedWeight {
 public:
  PanelWeight(const Tensor& weight, PanelType type)
      : out_(weight.size(0)), panels_(weight.const_data_ptr<float>(), weight.size(0), weight.size(1), weight.stride(0), weight.stride(1), type) {}

  Tensor multiply(const Tensor& x, const Tensor& bias, Pointwise after, const Tensor& residual) const override {
    const Tensor dense = x.contiguous(), added = dense_or_none(residual);
    const Tensor y = at::empty(output_shape(x, out_), x.options());
    panels_.multiply(data(dense), dense.numel() / dense.size(-1), data(bias), after, data(added), y.mutable_data_ptr<float>());
    return y;
  }

 private:
  int64_t out_;
  Panels panels_;
};

class WideWeight : public PackedWeight {
 public:
  WideWeight(const Tensor& weight, PanelType type, Convolution convolution)
      : out_(weight.size(0)), in_(weight.size(1)), type_(type), convolution_(convolution), segment_(segment_of(type, in_, convolution)),
        panels_(weight.const_data_ptr<float>(), out_, in_, weight.stride(0), weight.stride(1), type, segment_) {
    if (convolution.kernel != 3 || convolution.stride != 1 || segment_ == 0 || !Winograd::possible(type, out_, segment_ / 3)) return;
    winograd_ = std::make_unique<Winograd>(weight.contiguous().const_data_ptr<float>(), out_, segment_ / 3, type);
  }

  bool halves() const override { return half_results() && (type_ == PanelType::int8 || in_ % 2 == 0); }

  Tensor multiply(const Tensor& x, const Tensor& bias, Pointwise after, const Tensor& residual) const override {
    const Tensor added = dense_or_none(residual);
    return product<1>({this}, {bias}, x, after, added, /*half=*/false)[0];
  }

  Tensor multiply_for_product(const Tensor& x, const Tensor& bias, Pointwise after) const override {
    return product<1>({this}, {bias}, x, after, Tensor(), half_results())[0];
  }

  std::array<Tensor, 3> multiply_together(const std::array<const PackedWeight*, 3>& weights, const std::array<Tensor, 3>& biases, const Tensor& x, bool for_product) const override {
    std::array<const WideWeight*, 3> wide;
    for (size_t i = 0; i < 3; ++i) {
      wide[i] = dynamic_cast<const WideWeight*>(weights[i]);
      if (!wide[i] || wide[i]->type_ != type_ || wide[i]->in_ != in_) return {};
    }
    return product<3>(wide, biases, x, Pointwise::none, Tensor(), for_product && half_results());
  }

  Tensor multiply_patches(const Tensor& x, const Tensor& bias, Pointwise after, const Tensor& residual) const override {
    if (segment_ == 0) return {};
    const bool half = half_results();
    const at::ScalarType type = half ? at::kBFloat16 : at::kFloat;
    const Tensor dense = x.contiguous(), added = residual.defined() ? residual.to(type).contiguous() : residual;
    const auto [kernel, stride] = convolution_;
    const auto strided = [stride = stride](int64_t size) { return (size + stride - 1) / stride; };
    const Tensor y = at::empty({x.size(0), strided(x.size(1)), strided(x.size(2)), out_}, x.options().dtype(type));
    const WidePanels::Pictures pictures = {dense.const_data_ptr(), x.scalar_type() == at::kBFloat16, x.size(0), x.size(1), x.size(2), x.size(3), kernel, stride};
    const void* const more = added.defined() ? added.const_data_ptr() : nullptr;
    if (winograd_) winograd_->convolve(pictures, data(bias), after, more, y.mutable_data_ptr(), half);
    else panels_.multiply_patches(pictures, data(bias), after, more, y.mutable_data_ptr(), half);
    return y;
  }

 private:
  // Of codes, too: what rounding to bfloat16 loses is little beside what eight bits do.
  bool half_results() const { return type_ != PanelType::float32 && WidePanels::possible(PanelType::bfloat16); }

  template <size_t N>
  static std::array<Tensor, N> product(const std::array<const WideWeight*, N>& weights, const std::array<Tensor, N>& biases, const Tensor& x, Pointwise after,
                                       const Tensor& residual, bool half) {
    const Tensor dense = x.contiguous();
    std::array<Tensor, N> all;
    std::array<WidePanels::Share, N> shares;
    for (size_t i = 0; i < N; ++i) {
      all[i] = at::empty(output_shape(x, weights[i]->out_), x.options().dtype(half ? at::kBFloat16 : at::kFloat));
      shares[i] = {&weights[i]->panels_, data(biases[i]), after, data(residual), all[i].mutable_data_ptr(), half};
    }
    WidePanels::multiply(dense.const_data_ptr(), x.scalar_type() == at::kBFloat16, dense.numel() / dense.size(-1), shares.data(), N);
    return all;
  }

  static int64_t segment_of(PanelType type, int64_t in, Convolution convolution) {
    const int64_t segment = convolution.kernel > 0 ? in / convolution.kernel : 0;
    return segment > 0 && WidePanels::takes_patches(type, in, segment) ? segment : 0;
  }

  int64_t out_, in_;
  PanelType type_;
  Convolution convolution_;
  int64_t segment_;  // 0: no patches
  WidePanels panels_;
  std::unique_ptr<Winograd> winograd_;
};

std::shared_ptr<const PackedWeight> panel_weight(Kernel kernel, const Tensor& weight, PanelType type, Convolution convolution = {}) {
  if (kernel == Kernel::wide_panels) return std::make_shared<WideWeight>(weight, type, convolution);
  return std::make_shared<PanelWeight>(weight, type);
}

// oneDNN's epilogues: fused where its kernels are compiled for the processor's registers (AVX-512), else slower than a pass of
// our own.
class OneDnnWeight : public PackedWeight {
 public:
  OneDnnWeight(const Tensor& weight, at::ScalarType type) : packed_(onednn::pack(weight.to(type))), type_(type) {}

  Tensor multiply(const Tensor& x, const Tensor& bias, Pointwise after, const Tensor& residual) const override {
    const bool fuses = WidePanels::possible(PanelType::float32) && onednn::has_epilogue(after);
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

// Without AVX2, and for comparisons. Pairs of products of bytes are added in 16 bits, which would overflow: weights use seven bits (255 x 63 x 2
// fits). Called by name with boxed values: the packed weight's type has no header that is ours to include.
class DynamicInt8Weight : public PackedWeight {
 public:
  DynamicInt8Weight(const Tensor& weight, const Tensor& bias) : product_(operator_handle("quantized::linear_dynamic")) {
    at::globalContext().setQEngine(at::QEngine::FBGEMM);
    constexpr double kMost = 63.0;
    const Tensor plain = weight.contiguous();
    const Tensor scales = (plain.abs().amax(1) / kMost).clamp_min(1e-20).to(at::kDouble);
    const Tensor numbers = (plain / scales.to(at::kFloat).unsqueeze(1)).round_().clamp_(-kMost, kMost).to(at::kChar);
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

bool panels_wanted() {
  static const packed_detail::Kernel kernel = packed_detail::kernel_for(Precision::float32);
  return kernel == packed_detail::Kernel::panels || kernel == packed_detail::Kernel::wide_panels;
}

at::Tensor multiply_once(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  namespace d = packed_detail;
  return d::panel_weight(d::kernel_for(Precision::float32), weight, PanelType::float32)->multiply(x, bias, Pointwise::none, at::Tensor());
}

std::shared_ptr<const PackedWeight> pack_weight(const at::Tensor& weight, const at::Tensor& bias, Precision precision, Convolution convolution) {
  namespace d = packed_detail;
  if (!weight.device().is_cpu() || weight.scalar_type() != at::kFloat || weight.numel() == 0) return nullptr;
  const at::NoGradGuard no_grad;
  const at::Tensor plain = weight.detach();
  d::Kernel kernel = d::kernel_for(precision);
  if (kernel == d::Kernel::wide_panels && precision == Precision::int8 && plain.size(1) > WidePanels::kMostInputs) kernel = d::Kernel::panels;
  if (kernel == d::Kernel::panels && !Panels::possible()) {
    throw std::runtime_error("bfloat16 and weights of 8 and 4 bits on the CPU need AVX2 and FMA, which this processor lacks (use --dtype float32 or int8)");
  }
  if (kernel == d::Kernel::dynamic_int8) return std::make_shared<d::DynamicInt8Weight>(plain, bias.defined() ? bias.detach() : bias);
  switch (precision) {
    case Precision::int8:
    case Precision::int8_weights: return d::panel_weight(kernel, plain, PanelType::int8);
    case Precision::int4_weights: return d::panel_weight(kernel, plain, PanelType::int4);
    case Precision::bfloat16:
    case Precision::float32: break;
  }
  const bool half = precision == Precision::bfloat16;
  if (kernel == d::Kernel::plain) return nullptr;
  if (kernel == d::Kernel::onednn) return std::make_shared<d::OneDnnWeight>(plain, half ? at::kBFloat16 : at::kFloat);
  return d::panel_weight(kernel, plain, half ? PanelType::bfloat16 : PanelType::float32, convolution);
}

std::string packed_kernel_name(Precision precision) {
  namespace d = packed_detail;
  const std::string what = precision == Precision::int4_weights ? ", weights of 4 bits" : precision == Precision::int8_weights ? ", weights of 8 bits" :
                           precision == Precision::int8 ? ", 8 bits" : precision == Precision::bfloat16 ? ", bfloat16" : "";
  switch (d::kernel_for(precision)) {
    case d::Kernel::wide_panels: {
      const PanelType type = precision == Precision::bfloat16 ? PanelType::bfloat16 : precision == Precision::int8 ? PanelType::int8 : PanelType::float32;
      return (WidePanels::by_tiles(type) ? "wide panels (AMX)" : "wide panels (AVX-512)") + what;
    }
    case d::Kernel::panels: return "panels (AVX2)" + (precision == Precision::int8 ? ", weights of 8 bits" : what);
    case d::Kernel::onednn: return "packed oneDNN" + what;
    case d::Kernel::dynamic_int8: return "dynamic int8, per channel, weights of seven bits";
    case d::Kernel::plain: break;
  }
  return "the plain weight";
}

}  // namespace zoo
