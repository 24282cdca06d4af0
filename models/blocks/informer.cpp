#include "models/blocks/informer.h"

#include <ATen/CPUGeneratorImpl.h>

#include <cmath>

#include "models/blocks/attention.h"
#include "models/blocks/linear.h"

namespace zoo {

namespace informer_detail {

Tensor active_queries(const Tensor& q, const Tensor& k, const Tensor& sample, int64_t count) {  // -> [B, H, count]
  at::NoGradGuard no_grad;
  // All scores and then a choice: for windows of up to thousands of steps cheaper than gathering a copy of the keys per query.
  const Tensor scores = at::matmul(q, k.transpose(-2, -1));                                       // [B, H, Lq, Lk]
  const Tensor seen = scores.gather(-1, sample.expand({q.size(0), q.size(1), q.size(2), sample.size(1)}));  // [B, H, Lq, U]
  const Tensor sparsity = seen.amax(-1) - seen.sum(-1) / static_cast<double>(k.size(2));
  return std::get<1>(sparsity.topk(count, -1, /*largest=*/true, /*sorted=*/false));
}

}  // namespace informer_detail

Tensor sparse_attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& sample, int64_t active, bool causal, double dropout) {
  const Tensor chosen = informer_detail::active_queries(q, k, sample, active).unsqueeze(-1);  // [B, H, u, 1]
  const Tensor rows = chosen.expand({-1, -1, -1, q.size(3)});
  const Tensor allowed = causal ? at::arange(k.size(2), chosen.options()) <= chosen : Tensor();  // [B, H, u, Lk]
  const Tensor attended = attention(q.gather(2, rows), k, v, allowed, dropout);
  const Tensor lazy = causal ? v.cumsum(2) : v.mean(2, /*keepdim=*/true).expand_as(q);
  return lazy.scatter(2, rows, attended);
}

Tensor draw_sample(at::IntArrayRef shape, int64_t keys, bool training, at::Device device) {
  if (training) return at::randint(keys, shape, at::TensorOptions(at::kLong).device(device));
  return at::randint(keys, shape, at::make_generator<at::CPUGeneratorImpl>(uint64_t{0}), at::TensorOptions(at::kLong)).to(device);
}

Tensor circular_convolution(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  // One linear over each step with its two neighbours: faster than a convolution here, and the steps stay where they are.
  const Tensor neighbours = at::cat({x.roll(1, 1), x, x.roll(-1, 1)}, -1);  // [B, L, 3 in]
  return linear(neighbours, weight.transpose(1, 2).reshape({weight.size(0), -1}), bias);
}

DistilImpl::DistilImpl(int64_t width)
    : weight(param("downConv.weight", {width, width, 3})), bias(param("downConv.bias", {width})),
      norm(add("norm", BatchNorm(width))) {}

Tensor DistilImpl::forward(const Tensor& x) {
  Tensor y = circular_convolution(x, weight, bias).flatten(0, 1);  // [B L, D]: the statistics are over batch and time
  y = at::elu(norm(y));
  return at::max_pool1d(y.view(x.sizes()).transpose(1, 2), {3}, {2}, {1}).transpose(1, 2);
}

void DistilImpl::init() {
  const double bound = 1.0 / std::sqrt(static_cast<double>(weight.size(1) * weight.size(2)));
  at::NoGradGuard no_grad;
  weight.uniform_(-bound, bound);
  bias.uniform_(-bound, bound);
}

}  // namespace zoo
