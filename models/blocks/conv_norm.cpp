#include "models/blocks/conv_norm.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstring>

#include "models/blocks/linear.h"

namespace zoo {
namespace conv_norm_detail {

constexpr int64_t kPatchBytes = 8 << 20;  // of patches at a time, so that they are still in a cache when they are multiplied

// One picture's patches; in [H, W, C], out [H', W', kernel, kernel, C].
void copy_patches(const float* in, int64_t height, int64_t width, int64_t channels, int64_t kernel, int64_t stride, float* out) {
  const int64_t pad = kernel / 2, wide = (width + stride - 1) / stride, line = kernel * channels;
  at::parallel_for(0, (height + stride - 1) / stride, 1, [&](int64_t begin, int64_t end) {
    float* to = out + begin * wide * kernel * line;
    for (int64_t y = begin; y < end; ++y) {
      for (int64_t x = 0; x < wide; ++x) {
        const int64_t left = x * stride - pad, first = std::max<int64_t>(left, 0), last = std::min(left + kernel, width);
        for (int64_t row = y * stride - pad; row < y * stride - pad + kernel; ++row, to += line) {
          const bool inside = row >= 0 && row < height;
          if (!inside || last - first < kernel) std::memset(to, 0, line * sizeof(float));
          // Neighbours in a line are neighbours in memory: one copy for a whole line of the kernel.
          if (inside) std::memcpy(to + (first - left) * channels, in + (row * width + first) * channels, (last - first) * channels * sizeof(float));
        }
      }
    }
  });
}

Tensor channels_last(const Tensor& x) { return x.permute({0, 2, 3, 1}).contiguous(); }

}  // namespace conv_norm_detail

Tensor patches(const Tensor& x, int64_t kernel, int64_t stride) {
  const Tensor dense = conv_norm_detail::channels_last(x);  // [B, H, W, C]
  const int64_t batch = dense.size(0), height = dense.size(1), width = dense.size(2), channels = dense.size(3);
  const Tensor result = at::empty({batch, (height + stride - 1) / stride, (width + stride - 1) / stride, kernel * kernel * channels}, x.options());
  for (int64_t i = 0; i < batch; ++i) {
    conv_norm_detail::copy_patches(dense.const_data_ptr<float>() + i * dense.stride(0), height, width, channels, kernel, stride,
                                   result.mutable_data_ptr<float>() + i * result.stride(0));
  }
  return result;
}

ConvNormImpl::ConvNormImpl(int64_t in, int64_t out, int64_t kernel, int64_t stride, const std::string& activation)
    : convolution(add("convolution", Conv2d(in, out, kernel, stride, kernel / 2, /*with_bias=*/false))),
      normalization(add("normalization", BatchNorm(out))), kernel_(kernel), stride_(stride), activation_(activation) {}

Tensor ConvNormImpl::forward(const Tensor& x, const Tensor& residual) {
  if (packed_ && convolution->adapters().empty() && packed_takes(*packed_, x, x.size(-1), Tensor())) return on_packed(x, residual);
  // What another convolution left in bfloat16.
  const auto own = [&](const Tensor& t) { return packed_ && t.defined() ? t.to(convolution->weight.scalar_type()) : t; };
  Tensor y = normalization(convolution(own(x)));
  if (residual.defined()) y = y + own(residual);
  return activation_.empty() ? y : activation(activation_)(y);
}

bool ConvNormImpl::pack(Precision precision) {
  const at::NoGradGuard no_grad;
  const Tensor scale = normalization->weight.detach() * at::rsqrt(normalization->running_var + normalization->eps());
  const Tensor matrix = (convolution->weight.detach() * scale.view({-1, 1, 1, 1})).permute({0, 2, 3, 1}).reshape({scale.size(0), -1});
  shift_ = normalization->bias.detach() - normalization->running_mean * scale;
  packed_ = pack_weight(matrix, shift_, precision, {kernel_, stride_});
  half_ = precision == Precision::bfloat16;
  return packed_ != nullptr;
}

Tensor ConvNormImpl::on_packed(const Tensor& x, const Tensor& residual) const {
  namespace d = conv_norm_detail;
  const auto first = [](const Tensor& y) { return y.permute({0, 3, 1, 2}); };  // channels stay last in memory
  const Pointwise after = pointwise_of(activation_);
  const bool fuses = after != Pointwise::none || activation_.empty();
  const auto finished = [&](const Tensor& y) { return activation_.empty() ? y : activation(activation_)(y); };
  const Tensor last = d::channels_last(x), more = residual.defined() ? d::channels_last(residual) : residual;
  if (const Tensor y = packed_->multiply_patches(last, shift_, after, more); y.defined()) return fuses ? first(y) : finished(first(y));

  const Tensor in = last.to(at::kFloat), added = more.defined() ? more.to(at::kFloat) : more;
  const Pointwise within = residual.defined() ? Pointwise::none : after;  // the residual comes before the activation
  const auto multiply = [&](int64_t begin, int64_t end) {
    const Tensor from = in.slice(0, begin, end);
    const Tensor rows = kernel_ == 1 && stride_ == 1 ? from : patches(first(from), kernel_, stride_);
    if (half_ && !added.defined()) return packed_->multiply_for_product(rows, shift_, within);
    return packed_->multiply(rows, shift_, within, added.defined() ? added.slice(0, begin, end) : added);  // [b, H', W', out]
  };
  const int64_t batch = x.size(0), bytes = x.numel() / batch * kernel_ * kernel_ / (stride_ * stride_) * int64_t{sizeof(float)};
  const int64_t at_once = kernel_ == 1 ? batch : std::clamp<int64_t>(d::kPatchBytes / std::max<int64_t>(bytes, 1), 1, batch);
  std::vector<Tensor> parts;
  for (int64_t i = 0; i < batch; i += at_once) parts.push_back(multiply(i, std::min(i + at_once, batch)));
  const Tensor y = first(parts.size() == 1 ? parts.front() : at::cat(parts));
  return within != Pointwise::none ? y : finished(y);
}

}  // namespace zoo
