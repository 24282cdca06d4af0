// Lion (Chen et al., 2023, arXiv:2302.06675, algorithm 2): the sign of an interpolated momentum, with decoupled decay.
#include "app/engine/optimizers/optimizers.h"

namespace zoo::app {
namespace lion_detail {

class Lion : public Optimizer {
 public:
  Lion(const OptimizerOptions& options, std::vector<ParameterGroup> groups) : Optimizer(std::move(groups)), options_(options) {
    add_slot("exp_avg", [](const at::Tensor& p) { return at::zeros_like(p); });
  }

 private:
  void update(Group& group, double lr) override {
    auto& momenta = group.slots[0];
    if (group.weight_decay != 0.0) at::_foreach_mul_(group.parameters, at::Scalar(1.0 - lr * group.weight_decay));
    auto direction = at::_foreach_mul(momenta, at::Scalar(options_.beta1));
    at::_foreach_add_(direction, group.gradients, 1.0 - options_.beta1);
    at::_foreach_sign_(direction);
    at::_foreach_add_(group.parameters, direction, -lr);
    at::_foreach_mul_(momenta, at::Scalar(options_.beta2));
    at::_foreach_add_(momenta, group.gradients, 1.0 - options_.beta2);
  }

  const OptimizerOptions options_;
};

}  // namespace lion_detail

std::unique_ptr<Optimizer> make_lion(const OptimizerOptions& options, std::vector<ParameterGroup> groups) {
  return std::make_unique<lion_detail::Lion>(options, std::move(groups));
}

}  // namespace zoo::app
