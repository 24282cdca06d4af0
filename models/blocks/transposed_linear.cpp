#include "models/blocks/transposed_linear.h"

namespace zoo {

TransposedLinearImpl::TransposedLinearImpl(int64_t in_features, int64_t out_features, double std)
    : weight(param("weight", {in_features, out_features})), bias(param("bias", {out_features})), std_(std) {}

Tensor TransposedLinearImpl::forward(const Tensor& x) {
  return packed_ && x.is_cpu() && !at::GradMode::is_enabled() ? packed_->forward(x) : linear(x, weight.t(), bias);
}

void TransposedLinearImpl::init() {
  at::NoGradGuard no_grad;
  weight.normal_(0.0, std_);
  bias.zero_();
}

bool TransposedLinearImpl::pack() {
  const at::NoGradGuard no_grad;
  Linear layer(weight.size(0), weight.size(1));
  layer->bias = bias.detach();
  layer->weight = weight.detach().t().contiguous();
  if (!layer->pack()) return false;
  layer->weight = weight.detach().t();  // the packed copy alone takes memory
  packed_ = layer;
  return true;
}

}  // namespace zoo
