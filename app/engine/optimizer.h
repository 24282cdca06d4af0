// Optimizers over the trained parameters of a network. A parameter without a gradient in a step is left alone.
#pragma once
#include <ATen/ATen.h>
#include <torch/nn/module.h>

#include <memory>
#include <string>
#include <vector>

namespace zoo::app {

struct OptimizerOptions {
  std::string name = "adamw";  // adamw (Loshchilov & Hutter, 2019), sgd (with Nesterov-free momentum)
  double lr = 1e-3;            // the schedule's peak
  double weight_decay = 0.01;  // on tensors of two or more axes: biases and norms keep theirs
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;  // adamw
  double momentum = 0.9;                          // sgd
};

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  virtual void step(double lr) = 0;

  void zero_grad();
  // Scales the gradients so that their common 2-norm is at most `max_norm` (0: no limit); returns the norm before.
  double clip_gradients(double max_norm);

 protected:
  explicit Optimizer(const torch::nn::Module& network);
  std::vector<at::Tensor> parameters_;
};

// Throws std::invalid_argument for an unknown name and for a network without trained parameters.
std::unique_ptr<Optimizer> make_optimizer(const OptimizerOptions& options, const torch::nn::Module& network);
const std::vector<std::string>& optimizer_names();

}  // namespace zoo::app
