// Recomputation (activation checkpointing): a layer keeps only its inputs for backward, and runs again there for the rest.
// Costs about one more forward pass; the memory of the intermediates is then that of one layer instead of all.
// (Chen et al., 2016, "Training Deep Nets with Sublinear Memory Cost".)
#pragma once
#include <ATen/ATen.h>
#include <torch/nn/module.h>

#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace zoo {

// Switches it on or off for the repeated layers of a network: the outermost modules whose own name is a number, as
// add_n gives them ("encoder.layer.3"), unless they hold running statistics, which a second run would move again.
// Returns how many there are. Files of networks know nothing of it: Holder (models/module.h) asks before it calls.
int64_t recompute_layers(torch::nn::Module& network, bool on);

namespace recompute_detail {

using Forward = std::function<at::Tensor(const std::vector<at::Tensor>&)>;  // tensors may be undefined

// forward(inputs) without its intermediates; gradients as if they had been kept, dropout included. `inputs` are all
// tensors that forward reads besides the module's own.
at::Tensor run(const torch::nn::Module& module, const std::vector<at::Tensor>& inputs, const Forward& forward);

template <class T>
constexpr bool kTensor = std::is_same_v<std::decay_t<T>, at::Tensor>;
// What a call may hand over so that all its tensors are seen: tensors and plain numbers.
template <class T>
constexpr bool kPlain = kTensor<T> || std::is_arithmetic_v<std::decay_t<T>>;

// Stands for a tensor among the arguments that are kept: autograd keeps the tensors themselves.
struct Place {};

template <class T>
auto keep(const T& argument) {
  if constexpr (kTensor<T>) return Place{};
  else return argument;
}

template <class T>
auto take(const T& kept, const std::vector<at::Tensor>& tensors, size_t& next) {
  if constexpr (std::is_same_v<T, Place>) return tensors[next++];
  else return kept;
}

template <class Layer, class... Args>
at::Tensor call(Layer& layer, const Args&... args) {
  std::vector<at::Tensor> inputs;
  const auto gather = [&](const auto& argument) {
    if constexpr (kTensor<decltype(argument)>) inputs.push_back(argument);
  };
  (gather(args), ...);
  return run(layer, inputs, [&layer, kept = std::make_tuple(keep(args)...)](const std::vector<at::Tensor>& tensors) {
    return std::apply([&](const auto&... each) -> at::Tensor {
      size_t next = 0;
      std::tuple<std::decay_t<Args>...> again{take(each, tensors, next)...};  // braces: from left to right
      return std::apply([&](auto&... values) -> at::Tensor { return layer.forward(values...); }, again);
    }, kept);
  });
}

}  // namespace recompute_detail
}  // namespace zoo
