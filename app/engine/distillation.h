// Distillation: a trained network, the teacher, shows a smaller one what it would answer.
#pragma once
#include <ATen/ATen.h>

#include <string>

#include "app/bundle.h"
#include "app/tasks/task.h"

namespace zoo::app {

struct DistillationOptions {
  std::string teacher;       // checkpoint folder; empty: no distillation
  double alpha = 0.5;        // share of the teacher's loss; the rest is the task's own
  double temperature = 2.0;  // softens both answers
};

// alpha * teacher's loss + (1 - alpha) * task's loss. The teacher's loss is, by what both networks give: of "logits" the
// Kullback-Leibler divergence at the temperature, times its square (Hinton et al., 2015), mean over all positions that have
// a label (-100 marks those that have none); else of "forecast" the mean squared difference.
class Distillation {
 public:
  // Throws what load_bundle throws, and UsageError when the teacher's classes are not the student's.
  Distillation(const DistillationOptions& options, const Task& task, const Bundle& student);
  // For tests and for teachers that are at hand: the network is frozen and put to eval mode.
  Distillation(const DistillationOptions& options, const Task& task, std::shared_ptr<Model> teacher);

  // `outputs` are the student's for `batch`. Throws std::invalid_argument when the answers cannot be compared.
  at::Tensor loss(const at::Tensor& task_loss, const Tensors& outputs, const Tensors& batch) const;

 private:
  at::Tensor teacher_loss(const Tensors& outputs, const Tensors& batch) const;
  const DistillationOptions options_;
  const Task& task_;
  std::shared_ptr<Model> teacher_;
};

}  // namespace zoo::app
