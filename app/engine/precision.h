// Mixed precision: weights, gradients and optimizer stay float32; matrix products run in bfloat16 or float16.
#pragma once
#include <ATen/ATen.h>

#include <string>
#include <vector>

#include "models/model.h"

namespace zoo::app {

const std::vector<std::string>& precision_names();  // float32, bf16, fp16

// From construction to destruction, operations on the device choose their type as PyTorch's autocast does. Goes around
// forward and loss, not around backward. "float32" does nothing. Throws std::invalid_argument for an unknown name.
class Autocast {
 public:
  Autocast(const std::string& precision, at::Device device);
  ~Autocast();
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  const at::DeviceType device_;
  bool active_ = false, enabled_before_ = false;
  at::ScalarType type_before_ = at::kFloat;
};

// Keeps float16 gradients from vanishing: the loss is multiplied by a scale, which halves when a gradient overflows and
// doubles after growth_interval good steps (constants and rule of PyTorch's GradScaler).
class LossScaler {
 public:
  struct Options {
    double initial = 65536.0, growth = 2.0, backoff = 0.5;
    int64_t growth_interval = 2000;
  };
  LossScaler(const Options& options, at::Device device);

  at::Tensor scale(const at::Tensor& loss) const { return loss * scale_; }  // before backward()
  // After the last backward of a step and the reduction, before clipping: divides the gradients by the scale. False: one
  // of them is not finite, and the optimizer's step must be left out.
  bool unscale(const std::vector<at::Tensor>& parameters);
  void update();  // at the end of every step, left out or not
  double current() const { return scale_.item<double>(); }

  Tensors state() const;  // "loss_scale.scale", "loss_scale.growth_tracker"
  void load_state(const Tensors& state);  // throws std::invalid_argument for anything else

 private:
  const Options options_;
  at::Tensor scale_, good_steps_, overflow_;
};

}  // namespace zoo::app
