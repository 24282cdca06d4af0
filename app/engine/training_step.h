// TrainingStep: one step of the optimizer from one or several batches.
#pragma once
#include <span>

#include "app/engine/optimizer.h"
#include "app/engine/recipe.h"
#include "app/tasks/task.h"

namespace zoo::app {

struct StepResult {
  double loss = 0;           // mean over all terms of the step
  double gradient_norm = 0;  // before clipping
};

class TrainingStep {
 public:
  TrainingStep(const Recipe& recipe, const Task& task, Bundle& bundle);

  // Several batches count as the one large batch that they make together: each weighs by its terms (Task::loss_terms).
  // Throws std::runtime_error when the loss or the gradients are not finite; the network is unchanged then.
  StepResult run(std::span<const Tensors> batches, double lr);

  // What an exact resume needs.
  Tensors state() const;
  void load_state(const Tensors& state);

 private:
  double accumulate(std::span<const Tensors> batches);
  std::string first_bad_tensor(const Tensors& batch) const;

  const Recipe& recipe_;
  const Task& task_;
  Bundle& bundle_;
  Json loss_options_;
  std::unique_ptr<Optimizer> optimizer_;
};

}  // namespace zoo::app
