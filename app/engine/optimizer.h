// Optimizers over the trained parameters of a network. A parameter without a gradient in a step is left alone.
#pragma once
#include <ATen/ATen.h>
#include <torch/nn/module.h>

#include <memory>
#include <string>
#include <vector>

#include "app/engine/parameter_groups.h"
#include "models/model.h"

namespace zoo::app {

struct OptimizerOptions {
  std::string name = "adamw";  // adamw, adam, sgd, adafactor, lion: each is described in its file in optimizers/
  double lr = 1e-3;            // the schedule's peak
  double weight_decay = 0.01;  // on tensors of two or more axes: biases and norms keep theirs
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;  // adamw, adam; lion (no eps); adafactor (beta1 only: 0 = no momentum)
  double momentum = 0.9;                          // sgd
  bool nesterov = false;                          // sgd
  double clip_threshold = 1.0, decay_rate = -0.8; // adafactor
  bool scale_parameter = false;                   // adafactor: the rate times the parameter's root mean square
  double layer_decay = 1.0;                       // below 1: lower rates for earlier layers (parameter_groups.h)
  std::vector<GroupRule> groups = {};             // rates, decay and freezing by patterns of keys

  // The published defaults of one optimizer, where they differ from those above: lion's betas are 0.9 and 0.99,
  // adafactor's beta1 is 0.
  static OptimizerOptions defaults(const std::string& name);
};

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  // One step with the gradients that the parameters hold; each group's rate is lr times its scale.
  void step(double lr);
  void zero_grad();
  const std::vector<at::Tensor>& parameters() const { return parameters_; }  // all trained ones

  // Everything that the next steps depend on, as "<parameter key>.<slot>" ("bert.pooler.dense.weight.exp_avg"). The
  // tensors are the optimizer's own: the next step changes them, so save or copy them before.
  Tensors state() const;
  // Takes over what state() gave, bit for bit. Throws std::invalid_argument for a missing or unknown name, another shape
  // or element type; then nothing has changed.
  void load_state(const Tensors& state);

 protected:
  // Tensors of one group side by side: element i of every list belongs to one parameter.
  struct Group {
    double lr_scale = 1.0, weight_decay = 0.0;
    std::vector<std::string> names;
    std::vector<at::Tensor> parameters, gradients;  // gradients: during update() only
    std::vector<std::vector<at::Tensor>> slots;     // slots[k] holds slot k of every parameter; undefined: has none
  };
  explicit Optimizer(std::vector<ParameterGroup> groups);
  // To be called once by a constructor: a slot for every parameter, made by make(parameter).
  template <class Make>
  void add_slot(const std::string& name, Make make) {
    slot_names_.push_back(name);
    for (auto& group : groups_) {
      auto& slot = group.slots.emplace_back();
      for (const auto& parameter : group.parameters) slot.push_back(make(parameter));
    }
  }
  // Without gradient mode; every parameter of the group has its gradient. Changes tensors in place only.
  virtual void update(Group& group, double lr) = 0;

 private:
  template <class Visit>
  void each_state(Visit visit) const;
  std::vector<Group> groups_;
  std::vector<std::string> slot_names_;
  std::vector<at::Tensor> parameters_;
};

// Throws std::invalid_argument for an unknown name and for what parameter_groups refuses.
std::unique_ptr<Optimizer> make_optimizer(const OptimizerOptions& options, const torch::nn::Module& network);
// Over some of the parameters only (one process's share of them, say).
std::unique_ptr<Optimizer> make_optimizer(const OptimizerOptions& options, std::vector<ParameterGroup> groups);
GroupOptions group_options(const OptimizerOptions& options);
const std::vector<std::string>& optimizer_names();

}  // namespace zoo::app
