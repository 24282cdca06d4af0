#include "app/engine/distillation.h"

#include <c10/util/StringUtil.h>

#include <stdexcept>

#include "app/cli.h"

namespace zoo::app {
namespace distillation_detail {

void check_same_shape(const char* what, const at::Tensor& student, const at::Tensor& teacher) {
  if (student.sizes() == teacher.sizes()) return;
  throw std::invalid_argument(c10::str("distillation: the teacher's ", what, " are ", teacher.sizes(), " and the student's ", student.sizes(),
                                       "; both networks must answer the same question"));
}

// KL(teacher || student) per position, softened; [..., classes] both.
at::Tensor divergence(at::Tensor student, at::Tensor teacher, double temperature, const at::Tensor& keep) {
  student = at::log_softmax(student / temperature, -1, at::kFloat);
  teacher = at::log_softmax(teacher / temperature, -1, at::kFloat);
  const at::Tensor each = (teacher.exp() * (teacher - student)).sum(-1) * (temperature * temperature);
  if (!keep.defined()) return each.mean();
  return (each * keep).sum() / keep.sum().clamp_min(1);
}

}  // namespace distillation_detail

Distillation::Distillation(const DistillationOptions& options, const Task& task, const Bundle& student) : options_(options), task_(task) {
  BundleOptions load;
  load.task = task.head();
  load.for_training = true;  // plain weights: packed ones are for the task's own evaluation
  Bundle teacher = load_bundle(options.teacher, student.device, load);
  if (teacher.labels != student.labels) {
    throw UsageError("distillation.teacher: the classes of " + options.teacher + " are not those of the network to train (" +
                     std::to_string(teacher.labels.size()) + " and " + std::to_string(student.labels.size()) + "); train it on the same data");
  }
  teacher_ = std::move(teacher.model);
  teacher_->eval();
  for (auto& parameter : teacher_->parameters()) parameter.set_requires_grad(false);
}

Distillation::Distillation(const DistillationOptions& options, const Task& task, std::shared_ptr<Model> teacher)
    : options_(options), task_(task), teacher_(std::move(teacher)) {
  teacher_->eval();
  for (auto& parameter : teacher_->parameters()) parameter.set_requires_grad(false);
}

at::Tensor Distillation::loss(const at::Tensor& task_loss, const Tensors& outputs, const Tensors& batch) const {
  return teacher_loss(outputs, batch) * options_.alpha + task_loss * (1.0 - options_.alpha);
}

at::Tensor Distillation::teacher_loss(const Tensors& outputs, const Tensors& batch) const {
  namespace d = distillation_detail;
  Tensors shown;
  {
    const at::NoGradGuard no_grad;
    shown = task_.forward(*teacher_, batch);
  }
  if (outputs.contains("logits") && shown.contains("logits")) {
    const at::Tensor& student = outputs.at("logits");
    d::check_same_shape("logits", student, shown.at("logits"));
    const auto labels = batch.find("labels");
    const bool each = labels != batch.end() && !labels->second.is_floating_point() && labels->second.dim() == student.dim() - 1;
    return d::divergence(student, shown.at("logits"), options_.temperature, each ? labels->second.ne(-100).to(at::kFloat) : at::Tensor());
  }
  if (outputs.contains("forecast") && shown.contains("forecast")) {
    d::check_same_shape("forecasts", outputs.at("forecast"), shown.at("forecast"));
    return (outputs.at("forecast") - shown.at("forecast")).square().mean();
  }
  throw std::invalid_argument("distillation needs networks that give logits or a forecast; task " + task_.name() + " has neither");
}

}  // namespace zoo::app
