#include "models/blocks/layers.h"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "models/blocks/gpu_rows.h"
#include "models/blocks/gpu_training.h"
#include "models/blocks/norm_rows.h"
#include "models/blocks/row_kernels.h"
#include "models/names.h"
#include "models/trace.h"

namespace zoo {

namespace layers_detail {

// Of what loops of our own take: inference in float32 on a CPU.
bool plain(const Tensor& x) { return !at::GradMode::is_enabled() && x.is_cpu() && x.scalar_type() == at::kFloat && x.is_contiguous() && x.numel() > 0; }

// Calls work(first, last) for parts of so many rows.
template <class Work>
void over_rows(int64_t rows, int64_t width, const Work& work) {
  constexpr int64_t kWorthAThread = 1 << 14;  // numbers
  at::parallel_for(0, rows, std::max<int64_t>(1, kWorthAThread / width), work);
}

}  // namespace layers_detail

LayerNormImpl::LayerNormImpl(int64_t width, double eps)
    : weight(param("weight", {width})), bias(param("bias", {width})), eps_(eps) {}

Tensor LayerNormImpl::forward(const Tensor& x) {
  if (goes_by_rows(x)) return rows(x, /*half=*/false);
  Tensor y = gpu_layer_norm(x, Tensor(), weight, bias, eps_, nullptr);
  if (!y.defined()) y = trained_layer_norm(x, weight, bias, eps_);
  return y.defined() ? y : at::layer_norm(x, weight.sizes(), weight, bias, eps_);
}

// Not in training, where a forward that is to be computed again runs without gradients, too, and must give the same to the last bit.
bool LayerNormImpl::goes_by_rows(const Tensor& x) const {
  return !is_training() && layers_detail::plain(x) && layers_detail::plain(weight) && x.size(-1) == weight.numel();
}

Tensor LayerNormImpl::rows(const Tensor& x, bool half, const Tensor& order) {
  if (!goes_by_rows(x)) return order.defined() ? forward(x).index_select(1, order) : forward(x);
  std::vector<int64_t> shape = x.sizes().vec();
  NormRows work = {x.const_data_ptr<float>(), weight.const_data_ptr<float>(), bias.const_data_ptr<float>(), nullptr, half, x.size(-1), static_cast<float>(eps_)};
  if (order.defined()) {
    TORCH_CHECK(x.dim() == 3 && order.is_contiguous(), "layer norm of rows in an order: x is ", x.sizes(), "; expected [B, N, width]");
    work.order = order.const_data_ptr<int64_t>(), work.places = shape[1] = order.numel(), work.per = x.size(1);
  }
  const Tensor y = at::empty(shape, x.options().dtype(half ? at::kBFloat16 : at::kFloat));
  work.y = y.mutable_data_ptr();
  layers_detail::over_rows(y.numel() / work.width, work.width, [&](int64_t begin, int64_t end) { norm_rows(work, begin, end); });
  return y;
}

Tensor added_rows(const Tensor& x, const Tensor& more, const Tensor& order) {
  if (!layers_detail::plain(x) || !layers_detail::plain(more) || x.dim() != 3 || !order.is_contiguous()) return x + more.index_select(1, order);
  TORCH_CHECK(x.size(0) == more.size(0) && x.size(2) == more.size(2) && x.size(1) == order.numel(), "added_rows: ", x.sizes(), " and ", more.sizes(), " in an order of ", order.numel());
  const Tensor y = at::empty_like(x);
  const AddRows work = {x.const_data_ptr<float>(), more.const_data_ptr<float>(), y.mutable_data_ptr<float>(), x.size(2), order.const_data_ptr<int64_t>(), x.size(1), more.size(1)};
  layers_detail::over_rows(x.size(0) * x.size(1), work.width, [&](int64_t begin, int64_t end) { add_rows(work, begin, end); });
  return y;
}

void LayerNormImpl::init() {
  at::NoGradGuard no_grad;
  weight.fill_(1.0);
  bias.zero_();
}

std::pair<Tensor, Tensor> with_norm(LayerNorm& norm, const Tensor& x, const Tensor& change) {
  if (!Trace::active()) {
    const auto both = trained_layer_norm_beside(x, change, norm->weight, norm->bias, norm->eps());
    if (both[0].defined()) return {both[0], both[1]};
  }
  const Tensor s = change.defined() ? x + change : x;
  return {s, norm(s)};
}

// One pass instead of six operations, each of which costs more than the arithmetic where there are few rows.
Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps) {
  using layers_detail::plain;
  if (const Tensor y = gpu_rms_norm(x, weight, eps); y.defined()) return y;
  if (!at::GradMode::is_enabled() && x.is_cuda() && x.scalar_type() == weight.scalar_type()) return at::rms_norm(x, weight.sizes(), weight, eps);
  if (!plain(x) || !plain(weight) || x.size(-1) != weight.numel()) {
    const Tensor variance = x.to(at::kFloat).square().mean(-1, /*keepdim=*/true);
    return weight * (x * at::rsqrt(variance + eps)).to(weight.scalar_type());
  }
  const Tensor y = at::empty_like(x);
  const int64_t width = weight.numel();
  layers_detail::over_rows(x.numel() / width, width, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin * width; i < end * width; i += width) {
      rms_norm_row(x.const_data_ptr<float>() + i, weight.const_data_ptr<float>(), width, eps, y.mutable_data_ptr<float>() + i);
    }
  });
  return y;
}

EmbeddingImpl::EmbeddingImpl(int64_t rows, int64_t width) : weight(param("weight", {rows, width})) {}

namespace layers_detail {

// The rows of a small table whose gradient is a product with ones where a row was taken. Of more than 3072 ids LibTorch's kernel on a GPU sums the
// gradient of a table of so few rows in another order each time, and takes longer (docs/performance.md).
struct FewRows : torch::autograd::Function<FewRows> {
  static constexpr int64_t kMostRows = 64, kMostIds = 3072;
  static bool wanted(const Tensor& weight, const Tensor& ids) {
    return weight.is_cuda() && at::GradMode::is_enabled() && weight.requires_grad() && weight.size(0) <= kMostRows && ids.numel() > kMostIds;
  }
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& weight, const Tensor& ids) {
    context->save_for_backward({ids});
    context->saved_data["rows"] = weight.size(0);
    return at::embedding(weight, ids);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context, torch::autograd::variable_list grads) {
    const Tensor ids = context->get_saved_variables()[0].flatten();
    const Tensor taken = ids.unsqueeze(0) == at::arange(context->saved_data["rows"].toInt(), ids.options()).unsqueeze(1);  // [rows, ids]
    return {taken.to(grads[0].scalar_type()).mm(grads[0].reshape({ids.numel(), -1})), Tensor()};
  }
};

}  // namespace layers_detail

Tensor EmbeddingImpl::forward(const Tensor& ids) {
  return layers_detail::FewRows::wanted(weight, ids) ? layers_detail::FewRows::apply(weight, ids) : at::embedding(weight, ids);
}

void EmbeddingImpl::init() {
  at::NoGradGuard no_grad;
  weight.normal_();
}

Conv2dImpl::Conv2dImpl(int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t padding, bool with_bias)
    : stride_(stride), padding_(padding) {
  weight = param("weight", {out, in, kernel, kernel});
  if (with_bias) bias = param("bias", {out});
}

namespace layers_detail {

// cuDNN's convolution of such patches takes ten times as long as their product (docs/performance.md).
bool are_rows(const Tensor& x, int64_t kernel, int64_t stride, int64_t padding) {
  return x.is_cuda() && x.dim() == 4 && kernel > 1 && stride == kernel && padding == 0 && x.size(2) % kernel == 0 && x.size(3) % kernel == 0 && x.numel() > 0;
}

Tensor product_of_patches(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  const int64_t k = weight.size(2), height = x.size(2) / k, width = x.size(3) / k;
  const Tensor rows = x.reshape({x.size(0), x.size(1), height, k, width, k}).permute({0, 2, 4, 1, 3, 5}).reshape({x.size(0), height, width, x.size(1) * k * k});
  return at::linear(rows, weight.flatten(1), bias.defined() ? std::optional<Tensor>(bias) : std::nullopt).permute({0, 3, 1, 2});
}

}  // namespace layers_detail

Tensor Conv2dImpl::forward(const Tensor& x) {
  if (layers_detail::are_rows(x, weight.size(2), stride_, padding_)) return adapted(layers_detail::product_of_patches(x, weight, bias), x);
  return adapted(at::conv2d(x, weight, bias.defined() ? std::optional<Tensor>(bias) : std::nullopt, {stride_, stride_}, {padding_, padding_}), x);
}

Tensor Conv2dImpl::product(const Tensor& x, const Tensor& other) {
  return at::conv2d(x, other, {}, {stride_, stride_}, {padding_, padding_});
}

Tensor Conv2dImpl::mix_channels(const Tensor& x, const Tensor& other, const Tensor& with) {
  return at::conv2d(x, other, with.defined() ? std::optional<Tensor>(with) : std::nullopt);
}

void Conv2dImpl::init() {
  const double bound = 1.0 / std::sqrt(static_cast<double>(weight.numel() / weight.size(0)));
  at::NoGradGuard no_grad;
  weight.uniform_(-bound, bound);
  if (bias.defined()) bias.uniform_(-bound, bound);
}

BatchNormImpl::BatchNormImpl(int64_t width, double eps)
    : weight(param("weight", {width})), bias(param("bias", {width})), running_mean(buffer("running_mean", at::zeros({width}))),
      running_var(buffer("running_var", at::ones({width}))), num_batches_tracked(buffer("num_batches_tracked", at::zeros({}, at::kLong))),
      eps_(eps) {}

Tensor BatchNormImpl::forward(const Tensor& x) {
  if (is_training()) num_batches_tracked.add_(1);
  return at::batch_norm(x, weight, bias, running_mean, running_var, is_training(), /*momentum=*/0.1, eps_, /*cudnn_enabled=*/true);
}

void BatchNormImpl::init() {
  at::NoGradGuard no_grad;
  weight.fill_(1.0);
  bias.zero_();
  running_mean.zero_();
  running_var.fill_(1.0);
  num_batches_tracked.zero_();
}

Tensor drop_path(const Tensor& branch, double p, bool training) {
  if (!training || p == 0.0) return branch;
  std::vector<int64_t> shape(branch.dim(), 1);
  shape[0] = branch.size(0);
  return branch * at::empty(shape, branch.options()).bernoulli_(1.0 - p).div_(1.0 - p);
}

namespace activation_detail {
const std::vector<std::pair<std::string, Activation>>& table() {
  static const std::vector<std::pair<std::string, Activation>> known = {
      {"gelu", [](const Tensor& x) { return at::gelu(x); }},
      {"gelu_new", [](const Tensor& x) { return at::gelu(x, "tanh"); }},
      {"gelu_pytorch_tanh", [](const Tensor& x) { return at::gelu(x, "tanh"); }},
      {"quick_gelu", [](const Tensor& x) { return x * at::sigmoid(1.702 * x); }},
      {"relu", [](const Tensor& x) { return at::relu(x); }},
      {"silu", [](const Tensor& x) { return at::silu(x); }},
      {"swish", [](const Tensor& x) { return at::silu(x); }},
      {"tanh", [](const Tensor& x) { return at::tanh(x); }},
  };
  return known;
}
}  // namespace activation_detail

const std::vector<std::string>& activation_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const auto& [name, function] : activation_detail::table()) all.push_back(name);
    return all;
  }();
  return names;
}

Activation activation(const std::string& name) {
  for (const auto& [known, function] : activation_detail::table()) {
    if (known == name) return function;
  }
  throw std::invalid_argument("unknown activation '" + name + "'; known: " + join(activation_names()));
}

}  // namespace zoo
