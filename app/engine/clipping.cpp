#include "app/engine/clipping.h"

#include <numeric>

namespace zoo::app {
namespace clipping_detail {

// One norm per unit: per row of a matrix, per output channel of a convolution; of vectors one for all (Brock et al., 2021).
at::Tensor unit_norm(const at::Tensor& x) {
  if (x.dim() <= 1) return x.norm();
  std::vector<int64_t> axes(static_cast<size_t>(x.dim() - 1));
  std::iota(axes.begin(), axes.end(), 1);
  return x.norm(2, axes, /*keepdim=*/true);
}

// Equation 3, with the authors' floors for weights (1e-3: fresh zeros must be able to move) and gradients (1e-6).
void clip_units(const at::Tensor& parameter, const at::Tensor& gradient, double limit) {
  const at::Tensor most = unit_norm(parameter).clamp_min(1e-3) * limit;
  const at::Tensor norm = unit_norm(gradient);
  gradient.mul_(at::where(norm > most, most / norm.clamp_min(1e-6), at::ones_like(norm)));
}

}  // namespace clipping_detail

double clip_gradients(const std::vector<at::Tensor>& parameters, const ClipOptions& options) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> gradients;
  for (const auto& parameter : parameters) {
    if (parameter.grad().defined()) gradients.push_back(parameter.grad());
  }
  if (gradients.empty()) return 0.0;
  const auto common_norm = [&] { return at::stack(at::_foreach_norm(gradients, 2)).norm().item<double>(); };
  const double before = common_norm();
  if (options.value > 0.0) {
    at::_foreach_clamp_min_(gradients, at::Scalar(-options.value));
    at::_foreach_clamp_max_(gradients, at::Scalar(options.value));
  }
  if (options.adaptive > 0.0) {
    for (const auto& parameter : parameters) {
      if (parameter.grad().defined()) clipping_detail::clip_units(parameter, parameter.grad(), options.adaptive);
    }
  }
  const double norm = options.norm > 0.0 && (options.value > 0.0 || options.adaptive > 0.0) ? common_norm() : before;
  if (options.norm > 0.0 && norm > options.norm) at::_foreach_mul_(gradients, at::Scalar(options.norm / (norm + 1e-6)));
  return before;
}

}  // namespace zoo::app
