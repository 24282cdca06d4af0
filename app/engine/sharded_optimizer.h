// ShardedOptimizer: an optimizer whose state is spread over the ranks (ZeRO stage 1, Rajbhandari et al., 2020): each steps
// its share of the parameters and sends them to the others. One process: the plain optimizer.
#pragma once
#include <memory>
#include <vector>

#include "app/engine/optimizer.h"
#include "app/engine/ranks.h"

namespace zoo::app {

class ShardedOptimizer {
 public:
  // `shard` false: every rank keeps the whole state and takes the same steps.
  ShardedOptimizer(const OptimizerOptions& options, const torch::nn::Module& network, const Ranks& ranks, bool shard);

  // Gradients must be the same on all ranks. Collective when sharded, as are state() and load_state().
  void step(double lr);
  void zero_grad();
  const std::vector<at::Tensor>& parameters() const { return parameters_; }  // all trained ones

  // As Optimizer::state(): complete on rank 0; on the others of a sharded one empty.
  Tensors state() const;
  // Takes a complete state, and of that its share. Throws as Optimizer::load_state().
  void load_state(const Tensors& state);

 private:
  const Ranks& ranks_;
  bool sharded_;
  std::vector<std::vector<ParameterGroup>> shares_;  // by rank; empty unless sharded
  std::unique_ptr<Optimizer> own_;                   // none for a rank without parameters
  std::vector<at::Tensor> parameters_;
};

}  // namespace zoo::app
