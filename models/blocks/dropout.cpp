#include "models/blocks/dropout.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Dispatch.h>
#include <ATen/OpMathType.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>

namespace zoo {
namespace dropout_detail {

constexpr double kSteps = 65536;  // 16 random bits decide on an element

uint64_t splitmix64(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

uint64_t new_seed() {
  auto generator = at::detail::getDefaultCPUGenerator();
  const std::lock_guard<std::mutex> lock(generator.mutex());
  return at::check_generator<at::CPUGeneratorImpl>(generator)->random64();
}

// out[i] = x[i] * scale where the 16 bits of element i reach `threshold`, else 0. One random number serves four elements.
template <class T>
void mask(const T* x, T* out, int64_t count, uint64_t seed, uint32_t threshold, float scale) {
  using A = at::opmath_type<T>;
  const A factors[2] = {A(0), static_cast<A>(scale)};  // a look-up, as a branch would be guessed wrong one time in ten
  const auto one = [&](int64_t i, uint64_t bits) {
    out[i] = static_cast<T>(static_cast<A>(x[i]) * factors[static_cast<uint32_t>(bits & 0xFFFF) >= threshold]);
  };
  at::parallel_for(0, (count + 3) / 4, 1 << 13, [&](int64_t begin, int64_t end) {
    for (int64_t group = begin; group < end; ++group) {
      const uint64_t bits = splitmix64(seed + static_cast<uint64_t>(group) * 0x9E3779B97F4A7C15u);
      const int64_t i = 4 * group;
      if (i + 4 <= count) {
        one(i, bits);
        one(i + 1, bits >> 16);
        one(i + 2, bits >> 32);
        one(i + 3, bits >> 48);
      } else {
        for (int64_t k = 0; i + k < count; ++k) one(i + k, bits >> (16 * k));
      }
    }
  });
}

at::Tensor masked(const at::Tensor& x, uint64_t seed, int64_t threshold) {
  const at::Tensor dense = x.contiguous(), out = at::empty_like(dense);
  const auto scale = static_cast<float>(kSteps / (kSteps - static_cast<double>(threshold)));
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, dense.scalar_type(), "dropout", [&] {
    mask(dense.const_data_ptr<scalar_t>(), out.mutable_data_ptr<scalar_t>(), dense.numel(), seed, static_cast<uint32_t>(threshold), scale);
  });
  return out;
}

struct Function : torch::autograd::Function<Function> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x, int64_t seed, int64_t threshold) {
    context->saved_data["seed"] = seed;
    context->saved_data["threshold"] = threshold;
    return masked(x, static_cast<uint64_t>(seed), threshold);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context, torch::autograd::variable_list grads) {
    const auto seed = static_cast<uint64_t>(context->saved_data["seed"].toInt());
    return {masked(grads[0], seed, context->saved_data["threshold"].toInt()), at::Tensor(), at::Tensor()};
  }
};

}  // namespace dropout_detail

at::Tensor fast_dropout(const at::Tensor& x, double p, bool training) {
  if (!training || p == 0.0) return x;
  if (!x.device().is_cpu() || !x.is_floating_point()) return at::dropout(x, p, training);
  const auto threshold = static_cast<int64_t>(std::llround(p * dropout_detail::kSteps));
  if (threshold >= static_cast<int64_t>(dropout_detail::kSteps)) return at::dropout(x, p, training);
  return dropout_detail::Function::apply(x, static_cast<int64_t>(dropout_detail::new_seed()), threshold);
}

}  // namespace zoo
