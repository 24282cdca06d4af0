// TrainingStep: one step of the optimizer from one or several batches.
#pragma once
#include <optional>
#include <span>

#include "app/engine/ema.h"
#include "app/engine/gradient_reducer.h"
#include "app/engine/graphed_training.h"
#include "app/engine/precision.h"
#include "app/engine/recipe.h"
#include "app/engine/sharded_optimizer.h"
#include "app/tasks/task.h"

namespace zoo::app {

struct StepResult {
  double loss = 0;           // mean over all terms of the step
  double gradient_norm = 0;  // before clipping
  bool left_out = false;     // float16 gradients overflowed: the loss scale went down, the weights stayed
};

class TrainingStep {
 public:
  TrainingStep(const Recipe& recipe, const Task& task, Bundle& bundle, const Ranks& ranks);
  TrainingStep(const TrainingStep&) = delete;
  TrainingStep& operator=(const TrainingStep&) = delete;

  // Several batches, here and on other ranks, count as the one large batch that they make together: each weighs by its terms
  // (Task::loss_terms). All ranks give equally many batches; an empty one stands for no examples.
  // Throws std::runtime_error when the loss or the gradients are not finite; the network is unchanged then.
  StepResult run(std::span<const Tensors> batches, double lr);

  WeightAverage* average() { return average_ ? &*average_ : nullptr; }  // null without "ema"

  // What an exact resume needs; complete on rank 0. Collective.
  Tensors state() const;
  void load_state(const Tensors& state);

 private:
  at::Tensor loss_of(const Tensors& batch);
  bool recordable() const;
  // Loss of a batch times its share of the step, detached; its gradients are added to those at hand. Undefined for an empty batch.
  at::Tensor differentiated(const Tensors& batch, double share, bool last);
  double accumulate(std::span<const Tensors> batches);
  void refuse_if_not_finite(const StepResult& result, std::span<const Tensors> batches) const;
  std::string first_bad_tensor(const Tensors& batch) const;

  const Recipe& recipe_;
  const Task& task_;
  Bundle& bundle_;
  const Ranks& ranks_;
  Json loss_options_;
  ShardedOptimizer optimizer_;
  GradientReducer reducer_;
  std::optional<WeightAverage> average_;
  std::optional<LossScaler> scaler_;  // float16 only
  std::optional<Distillation> distillation_;
  GraphedTraining alone_;  // a step's only batch, in one process: loss and gradients
};

}  // namespace zoo::app
