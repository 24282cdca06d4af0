// Products by Panels and WidePanels for their tests.
#pragma once
#include <ATen/ATen.h>

#include "models/blocks/panels.h"

namespace zoo::test {

// after(x W^T + bias) + residual for x [rows, in], weight [out, in] (any strides); bias and residual may be undefined.
template <class AnyPanels>
at::Tensor product_by(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, Pointwise after, const at::Tensor& residual, PanelType type) {
  const AnyPanels panels(weight.const_data_ptr<float>(), weight.size(0), weight.size(1), weight.stride(0), weight.stride(1), type);
  const auto data = [](const at::Tensor& t) { return t.defined() ? t.const_data_ptr<float>() : nullptr; };
  at::Tensor y = at::full({x.size(0), weight.size(0)}, 1e9);
  panels.multiply(data(x), x.size(0), data(bias), after, data(residual), y.mutable_data_ptr<float>());
  return y;
}

inline double largest_difference(const at::Tensor& a, const at::Tensor& b) { return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>(); }

}  // namespace zoo::test
