#include "models/blocks/transposed_linear.h"

namespace zoo {

TransposedLinearImpl::TransposedLinearImpl(int64_t in_features, int64_t out_features, double std)
    : weight(param("weight", {in_features, out_features})), bias(param("bias", {out_features})), std_(std) {}

Tensor TransposedLinearImpl::forward(const Tensor& x) {
  const Tensor y = fused(x, Pointwise::none, Tensor());
  return y.defined() ? y : linear(x, weight.t(), bias);
}

Tensor TransposedLinearImpl::fused(const Tensor& x, Pointwise after, const Tensor& residual) {
  if (!packed_ || !packed_takes(x, weight.size(1), residual)) return {};
  return packed_->multiply(x, bias, after, residual);
}

void TransposedLinearImpl::init() {
  at::NoGradGuard no_grad;
  weight.normal_(0.0, std_);
  bias.zero_();
}

bool TransposedLinearImpl::pack(Precision precision) {
  packed_ = pack_weight(weight.t(), bias, precision);
  return packed_ != nullptr;
}

}  // namespace zoo
