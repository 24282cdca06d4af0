#include "app/engine/training_step.h"

#include <cmath>
#include <stdexcept>

#include "models/trace.h"

namespace zoo::app {
namespace training_step_detail {

bool finite(const at::Tensor& x) { return !x.is_floating_point() || at::isfinite(x).all().item<bool>(); }

}  // namespace training_step_detail

TrainingStep::TrainingStep(const Recipe& recipe, const Task& task, Bundle& bundle)
    : recipe_(recipe), task_(task), bundle_(bundle), loss_options_(recipe.options), optimizer_(make_optimizer(recipe.optimizer, *bundle.model)) {
  loss_options_["label_smoothing"] = recipe.label_smoothing;
}

double TrainingStep::accumulate(std::span<const Tensors> batches) {
  double terms = 0;
  for (const auto& batch : batches) terms += task_.loss_terms(batch);
  double total = 0;
  for (const auto& batch : batches) {
    at::Tensor loss = task_.loss(task_.forward(*bundle_.model, batch), batch, loss_options_);
    if (batches.size() > 1) loss = loss * (task_.loss_terms(batch) / terms);
    loss.backward();
    total += loss.item<double>();
  }
  return total;
}

StepResult TrainingStep::run(std::span<const Tensors> batches, double lr) {
  optimizer_->zero_grad();
  StepResult result;
  result.loss = accumulate(batches);
  result.gradient_norm = optimizer_->clip_gradients(recipe_.clip_norm);
  if (!std::isfinite(result.loss) || !std::isfinite(result.gradient_norm)) {
    std::string where = first_bad_tensor(batches.front());
    for (size_t i = 1; where.empty() && i < batches.size(); ++i) where = first_bad_tensor(batches[i]);
    throw std::runtime_error("the loss is " + std::to_string(result.loss) + " and the gradients' norm " + std::to_string(result.gradient_norm) +
                             (where.empty() ? "" : "; the first tensor that is not finite: " + where) +
                             " (a lower optimizer.lr, schedule.warmup_share or clip_norm may help)");
  }
  optimizer_->step(lr);
  return result;
}

// In the order of computation: inputs, weights, outputs of modules, then gradients.
std::string TrainingStep::first_bad_tensor(const Tensors& batch) const {
  using training_step_detail::finite;
  const at::NoGradGuard no_grad;
  for (const auto& [name, tensor] : batch) {
    if (!finite(tensor)) return "'" + name + "' of the batch";
  }
  for (const auto& item : bundle_.model->named_parameters()) {
    if (!finite(item.value())) return "weight '" + item.key() + "'";
  }
  const Trace trace(*bundle_.model);
  task_.forward(*bundle_.model, batch);
  for (const auto& step : trace.steps()) {
    if (!finite(step.value)) return "output of '" + step.path + "'";
  }
  for (const auto& item : bundle_.model->named_parameters()) {
    if (item.value().grad().defined() && !finite(item.value().grad())) return "gradient of '" + item.key() + "'";
  }
  return {};
}

Tensors TrainingStep::state() const {
  Tensors state;
  for (const auto& [name, tensor] : optimizer_->state()) state["optimizer." + name] = tensor;
  return state;
}

void TrainingStep::load_state(const Tensors& state) {
  const std::string prefix = "optimizer.";
  Tensors optimizer;
  for (const auto& [name, tensor] : state) {
    if (name.starts_with(prefix)) optimizer[name.substr(prefix.size())] = tensor;
  }
  optimizer_->load_state(optimizer);
}

}  // namespace zoo::app
