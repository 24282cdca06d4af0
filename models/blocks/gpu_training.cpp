#include "models/blocks/gpu_training.h"

#include <ATen/autocast_mode.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <optional>
#include <tuple>
#include <vector>

#include "models/blocks/gpu_kernels.h"

namespace zoo {
namespace gpu_training_detail {

using at::Tensor;
using gpu_kernels::alike, gpu_kernels::aligned, gpu_kernels::kWarps;
using torch::autograd::AutogradContext, torch::autograd::variable_list;
using Optional = std::optional<Tensor>;

constexpr int64_t kBlocks = 528, kNormBlocks = 264;  // as many as an H100 runs at once: four and two a multiprocessor
constexpr int64_t kMostNumbers = 32;                  // of a row, that a lane of the norm keeps in registers

bool whole_vectors(const Tensor& x, int64_t width) { return x.is_contiguous() && aligned(x) && width * x.element_size() % gpu_kernels::kVectorBytes == 0; }

// y [sums, width] of partial [sums, parts, width] float32, in x's type.
Tensor totals(const Tensor& partial, const Tensor& x) {
  const Tensor y = at::empty({partial.size(0), partial.size(2)}, x.options());
  const auto function = gpu_kernels::kernel("totals", "TOTALS", 1, x.scalar_type(), x.device().index());
  TORCH_CHECK(function, "the kernel of sums could not be made on this GPU");
  const void* from = partial.const_data_ptr();
  void* to = y.mutable_data_ptr();
  int parts = static_cast<int>(partial.size(1)), width = static_cast<int>(partial.size(2));
  void* arguments[] = {&from, &to, &parts, &width};
  gpu_kernels::launch(function, {(width + 31) / 32, y.size(0)}, 0, arguments, x.device().index());
  return y;
}

// The sums of the columns of x; with `before` those of x times GELU's slope there, which `to` becomes. Undefined where a kernel does not apply.
Tensor sums(const Tensor& x, const Tensor& before, const Tensor& to) {
  constexpr int64_t kWorthwhile = 1 << 18, kLeastRows = 32;  // fewer numbers; rows of a block
  const int64_t rows = x.size(0), width = x.size(1), lane_numbers = gpu_kernels::kVectorBytes / x.element_size(), strips = (width + 32 * lane_numbers - 1) / (32 * lane_numbers);
  if (!gpu_kernels::possible(x) || x.numel() < kWorthwhile || !whole_vectors(x, width) || (before.defined() && !(alike(before, x) && aligned(before)))) return {};
  const c10::DeviceGuard guard(x.device());
  const auto function = gpu_kernels::kernel("column_sums", "SUMS", before.defined() ? 1 : 0, x.scalar_type(), x.device().index());
  if (!function) return {};
  const int64_t parts = std::max<int64_t>(1, std::min(rows / kLeastRows, kBlocks / strips));
  const Tensor partial = at::empty({1, parts, width}, x.options().dtype(at::kFloat));
  const void *from = x.const_data_ptr(), *inner = before.defined() ? before.const_data_ptr() : nullptr;
  void *changed = to.defined() ? to.mutable_data_ptr() : nullptr, *shares = partial.mutable_data_ptr();
  long long count = rows;
  int numbers = static_cast<int>(width);
  void* arguments[] = {&from, &inner, &changed, &shares, &count, &numbers};
  gpu_kernels::launch(function, {strips, parts}, 0, arguments, x.device().index());
  return totals(partial, x).squeeze(0);
}

// ---- layer norm ----

bool takes_norm(const Tensor& x, const Tensor& residual, const Tensor& weight, const Tensor& bias) {
  if (!at::GradMode::is_enabled() || !gpu_kernels::possible(x) || !bias.defined() || x.numel() == 0) return false;
  if (x.scalar_type() != at::kFloat && at::autocast::is_autocast_enabled(at::kCUDA)) return false;  // it wants float32 here
  const int64_t width = weight.numel(), vectors = gpu_kernels::vectors_of_lane(x, width);
  if (x.size(-1) != width || !whole_vectors(x, width) || vectors * gpu_kernels::kVectorBytes / x.element_size() > kMostNumbers) return false;
  for (const auto* t : {&weight, &bias}) {
    if (!alike(*t, x) || !aligned(*t)) return false;
  }
  if (residual.defined() && !(alike(residual, x) && aligned(residual) && residual.sizes() == x.sizes())) return false;
  const auto made = [&](const char* name) { return gpu_kernels::kernel(name, "LAYER", vectors, x.scalar_type(), x.device().index()) != nullptr; };
  const c10::DeviceGuard guard(x.device());
  return made("layer_norm") && made("layer_norm_backward");
}

// {dx, dweight and dbias [2, width]}; rest: as in the kernel, or undefined.
std::array<Tensor, 2> norm_gradients(const Tensor& x, const Tensor& dy, const Tensor& rest, const Tensor& weight, double eps) {
  const int64_t width = weight.numel(), rows = x.numel() / width, blocks = std::min(kNormBlocks, (rows + kWarps - 1) / kWarps);
  const c10::DeviceGuard guard(x.device());
  const auto function = gpu_kernels::kernel("layer_norm_backward", "LAYER", gpu_kernels::vectors_of_lane(x, width), x.scalar_type(), x.device().index());
  const Tensor dx = at::empty_like(x), partial = at::empty({2, blocks, width}, x.options().dtype(at::kFloat));
  const void *from = x.const_data_ptr(), *change = dy.const_data_ptr(), *other = rest.defined() ? rest.const_data_ptr() : nullptr, *gains = weight.const_data_ptr();
  void *to = dx.mutable_data_ptr(), *shares = partial.mutable_data_ptr();
  long long count = rows;
  int numbers = static_cast<int>(width);
  float epsilon = static_cast<float>(eps);
  void* arguments[] = {&from, &change, &other, &gains, &to, &shares, &count, &numbers, &epsilon};
  gpu_kernels::launch(function, {blocks, 1}, 0, arguments, x.device().index());
  return {dx, totals(partial, x)};
}

// Dense and aligned, as kernels read it.
Tensor readable(const Tensor& t) {
  const Tensor dense = t.contiguous();
  return aligned(dense) ? dense : dense.clone();
}

// Outputs: the norm, or the sum and the norm.
struct Norm : torch::autograd::Function<Norm> {
  static variable_list forward(AutogradContext* context, const Tensor& x, const Optional& residual, const Tensor& weight, const Tensor& bias, double eps, bool beside) {
    Tensor s = x;
    const Tensor y = gpu_layer_norm(x, residual.value_or(Tensor()), weight, bias, eps, &s);
    context->save_for_backward({s, weight});
    context->saved_data["eps"] = eps;
    context->saved_data["added"] = residual.has_value();
    context->set_materialize_grads(false);
    return beside ? variable_list{s, y} : variable_list{y};
  }
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const auto saved = context->get_saved_variables();
    const Tensor& s = saved[0];
    const Tensor rest = grads.size() > 1 && grads[0].defined() ? readable(grads[0]) : Tensor(), dy = grads.back();
    const bool added = context->saved_data["added"].toBool();
    if (!dy.defined()) return {rest, added ? rest : Tensor(), Tensor(), Tensor(), Tensor(), Tensor()};
    const auto [dx, of_weights] = norm_gradients(s, readable(dy), rest, saved[1], context->saved_data["eps"].toDouble());
    return {dx, added ? dx : Tensor(), of_weights[0], of_weights[1], Tensor(), Tensor()};
  }
};

// ---- linear layers ----

// Up to three layers of one x; with gelu the activation of the first.
struct Layers : torch::autograd::Function<Layers> {
  static variable_list forward(AutogradContext* context, bool gelu, const Tensor& x, const Tensor& w0, const Optional& b0, const Optional& w1, const Optional& b1,
                               const Optional& w2, const Optional& b2) {
    const at::AutoDispatchBelowADInplaceOrView below;
    variable_list y = {at::linear(x, w0, b0)};
    if (w1) y.push_back(at::linear(x, *w1, b1));
    if (w2) y.push_back(at::linear(x, *w2, b2));
    context->save_for_backward({x, w0, w1.value_or(Tensor()), w2.value_or(Tensor()), gelu ? y[0] : Tensor()});
    context->saved_data["biases"] = std::vector<bool>{b0.has_value(), b1.has_value(), b2.has_value()};
    if (gelu) y[0] = at::gelu(y[0]);
    return y;
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const auto saved = context->get_saved_variables();
    const auto biases = context->saved_data["biases"].toBoolList();
    const Tensor &x = saved[0], &before = saved[4];
    const Tensor inputs = x.reshape({-1, x.size(-1)});
    variable_list results(8);  // gelu, x, then weight and bias of each
    size_t edge = 1;           // of the graph: x is 0, and undefined tensors have none
    for (size_t i = 0; i < grads.size(); ++i) {
      Tensor rows = readable(grads[i]).reshape({-1, grads[i].size(-1)}), to_bias;
      if (before.defined()) std::tie(rows, to_bias) = before_gelu(rows, before.reshape(rows.sizes()));
      const Tensor& weight = saved[1 + i];
      if (context->needs_input_grad(0)) {
        // Summed up where the product is written.
        Tensor& dx = results[1];
        if (dx.defined()) dx.addmm_(rows, weight);
        else dx = rows.mm(weight);
      }
      if (context->needs_input_grad(edge++)) results[2 + 2 * i] = weight.stride(0) == 1 ? inputs.t().mm(rows).t() : rows.t().mm(inputs);  // laid out as the weight
      if (biases[i] && context->needs_input_grad(edge++)) results[3 + 2 * i] = to_bias.defined() ? to_bias : column_sums(rows);
    }
    if (results[1].defined()) results[1] = results[1].view(x.sizes());
    return results;
  }

  // {the gradient before the activation, the sums of its columns or undefined}
  static std::tuple<Tensor, Tensor> before_gelu(const Tensor& rows, const Tensor& before) {
    const Tensor to = at::empty_like(rows), to_bias = sums(rows, before, to);
    return to_bias.defined() ? std::tuple(to, to_bias) : std::tuple(at::gelu_backward(rows, before), Tensor());
  }
};

bool takes_layers(const Tensor& x, const std::array<LinearWeight, 3>& layers) {
  if (!at::GradMode::is_enabled() || !gpu_kernels::possible(x) || x.numel() == 0 || x.dim() < 2) return false;
  const bool cast = at::autocast::is_autocast_enabled(at::kCUDA);
  for (const auto& layer : layers) {
    for (const auto* t : {&layer.weight, &layer.bias}) {
      if (t->defined() && !(t->is_cuda() && (cast || t->scalar_type() == x.scalar_type()))) return false;
    }
  }
  return true;
}

}  // namespace gpu_training_detail

at::Tensor trained_layer_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, double eps) {
  namespace d = gpu_training_detail;
  if (!d::takes_norm(x, {}, weight, bias)) return {};
  return d::Norm::apply(x, std::nullopt, weight, bias, eps, false)[0];
}

std::array<at::Tensor, 2> trained_layer_norm_beside(const at::Tensor& x, const at::Tensor& residual, const at::Tensor& weight, const at::Tensor& bias, double eps) {
  namespace d = gpu_training_detail;
  if (!d::takes_norm(x, residual, weight, bias)) return {};
  const auto both = d::Norm::apply(x, residual.defined() ? d::Optional(residual) : std::nullopt, weight, bias, eps, true);
  return {both[0], both[1]};
}

std::array<at::Tensor, 3> trained_linear(const at::Tensor& x, const std::array<LinearWeight, 3>& layers, bool gelu) {
  namespace d = gpu_training_detail;
  if (!d::takes_layers(x, layers)) return {};
  const bool cast = at::autocast::is_autocast_enabled(at::kCUDA);
  const auto type = cast ? at::autocast::get_autocast_dtype(at::kCUDA) : x.scalar_type();
  const auto in_type = [&](const at::Tensor& t) { return cast ? at::autocast::cached_cast(type, t, at::kCUDA) : t; };
  const auto part = [&](const at::Tensor& t) { return t.defined() ? d::Optional(in_type(t)) : std::nullopt; };
  const at::Tensor own = in_type(x), weight = in_type(layers[0].weight);
  const d::Optional b0 = part(layers[0].bias), w1 = part(layers[1].weight), b1 = part(layers[1].bias), w2 = part(layers[2].weight), b2 = part(layers[2].bias);
  const c10::impl::ExcludeDispatchKeyGuard no_more_casts(c10::DispatchKey::AutocastCUDA);
  const auto y = d::Layers::apply(gelu, own, weight, b0, w1, b1, w2, b2);
  return {y[0], y.size() > 1 ? y[1] : at::Tensor(), y.size() > 2 ? y[2] : at::Tensor()};
}

at::Tensor column_sums(const at::Tensor& x) {
  const at::Tensor y = gpu_training_detail::sums(x, {}, {});
  return y.defined() ? y : x.sum(0);
}

}  // namespace zoo
