// Stochastic gradient descent with momentum as PyTorch has it (buf = momentum buf + g, no dampening), by its fused kernel.
// PyTorch starts the buffer with the first gradient; zeros times the momentum plus that gradient is the same.
#include "app/engine/optimizers/optimizers.h"

namespace zoo::app {
namespace sgd_detail {

class Sgd : public Optimizer {
 public:
  Sgd(const OptimizerOptions& options, std::vector<ParameterGroup> groups) : Optimizer(std::move(groups)), options_(options) {
    if (options.nesterov && options.momentum <= 0.0) throw std::invalid_argument("optimizer.nesterov needs a momentum above 0");
    if (options.momentum != 0.0) add_slot("momentum_buffer", [](const at::Tensor& p) { return at::zeros_like(p); });
  }

 private:
  void update(Group& group, double lr) override {
    at::_fused_sgd_(group.parameters, group.gradients, options_.momentum != 0.0 ? at::TensorList(group.slots[0]) : at::TensorList(),
                    group.weight_decay, options_.momentum, lr, /*dampening=*/0.0, options_.nesterov, /*maximize=*/false,
                    /*is_first_step=*/false);
  }

  const OptimizerOptions options_;
};

}  // namespace sgd_detail

std::unique_ptr<Optimizer> make_sgd(const OptimizerOptions& options, std::vector<ParameterGroup> groups) {
  return std::make_unique<sgd_detail::Sgd>(options, std::move(groups));
}

}  // namespace zoo::app
