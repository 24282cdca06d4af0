#include "models/blocks/lora.h"

#include <cmath>

namespace zoo {
namespace lora_detail {

std::vector<int64_t> with_first(int64_t first, at::IntArrayRef sizes) {
  std::vector<int64_t> result = sizes.vec();
  result[0] = first;
  return result;
}

// [out, rank, 1, ...]: as many axes as the layer's weight.
std::vector<int64_t> b_sizes(int64_t rank, at::IntArrayRef weight) {
  std::vector<int64_t> result(weight.size(), 1);
  result[0] = weight[0];
  result[1] = rank;
  return result;
}

std::vector<int64_t> magnitude_sizes(at::IntArrayRef weight) {
  if (weight.size() == 2) return {weight[0]};
  std::vector<int64_t> result(weight.size(), 1);
  result[1] = weight[0];
  return result;
}

// Length of each output channel's weights: [out].
Tensor lengths(const Tensor& weight) { return at::linalg_vector_norm(weight.flatten(1), 2, {1}); }

std::vector<int64_t> rows(const Tensor& weight) {
  std::vector<int64_t> result(weight.dim(), 1);
  result[0] = -1;
  return result;
}

}  // namespace lora_detail

LoraImpl::LoraImpl(const LoraShape& shape_, const AdaptableLayer& layer) : shape(shape_) {
  const Tensor weight = layer.outputs_first();
  const auto sizes = weight.sizes();
  a = param("lora_A.weight", lora_detail::with_first(shape.rank, sizes));
  b = param("lora_B.weight", lora_detail::b_sizes(shape.rank, sizes));
  if (shape.with_bias) b_bias = param("lora_B.bias", {sizes[0]});
}

void LoraImpl::init() {
  const double bound = 1.0 / std::sqrt(static_cast<double>(a.numel() / a.size(0)));
  at::NoGradGuard no_grad;
  a.uniform_(-bound, bound);
  b.zero_();
  if (b_bias.defined()) b_bias.zero_();
}

void LoraImpl::init_gaussian() {
  init();
  at::NoGradGuard no_grad;
  a.normal_(0.0, 1.0 / static_cast<double>(shape.rank));
}

Tensor LoraImpl::drop(const Tensor& x) const { return drops() ? at::dropout(x, shape.dropout, true) : x; }

Tensor LoraImpl::add_to(const Tensor& y, const Tensor& x, AdaptableLayer& layer) {
  return at::add(y, layer.mix_channels(layer.product(drop(x), a), b, b_bias), shape.scaling);
}

// In float32 also for narrower types: the product of two small matrices would lose what the sum could still hold.
Tensor LoraImpl::delta() const {
  const Tensor product = at::mm(b.flatten(1).to(at::kFloat), a.flatten(1).to(at::kFloat)) * shape.scaling;
  return product.to(a.scalar_type()).reshape(lora_detail::with_first(b.size(0), a.sizes()));
}

void LoraImpl::merge_into(AdaptableLayer& layer, const Tensor& /*base*/) {
  layer.outputs_first().add_(delta());
  if (!b_bias.defined()) return;
  TORCH_CHECK_VALUE(layer.bias.defined(), "an adapter with a bias cannot be merged into a layer that has none");
  layer.bias.add_(b_bias * shape.scaling);
}

DoraImpl::DoraImpl(const LoraShape& shape_, const AdaptableLayer& layer) : LoraImpl(shape_, layer) {
  magnitude = param("lora_magnitude_vector", lora_detail::magnitude_sizes(layer.outputs_first().sizes()));
}

void DoraImpl::init_magnitude(const AdaptableLayer& layer) {
  at::NoGradGuard no_grad;
  magnitude.copy_(lora_detail::lengths(layer.outputs_first() + delta()).view_as(magnitude));
}

Tensor DoraImpl::scale(const Tensor& base) const {
  Tensor length;
  {
    at::NoGradGuard constant;
    length = lora_detail::lengths(base + delta());
  }
  return magnitude.flatten() / length;
}

void DoraImpl::prepare(AdaptableLayer& layer) {
  at::NoGradGuard no_grad;
  prepared_ = scale(layer.outputs_first());
}

Tensor DoraImpl::add_to(const Tensor& y, const Tensor& x, AdaptableLayer& layer) {
  const bool ready = prepared_.defined() && !at::GradMode::is_enabled();
  const Tensor s = layer.per_channel(ready ? prepared_ : scale(layer.outputs_first().detach()));
  const Tensor dropped = drop(x);
  // With dropout the reference stretches what the base layer makes of the dropped input.
  Tensor base = drops() ? layer.product(dropped, layer.outputs_first()) : y;
  if (!drops() && layer.bias.defined()) base = base - layer.per_channel(layer.bias);
  const Tensor low = layer.mix_channels(layer.product(dropped, a), b, {});
  return y + (s - 1.0) * base + s * low * shape.scaling;
}

void DoraImpl::merge_into(AdaptableLayer& layer, const Tensor& base) {
  const Tensor weight = layer.outputs_first();
  weight.copy_(scale(base).view(lora_detail::rows(weight)) * (weight + delta()));
}

}  // namespace zoo
