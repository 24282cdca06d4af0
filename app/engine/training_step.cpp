#include "app/engine/training_step.h"

#include <cmath>
#include <stdexcept>

#include "app/cli.h"
#include "models/recompute.h"
#include "models/trace.h"

namespace zoo::app {
namespace training_step_detail {

bool finite(const at::Tensor& x) { return !x.is_floating_point() || at::isfinite(x).all().item<bool>(); }

void add_with_prefix(Tensors& all, const std::string& prefix, const Tensors& some) {
  for (const auto& [name, tensor] : some) all[prefix + name] = tensor;
}

Tensors with_prefix(const Tensors& all, const std::string& prefix) {
  Tensors some;
  for (const auto& [name, tensor] : all) {
    if (name.starts_with(prefix)) some[name.substr(prefix.size())] = tensor;
  }
  return some;
}

}  // namespace training_step_detail

TrainingStep::TrainingStep(const Recipe& recipe, const Task& task, Bundle& bundle, const Ranks& ranks)
    : recipe_(recipe), task_(task), bundle_(bundle), ranks_(ranks), loss_options_(recipe.options),
      optimizer_(recipe.optimizer, *bundle.model, ranks, recipe.shard_optimizer),
      reducer_(ranks, optimizer_.parameters(), /*overlap=*/!recipe.recompute),
      alone_(optimizer_.parameters(), [this](const Tensors& batch) { return differentiated(batch, 1.0, /*last=*/true); }, recordable()) {
  loss_options_["label_smoothing"] = recipe.label_smoothing;
  if (recipe.ema.decay > 0.0) average_.emplace(recipe.ema, *bundle.model);
  if (recipe.precision == "fp16") scaler_.emplace(LossScaler::Options{}, bundle.device);
  if (!recipe.distillation.teacher.empty()) distillation_.emplace(recipe.distillation, task, bundle);
  if (recipe.mixing.active() && task.name() != "image_classification") {
    throw UsageError("recipe: mixing is for image_classification, not for " + task.name());
  }
  if (recipe.recompute && recompute_layers(*bundle.model, true) == 0) {
    throw UsageError("recipe: recompute: " + bundle.entry->name + " has no repeated layers to recompute");
  }
}

// Mixing draws its shares on the CPU, recomputation reads the generator's state: a recording would repeat the one and refuse the other.
bool TrainingStep::recordable() const { return recipe_.graphs && ranks_.size() == 1 && !recipe_.mixing.active() && !recipe_.recompute; }

at::Tensor TrainingStep::loss_of(const Tensors& batch) {
  const Autocast autocast(recipe_.precision, bundle_.device);
  if (recipe_.mixing.active()) {
    const MixedBatch mixed = mix(recipe_.mixing, batch, static_cast<int64_t>(bundle_.labels.size()), recipe_.label_smoothing);
    return soft_cross_entropy(task_.forward(*bundle_.model, mixed.batch).at("logits"), mixed.targets);
  }
  const Tensors outputs = task_.forward(*bundle_.model, batch);
  const at::Tensor loss = task_.loss(outputs, batch, loss_options_);
  return distillation_ ? distillation_->loss(loss, outputs, batch) : loss;
}

at::Tensor TrainingStep::differentiated(const Tensors& batch, double share, bool last) {
  at::Tensor loss;
  if (!batch.empty()) loss = share == 1.0 ? loss_of(batch) : loss_of(batch) * share;
  reducer_.backward(scaler_ && loss.defined() ? scaler_->scale(loss) : loss, last);
  return loss.defined() ? loss.detach() : loss;
}

double TrainingStep::accumulate(std::span<const Tensors> batches) {
  double terms = 0;
  for (const auto& batch : batches) terms += batch.empty() ? 0.0 : task_.loss_terms(batch);
  ranks_.all_reduce_sum(std::span(&terms, 1));
  const bool alone = batches.size() == 1 && ranks_.size() == 1;
  if (alone && !batches[0].empty()) return alone_(batches[0]).item<double>();
  double total = 0;
  for (size_t i = 0; i < batches.size(); ++i) {
    const double share = batches[i].empty() ? 1.0 : task_.loss_terms(batches[i]) / terms;
    const at::Tensor loss = differentiated(batches[i], share, /*last=*/i + 1 == batches.size());
    if (loss.defined()) total += loss.item<double>();
  }
  ranks_.all_reduce_sum(std::span(&total, 1));
  return total;
}

StepResult TrainingStep::run(std::span<const Tensors> batches, double lr) {
  optimizer_.zero_grad();
  StepResult result;
  result.loss = accumulate(batches);
  // A smaller scale mends overflown gradients, but neither a loss that is not finite nor gradients that overflow unscaled.
  const bool hopeless = !std::isfinite(result.loss) || (scaler_ && scaler_->current() < 1.0);
  result.left_out = scaler_ && !scaler_->unscale(optimizer_.parameters()) && !hopeless;
  if (!result.left_out) {
    result.gradient_norm = clip_gradients(optimizer_.parameters(), recipe_.clip);
    refuse_if_not_finite(result, batches);
    optimizer_.step(lr);
    if (average_) average_->update();
  }
  if (scaler_) scaler_->update();
  return result;
}

void TrainingStep::refuse_if_not_finite(const StepResult& result, std::span<const Tensors> batches) const {
  if (std::isfinite(result.loss) && std::isfinite(result.gradient_norm)) return;
  std::string where;
  for (size_t i = 0; where.empty() && i < batches.size(); ++i) where = batches[i].empty() ? "" : first_bad_tensor(batches[i]);
  throw std::runtime_error("the loss is " + std::to_string(result.loss) + " and the gradients' norm " + std::to_string(result.gradient_norm) +
                           (where.empty() ? "" : "; the first tensor that is not finite: " + where) +
                           " (a lower optimizer.lr, schedule.warmup_share or clip_norm may help)");
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
  training_step_detail::add_with_prefix(state, "optimizer.", optimizer_.state());
  if (average_) training_step_detail::add_with_prefix(state, "average.", average_->state());
  if (scaler_) training_step_detail::add_with_prefix(state, "scaler.", scaler_->state());
  return state;
}

void TrainingStep::load_state(const Tensors& state) {
  optimizer_.load_state(training_step_detail::with_prefix(state, "optimizer."));
  if (average_) average_->load_state(training_step_detail::with_prefix(state, "average."));
  if (scaler_) scaler_->load_state(training_step_detail::with_prefix(state, "scaler."));
}

}  // namespace zoo::app
