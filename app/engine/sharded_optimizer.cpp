#include "app/engine/sharded_optimizer.h"

#include <algorithm>
#include <set>

#include "app/engine/tensor_bytes.h"

namespace zoo::app {
namespace sharded_optimizer_detail {

// Each parameter goes to the rank that has the fewest elements so far: the same on all ranks.
std::vector<std::vector<ParameterGroup>> divide(const std::vector<ParameterGroup>& groups, int size) {
  std::vector<std::vector<ParameterGroup>> shares(static_cast<size_t>(size));
  std::vector<int64_t> load(static_cast<size_t>(size), 0);
  for (const auto& group : groups) {
    std::vector<ParameterGroup> parts(static_cast<size_t>(size), ParameterGroup{group.lr_scale, group.weight_decay, {}, {}});
    for (size_t i = 0; i < group.parameters.size(); ++i) {
      const auto rank = static_cast<size_t>(std::min_element(load.begin(), load.end()) - load.begin());
      load[rank] += group.parameters[i].numel();
      parts[rank].names.push_back(group.names[i]);
      parts[rank].parameters.push_back(group.parameters[i]);
    }
    for (size_t rank = 0; rank < parts.size(); ++rank) {
      if (!parts[rank].parameters.empty()) shares[rank].push_back(parts[rank]);
    }
  }
  return shares;
}

std::vector<at::Tensor> parameters_of(const std::vector<ParameterGroup>& groups) {
  std::vector<at::Tensor> all;
  for (const auto& group : groups) all.insert(all.end(), group.parameters.begin(), group.parameters.end());
  return all;
}

// "layer.0.weight.exp_avg" belongs to the parameter "layer.0.weight".
bool belongs(const std::string& key, const std::vector<ParameterGroup>& groups) {
  const std::string parameter = key.substr(0, key.rfind('.'));
  return std::any_of(groups.begin(), groups.end(), [&](const ParameterGroup& group) {
    return std::find(group.names.begin(), group.names.end(), parameter) != group.names.end();
  });
}

}  // namespace sharded_optimizer_detail

ShardedOptimizer::ShardedOptimizer(const OptimizerOptions& options, const torch::nn::Module& network, const Ranks& ranks, bool shard)
    : ranks_(ranks), sharded_(shard && ranks.size() > 1) {
  if (!sharded_) {
    own_ = make_optimizer(options, network);
    parameters_ = own_->parameters();
    return;
  }
  const auto groups = parameter_groups(group_options(options), network);
  parameters_ = sharded_optimizer_detail::parameters_of(groups);
  shares_ = sharded_optimizer_detail::divide(groups, ranks.size());
  const auto& mine = shares_[static_cast<size_t>(ranks.rank())];
  if (!mine.empty()) own_ = make_optimizer(options, mine);
}

void ShardedOptimizer::step(double lr) {
  if (own_) own_->step(lr);
  for (int rank = 0; rank < static_cast<int>(shares_.size()); ++rank) {
    const auto changed = sharded_optimizer_detail::parameters_of(shares_[static_cast<size_t>(rank)]);
    ranks_.broadcast(changed, rank);
  }
}

void ShardedOptimizer::zero_grad() {
  for (auto& parameter : parameters_) parameter.mutable_grad().reset();
}

Tensors ShardedOptimizer::state() const {
  Tensors own = own_ ? own_->state() : Tensors();
  if (!sharded_) return own;
  Tensors all;
  for (const auto& bytes : ranks_.gather(tensors_to_bytes(own))) {
    for (const auto& [key, tensor] : tensors_from_bytes(bytes)) all[key] = tensor;
  }
  return all;
}

void ShardedOptimizer::load_state(const Tensors& state) {
  if (!own_) return;
  if (!sharded_) return own_->load_state(state);
  Tensors mine;
  for (const auto& [key, tensor] : state) {
    if (sharded_optimizer_detail::belongs(key, shares_[static_cast<size_t>(ranks_.rank())])) mine[key] = tensor;
  }
  own_->load_state(mine);
}

}  // namespace zoo::app
