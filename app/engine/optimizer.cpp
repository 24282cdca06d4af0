#include "app/engine/optimizer.h"

#include <c10/util/StringUtil.h>

#include <stdexcept>

#include "app/engine/optimizers/optimizers.h"
#include "models/names.h"

namespace zoo::app {
namespace optimizer_detail {

using Maker = std::unique_ptr<Optimizer> (*)(const OptimizerOptions&, std::vector<ParameterGroup>);

const std::vector<std::pair<std::string, Maker>>& makers() {
  static const std::vector<std::pair<std::string, Maker>> list = {
      {"adamw", make_adamw}, {"adam", make_adam}, {"sgd", make_sgd}, {"adafactor", make_adafactor}, {"lion", make_lion}};
  return list;
}

std::string describe(const at::Tensor& tensor) { return c10::str(tensor.scalar_type(), " ", tensor.sizes()); }

void check(const std::string& name, const at::Tensor& wanted, const at::Tensor& given) {
  if (given.defined() && given.sizes() == wanted.sizes() && given.scalar_type() == wanted.scalar_type()) return;
  throw std::invalid_argument("optimizer state: '" + name + "' is " + (given.defined() ? describe(given) : "undefined") + "; expected " +
                              describe(wanted) + " (is it of another network or optimizer?)");
}

}  // namespace optimizer_detail

OptimizerOptions OptimizerOptions::defaults(const std::string& name) {
  OptimizerOptions options;
  options.name = name;
  if (name == "lion") options.beta2 = 0.99;
  if (name == "adafactor") options.beta1 = 0.0;
  return options;
}

Optimizer::Optimizer(std::vector<ParameterGroup> groups) {
  for (auto& group : groups) {
    parameters_.insert(parameters_.end(), group.parameters.begin(), group.parameters.end());
    groups_.push_back({group.lr_scale, group.weight_decay, std::move(group.names), std::move(group.parameters), {}, {}});
  }
}

void Optimizer::step(double lr) {
  const at::NoGradGuard no_grad;
  for (auto& group : groups_) {
    std::vector<size_t> ready;
    for (size_t i = 0; i < group.parameters.size(); ++i) {
      if (!group.parameters[i].grad().defined()) continue;
      ready.push_back(i);
      group.gradients.push_back(group.parameters[i].grad());
    }
    if (ready.size() == group.parameters.size()) {
      update(group, lr * group.lr_scale);
    } else if (!ready.empty()) {
      Group some{group.lr_scale, group.weight_decay, {}, {}, group.gradients, std::vector<std::vector<at::Tensor>>(group.slots.size())};
      for (const size_t i : ready) {
        some.names.push_back(group.names[i]);
        some.parameters.push_back(group.parameters[i]);
        for (size_t k = 0; k < group.slots.size(); ++k) some.slots[k].push_back(group.slots[k][i]);
      }
      update(some, lr * group.lr_scale);
    }
    group.gradients.clear();
  }
}

void Optimizer::zero_grad() {
  for (auto& parameter : parameters_) parameter.mutable_grad().reset();
}

template <class Visit>
void Optimizer::each_state(Visit visit) const {
  for (const auto& group : groups_) {
    for (size_t k = 0; k < group.slots.size(); ++k) {
      for (size_t i = 0; i < group.names.size(); ++i) {
        if (group.slots[k][i].defined()) visit(group.names[i] + "." + slot_names_[k], group.slots[k][i]);
      }
    }
  }
}

Tensors Optimizer::state() const {
  Tensors state;
  each_state([&](const std::string& name, const at::Tensor& tensor) { state.emplace(name, tensor.detach()); });
  return state;
}

void Optimizer::load_state(const Tensors& state) {
  const at::NoGradGuard no_grad;
  const Tensors own = this->state();
  std::vector<std::string> known;
  for (const auto& [name, tensor] : own) {
    known.push_back(name);
    const auto found = state.find(name);
    if (found == state.end()) {
      throw std::invalid_argument("optimizer state: '" + name + "' is missing (is it of another network or optimizer?)");
    }
    optimizer_detail::check(name, tensor, found->second);
  }
  for (const auto& [name, tensor] : state) {
    if (!own.contains(name)) {
      throw std::invalid_argument("optimizer state: unknown name '" + name.substr(0, 200) + "'; nearest: " + join(nearest(name, known)));
    }
  }
  for (const auto& [name, tensor] : own) tensor.copy_(state.at(name));
}

const std::vector<std::string>& optimizer_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> list;
    for (const auto& [name, maker] : optimizer_detail::makers()) list.push_back(name);
    return list;
  }();
  return names;
}

GroupOptions group_options(const OptimizerOptions& options) { return {options.weight_decay, options.layer_decay, options.groups}; }

std::unique_ptr<Optimizer> make_optimizer(const OptimizerOptions& options, std::vector<ParameterGroup> groups) {
  for (const auto& [name, maker] : optimizer_detail::makers()) {
    if (name == options.name) return maker(options, std::move(groups));
  }
  throw std::invalid_argument("unknown optimizer '" + options.name.substr(0, 80) + "'; known: " + join(optimizer_names()));
}

std::unique_ptr<Optimizer> make_optimizer(const OptimizerOptions& options, const torch::nn::Module& network) {
  return make_optimizer(options, parameter_groups(group_options(options), network));
}

}  // namespace zoo::app
