#include "app/engine/optimizer.h"

#include <cmath>
#include <stdexcept>
#include <unordered_set>

#include "models/names.h"

namespace zoo::app {
namespace optimizer_detail {

// What AdamW keeps per parameter.
struct Moments {
  at::Tensor parameter, mean, square, step;  // step: a float32 scalar, as the fused kernel wants it
};

bool decays(const at::Tensor& parameter) { return parameter.dim() >= 2; }

class AdamW : public Optimizer {
 public:
  AdamW(const OptimizerOptions& options, const torch::nn::Module& network) : Optimizer(network), options_(options) {
    for (const auto& parameter : parameters_) {
      moments_.push_back({parameter, at::zeros_like(parameter), at::zeros_like(parameter),
                          at::zeros({}, parameter.options().dtype(at::kFloat))});
    }
  }

  void step(double lr) override {
    const at::NoGradGuard no_grad;
    for (const bool decayed : {true, false}) step_group(decayed, decayed ? options_.weight_decay : 0.0, lr);
  }

 private:
  void step_group(bool decayed, double weight_decay, double lr) {
    std::vector<at::Tensor> parameters, gradients, means, squares, steps;
    for (auto& m : moments_) {
      if (decays(m.parameter) != decayed || !m.parameter.grad().defined()) continue;
      parameters.push_back(m.parameter);
      gradients.push_back(m.parameter.grad());
      means.push_back(m.mean);
      squares.push_back(m.square);
      steps.push_back(m.step);
    }
    if (parameters.empty()) return;
    at::_foreach_add_(steps, 1);
    at::_fused_adamw_(parameters, gradients, means, squares, /*max_exp_avg_sqs=*/{}, steps, lr, options_.beta1, options_.beta2,
                      weight_decay, options_.eps, /*amsgrad=*/false, /*maximize=*/false);
  }

  OptimizerOptions options_;
  std::vector<Moments> moments_;
};

class Sgd : public Optimizer {
 public:
  Sgd(const OptimizerOptions& options, const torch::nn::Module& network)
      : Optimizer(network), options_(options), velocity_(parameters_.size()) {}

  void step(double lr) override {
    const at::NoGradGuard no_grad;
    for (size_t i = 0; i < parameters_.size(); ++i) {
      at::Tensor& parameter = parameters_[i];
      if (!parameter.grad().defined()) continue;
      at::Tensor change = parameter.grad();
      if (options_.weight_decay != 0.0 && decays(parameter)) change = change.add(parameter, options_.weight_decay);
      if (options_.momentum != 0.0) {
        if (!velocity_[i].defined()) velocity_[i] = change.clone();
        else velocity_[i].mul_(options_.momentum).add_(change);
        change = velocity_[i];
      }
      parameter.add_(change, -lr);
    }
  }

 private:
  OptimizerOptions options_;
  std::vector<at::Tensor> velocity_;
};

}  // namespace optimizer_detail

Optimizer::Optimizer(const torch::nn::Module& network) {
  std::unordered_set<const void*> seen;  // tied weights are registered more than once
  for (const auto& parameter : network.parameters()) {
    if (parameter.requires_grad() && seen.insert(parameter.unsafeGetTensorImpl()).second) parameters_.push_back(parameter);
  }
  if (parameters_.empty()) throw std::invalid_argument("the network has no trained parameters");
}

void Optimizer::zero_grad() {
  for (auto& parameter : parameters_) parameter.mutable_grad().reset();
}

double Optimizer::clip_gradients(double max_norm) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> gradients;
  for (const auto& parameter : parameters_) {
    if (parameter.grad().defined()) gradients.push_back(parameter.grad());
  }
  if (gradients.empty()) return 0.0;
  const double norm = at::stack(at::_foreach_norm(gradients, 2)).norm().item<double>();
  if (max_norm > 0.0 && norm > max_norm) at::_foreach_mul_(gradients, at::Scalar(max_norm / (norm + 1e-6)));
  return norm;
}

const std::vector<std::string>& optimizer_names() {
  static const std::vector<std::string> names = {"adamw", "sgd"};
  return names;
}

std::unique_ptr<Optimizer> make_optimizer(const OptimizerOptions& options, const torch::nn::Module& network) {
  if (options.name == "adamw") return std::make_unique<optimizer_detail::AdamW>(options, network);
  if (options.name == "sgd") return std::make_unique<optimizer_detail::Sgd>(options, network);
  throw std::invalid_argument("unknown optimizer '" + options.name.substr(0, 80) + "'; known: " + join(optimizer_names()));
}

}  // namespace zoo::app
