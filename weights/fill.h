// The fill rule: values of a tensor from its checkpoint key, its shape and a seed alone. The reference side
// computes the same numbers, so a proof needs no stored weights (docs/architecture.md, "Parity").
#pragma once

#include <ATen/ATen.h>
#include <torch/nn/module.h>

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace zoo::weights {

uint64_t fnv1a64(std::string_view text);

// `count` doubles in [0, 1): splitmix64 of fnv1a64("seed:key") + i * golden gamma.
std::vector<double> uniform(const std::string& key, int64_t count, int64_t seed);

// Values of a parameter or batch-norm statistic, float64 of the given shape:
// running_var 1 + 0.25 u; running_mean 0.1 t; matrices and more t sqrt(3 / prod(shape[1:])); vectors that end
// in weight, gamma, scale or alpha 1 + 0.1 t; everything else 0.1 t; where t = 2 u - 1.
at::Tensor fill_values(const std::string& key, at::IntArrayRef shape, int64_t seed);

// float32 in [low, high) and int64 in [low, high) for the input called `name`.
at::Tensor fill_inputs(const std::string& name, at::IntArrayRef shape, int64_t seed, double low = -1,
                       double high = 1);
at::Tensor fill_tokens(const std::string& name, at::IntArrayRef shape, int64_t seed, int64_t low,
                       int64_t high);

// Fills every floating-point parameter and batch-norm statistic of a module in place, and returns (key,
// shape) in the module's order. A tensor registered under several keys is filled once, under the one of them
// in `canonical` (the reference's first), else under the module's first.
std::vector<std::pair<std::string, std::vector<int64_t>>> fill_module(
    torch::nn::Module& module, int64_t seed, const std::set<std::string>& canonical = {});

}  // namespace zoo::weights
