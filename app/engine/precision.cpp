#include "app/engine/precision.h"

#include <ATen/autocast_mode.h>

#include <stdexcept>

#include "models/names.h"

namespace zoo::app {

const std::vector<std::string>& precision_names() {
  static const std::vector<std::string> names = {"float32", "bf16", "fp16"};
  return names;
}

Autocast::Autocast(const std::string& precision, at::Device device) : device_(device.type()) {
  if (precision == "float32") return;
  if (precision != "bf16" && precision != "fp16") {
    throw std::invalid_argument("precision is '" + precision.substr(0, 80) + "'; expected one of " + join(precision_names()));
  }
  active_ = true;
  enabled_before_ = at::autocast::is_autocast_enabled(device_);
  type_before_ = at::autocast::get_autocast_dtype(device_);
  at::autocast::set_autocast_enabled(device_, true);
  at::autocast::set_autocast_dtype(device_, precision == "bf16" ? at::kBFloat16 : at::kHalf);
  at::autocast::increment_nesting();
}

Autocast::~Autocast() {
  if (!active_) return;
  if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();  // casts of weights that the next step changes
  at::autocast::set_autocast_enabled(device_, enabled_before_);
  at::autocast::set_autocast_dtype(device_, type_before_);
}

LossScaler::LossScaler(const Options& options, at::Device device)
    : options_(options),
      scale_(at::full({}, options.initial, at::TensorOptions(device).dtype(at::kFloat))),
      good_steps_(at::zeros({}, at::TensorOptions(device).dtype(at::kInt))),
      overflow_(at::zeros({}, at::TensorOptions(device).dtype(at::kFloat))) {}

bool LossScaler::unscale(const std::vector<at::Tensor>& parameters) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> gradients;
  for (const auto& parameter : parameters) {
    if (parameter.grad().defined()) gradients.push_back(parameter.grad());
  }
  overflow_.zero_();
  if (gradients.empty()) return true;
  // Through double as PyTorch does, so that the reciprocal is that of its GradScaler.
  at::_amp_foreach_non_finite_check_and_unscale_(gradients, overflow_, scale_.to(at::kDouble).reciprocal().to(at::kFloat));
  return overflow_.item<float>() == 0.0f;
}

void LossScaler::update() {
  const at::NoGradGuard no_grad;
  at::_amp_update_scale_(scale_, good_steps_, overflow_, options_.growth, options_.backoff, options_.growth_interval);
  overflow_.zero_();
}

Tensors LossScaler::state() const { return {{"loss_scale.scale", scale_}, {"loss_scale.growth_tracker", good_steps_}}; }

void LossScaler::load_state(const Tensors& state) {
  const Tensors own = this->state();
  for (const auto& [name, tensor] : own) {
    const auto found = state.find(name);
    const bool fits = state.size() == own.size() && found != state.end() && found->second.defined() && found->second.dim() == 0 &&
                      found->second.scalar_type() == tensor.scalar_type();
    if (!fits) throw std::invalid_argument("loss scale: the state must hold the scalars 'loss_scale.scale' and 'loss_scale.growth_tracker' only");
  }
  for (const auto& [name, tensor] : own) tensor.copy_(state.at(name));
}

}  // namespace zoo::app
