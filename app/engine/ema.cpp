#include "app/engine/ema.h"

#include <algorithm>
#include <stdexcept>
#include <unordered_set>

namespace zoo::app {

WeightAverage::WeightAverage(const AverageOptions& options, const torch::nn::Module& network) : options_(options) {
  if (!(options.decay >= 0.0 && options.decay < 1.0)) {
    throw std::invalid_argument("ema.decay is " + std::to_string(options.decay) + "; expected from 0 to below 1, such as 0.999");
  }
  const at::NoGradGuard no_grad;
  std::unordered_set<const void*> seen;  // tied weights are registered more than once
  for (const auto& item : network.named_parameters()) {
    if (!item.value().requires_grad() || !seen.insert(item.value().unsafeGetTensorImpl()).second) continue;
    names_.push_back(item.key());
    parameters_.push_back(item.value());
    averages_.push_back(item.value().detach().clone());
  }
}

void WeightAverage::update() {
  if (swapped_) throw std::logic_error("the average of weights is in the network's place; it cannot be updated now");
  const at::NoGradGuard no_grad;
  const auto n = static_cast<double>(++updates_);
  const double decay = options_.warmup ? std::min(options_.decay, (1.0 + n) / (10.0 + n)) : options_.decay;
  at::_foreach_lerp_(averages_, parameters_, at::Scalar(1.0 - decay));
}

void WeightAverage::swap() {
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < averages_.size(); ++i) {  // copied, not exchanged: others hold views of these tensors
    const at::Tensor kept = parameters_[i].detach().clone();
    parameters_[i].copy_(averages_[i]);
    averages_[i].copy_(kept);
  }
  swapped_ = !swapped_;
}

Tensors WeightAverage::state() const {
  if (swapped_) throw std::logic_error("the average of weights is in the network's place; it cannot be saved as state now");
  Tensors state = {{"average.updates", at::scalar_tensor(updates_, at::kLong)}};
  for (size_t i = 0; i < names_.size(); ++i) state.emplace(names_[i] + ".average", averages_[i]);
  return state;
}

void WeightAverage::load_state(const Tensors& state) {
  const at::NoGradGuard no_grad;
  const Tensors own = this->state();
  for (const auto& [name, tensor] : own) {
    const auto found = state.find(name);
    const bool fits = found != state.end() && found->second.defined() && found->second.sizes() == tensor.sizes() &&
                      found->second.scalar_type() == tensor.scalar_type();
    if (!fits) throw std::invalid_argument("averaged weights: '" + name + "' is missing or of another shape (is the state of another network?)");
  }
  for (const auto& [name, tensor] : state) {
    if (!own.contains(name)) throw std::invalid_argument("averaged weights: unknown name '" + name.substr(0, 200) + "'");
  }
  for (size_t i = 0; i < names_.size(); ++i) averages_[i].copy_(state.at(names_[i] + ".average"));
  updates_ = state.at("average.updates").item<int64_t>();
}

}  // namespace zoo::app
