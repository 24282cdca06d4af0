#include "models/blocks/gpu_rows.h"

#include <ATen/autocast_mode.h>
#include <c10/core/DeviceGuard.h>

#include "models/blocks/gpu_kernels.h"

namespace zoo {
namespace gpu_rows_detail {

using at::Tensor;
using namespace gpu_kernels;

constexpr int64_t kMostRows = 8, kMostScores = 8192;  // scores are kept in 32 of a block's 48 KB

bool possible(const Tensor& x) { return gpu_kernels::possible(x) && !at::GradMode::is_enabled() && !at::autocast::is_autocast_enabled(at::kCUDA); }

bool takes_product(const Tensor& x, const LinearWeight& w) {
  const int64_t in = x.size(-1);
  return x.numel() > 0 && x.numel() / in <= kMostRows && alike(x, x) && aligned(x) && in * x.element_size() % 16 == 0 && alike(w.weight, x) && aligned(w.weight) &&
         w.weight.dim() == 2 && w.weight.size(1) == in && (!w.bias.defined() || alike(w.bias, x));
}

struct Products {
  const void *weight[3], *bias[3];
  void* y[3];
};

// The first `count` of three; what is written is undefined where the kernel cannot be made.
std::array<Tensor, 3> products(const Tensor& x, const std::array<LinearWeight, 3>& weights, int64_t count, Pointwise after, const Tensor& residual) {
  const int64_t in = x.size(-1), rows = x.numel() / in, out = weights[0].weight.size(0), bytes = in * x.element_size();
  const c10::DeviceGuard guard(x.device());
  const Kernel function = kernel("linear", "ROWS", rows, x.scalar_type(), x.device().index());
  if (!function) return {};
  // More warps for an output while each would read more than three times 512 bytes and the GPU has room for them.
  int64_t share = 1;
  while (share < kWarps && bytes > 3 * 512 * share && out * count * share <= 8192) share *= 2;
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = out;
  std::array<Tensor, 3> y;
  Products p{};
  for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
    y[i] = at::empty(shape, x.options());
    p.weight[i] = weights[i].weight.const_data_ptr();
    p.bias[i] = weights[i].bias.defined() ? weights[i].bias.const_data_ptr() : nullptr;
    p.y[i] = y[i].mutable_data_ptr();
  }
  const void *from = x.const_data_ptr(), *added = residual.defined() ? residual.const_data_ptr() : nullptr;
  int inputs = static_cast<int>(in), outputs = static_cast<int>(out), shared = static_cast<int>(share), activation = static_cast<int>(after);
  void* arguments[] = {&from, &p, &added, &inputs, &outputs, &shared, &activation};
  launch(function, {(out * share + kWarps - 1) / kWarps, count}, 0, arguments, x.device().index());
  return y;
}

struct Shape {  // as in the kernel
  long long query_row, query_head, key_row, key_head, value_row, value_head, mask_row, mask_head, origin_row;
  int heads, length, beams;
  float scale;
};

bool aligned_rows(const Tensor& t) { return aligned(t) && t.stride(0) * t.element_size() % 16 == 0 && t.stride(1) * t.element_size() % 16 == 0; }
bool one_query(const Tensor& t) { return t.dim() == 4 && t.size(2) == 1 && t.stride(3) == 1; }

Tensor attend(const Tensor& q, const Newest* newest, const Tensor& keys, const Tensor& values, const Tensor& mask, double scale) {
  if (!possible(q) || !one_query(q) || q.numel() == 0 || !alike(keys, q) || !alike(values, q) || keys.dim() != 4 || keys.sizes() != values.sizes()) return {};
  const int64_t rows = q.size(0), heads = q.size(1), width = q.size(3), copies = keys.size(0), length = keys.size(2), lanes = width * q.element_size() / 16;
  const bool lanes_fit = width * q.element_size() % 16 == 0 && lanes >= 1 && lanes <= 32 && (lanes & (lanes - 1)) == 0;
  if (!lanes_fit || keys.size(1) != heads || keys.size(3) != width || length < 1 || length > kMostScores || copies < 1 || rows % copies != 0) return {};
  const auto fits = [&](const Tensor& t) { return t.scalar_type() == q.scalar_type() && t.device() == q.device() && t.dim() == 4; };
  if (mask.defined() && !(fits(mask) && mask.stride(3) == 1 && mask.size(3) == length && mask.size(2) == 1 && (mask.size(0) == 1 || mask.size(0) == copies) &&
                          (mask.size(1) == 1 || mask.size(1) == heads)))
    return {};
  if (newest && !(fits(newest->key) && fits(newest->value) && one_query(newest->key) && one_query(newest->value) && aligned_rows(newest->key) && aligned_rows(newest->value) &&
                  rows == copies))
    return {};
  const c10::DeviceGuard guard(q.device());
  const Kernel function = kernel("attend", "WIDTH", width, q.scalar_type(), q.device().index());
  if (!function) return {};

  const auto stride = [](const Tensor& t, int64_t dim) -> long long { return t.defined() && t.size(dim) > 1 ? t.stride(dim) : 0; };
  const Tensor key = newest ? newest->key : Tensor(), value = newest ? newest->value : Tensor();
  const Tensor origin = newest ? newest->origin : Tensor(), out = at::empty({rows, heads, 1, width}, q.options());
  Shape s{stride(q, 0), stride(q, 1), stride(key, 0), stride(key, 1), stride(value, 0), stride(value, 1), stride(mask, 0), stride(mask, 1), origin.defined() ? origin.stride(0) : 0,
          static_cast<int>(heads), static_cast<int>(length), static_cast<int>(rows / copies), static_cast<float>(scale)};
  const auto data = [](const Tensor& t) { return t.defined() ? t.const_data_ptr() : nullptr; };
  const void *from = data(q), *new_key = data(key), *new_value = data(value), *hidden = data(mask), *origins = data(origin);
  const void* position = newest ? data(newest->position) : nullptr;
  void *all_keys = keys.mutable_data_ptr(), *all_values = values.mutable_data_ptr(), *to = out.mutable_data_ptr();
  void* arguments[] = {&from, &new_key, &new_value, &all_keys, &all_values, &hidden, &position, &origins, &to, &s};
  launch(function, {heads, rows}, length * static_cast<int64_t>(sizeof(float)), arguments, q.device().index());
  return out;
}

}  // namespace gpu_rows_detail

at::Tensor gpu_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, Pointwise after, const at::Tensor& residual) {
  namespace d = gpu_rows_detail;
  const LinearWeight w{weight, bias};
  if (!d::possible(x) || !d::takes_product(x, w)) return {};
  if (residual.defined() && !(d::alike(residual, x) && residual.size(-1) == weight.size(0) && residual.numel() == x.numel() / x.size(-1) * weight.size(0))) return {};
  return d::products(x, {w, {}, {}}, 1, after, residual)[0];
}

std::array<at::Tensor, 3> gpu_linear(const at::Tensor& x, const std::array<LinearWeight, 3>& weights) {
  namespace d = gpu_rows_detail;
  if (!d::possible(x)) return {};
  for (const auto& w : weights) {
    if (!d::takes_product(x, w) || w.weight.sizes() != weights[0].weight.sizes()) return {};
  }
  return d::products(x, weights, 3, Pointwise::none, {});
}

at::Tensor gpu_rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  namespace d = gpu_rows_detail;
  const int64_t width = weight.numel();
  if (!d::possible(x) || x.numel() == 0 || x.size(-1) != width || x.numel() / width > d::kMostRows || width * x.element_size() % 16 != 0) return {};
  if (!d::alike(x, x) || !d::alike(weight, x) || !d::aligned(x) || !d::aligned(weight)) return {};
  const c10::DeviceGuard guard(x.device());
  const auto function = d::kernel("rms_norm", "NORM", 1, x.scalar_type(), x.device().index());
  if (!function) return {};
  const at::Tensor y = at::empty_like(x);
  const void *from = x.const_data_ptr(), *gains = weight.const_data_ptr();
  void* to = y.mutable_data_ptr();
  int numbers = static_cast<int>(width);
  float epsilon = static_cast<float>(eps);
  void* arguments[] = {&from, &gains, &to, &numbers, &epsilon};
  d::launch(function, {x.numel() / width, 1}, 0, arguments, x.device().index());
  return y;
}

at::Tensor gpu_layer_norm(const at::Tensor& x, const at::Tensor& residual, const at::Tensor& weight, const at::Tensor& bias, double eps, at::Tensor* sum) {
  namespace d = gpu_rows_detail;
  constexpr int64_t kMostVectors = 8;  // of 16 bytes, that a lane keeps in registers
  const int64_t width = weight.numel(), bytes = width * x.element_size(), vectors = d::vectors_of_lane(x, width);
  const bool as_autocast_would = x.scalar_type() == at::kFloat || !at::autocast::is_autocast_enabled(at::kCUDA);
  if (!gpu_kernels::possible(x) || at::GradMode::is_enabled() || !as_autocast_would || x.numel() == 0 || x.size(-1) != width || bytes % 16 != 0 || vectors > kMostVectors || !bias.defined()) return {};
  for (const auto* t : {&x, &weight, &bias}) {
    if (!d::alike(*t, x) || !d::aligned(*t)) return {};
  }
  if (residual.defined() && !(d::alike(residual, x) && d::aligned(residual) && residual.sizes() == x.sizes())) return {};
  const c10::DeviceGuard guard(x.device());
  const auto function = d::kernel("layer_norm", "LAYER", vectors, x.scalar_type(), x.device().index());
  if (!function) return {};
  const at::Tensor y = at::empty_like(x), s = sum && residual.defined() ? at::empty_like(x) : x;
  const void *from = x.const_data_ptr(), *added = residual.defined() ? residual.const_data_ptr() : nullptr, *gains = weight.const_data_ptr(), *offsets = bias.const_data_ptr();
  void *total = sum && residual.defined() ? s.mutable_data_ptr() : nullptr, *to = y.mutable_data_ptr();
  long long rows = x.numel() / width;
  int numbers = static_cast<int>(width);
  float epsilon = static_cast<float>(eps);
  void* arguments[] = {&from, &added, &gains, &offsets, &total, &to, &rows, &numbers, &epsilon};
  d::launch(function, {(rows + d::kWarps - 1) / d::kWarps, 1}, 0, arguments, x.device().index());
  if (sum) *sum = s;  // last: it may be the residual's own name
  return y;
}

at::Tensor gpu_attend(const at::Tensor& q, const at::Tensor& keys, const at::Tensor& values, const at::Tensor& mask, double scale) {
  return gpu_rows_detail::attend(q, nullptr, keys, values, mask, scale);
}

at::Tensor gpu_attend(const at::Tensor& q, const Newest& newest, const at::Tensor& keys, const at::Tensor& values, const at::Tensor& mask, double scale) {
  return gpu_rows_detail::attend(q, &newest, keys, values, mask, scale);
}

}  // namespace zoo
