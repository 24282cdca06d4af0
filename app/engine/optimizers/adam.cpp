// Adam (Kingma & Ba, 2015) and AdamW (Loshchilov & Hutter, 2019), by PyTorch's fused kernels: one pass over the memory.
// They differ in the decay alone: Adam adds it to the gradient, AdamW shrinks the parameter.
#include "app/engine/optimizers/optimizers.h"

namespace zoo::app {
namespace adam_detail {

class Adam : public Optimizer {
 public:
  Adam(const OptimizerOptions& options, std::vector<ParameterGroup> groups, bool decoupled)
      : Optimizer(std::move(groups)), options_(options), decoupled_(decoupled) {
    add_slot("exp_avg", [](const at::Tensor& p) { return at::zeros_like(p); });
    add_slot("exp_avg_sq", [](const at::Tensor& p) { return at::zeros_like(p); });
    add_slot("step", [](const at::Tensor& p) { return at::zeros({}, p.options().dtype(at::kFloat)); });  // as the kernel wants it
  }

 private:
  void update(Group& group, double lr) override {
    at::_foreach_add_(group.slots[2], 1);
    const auto kernel = [&](auto fused) {
      fused(group.parameters, group.gradients, group.slots[0], group.slots[1], /*max_exp_avg_sqs=*/at::TensorList(), group.slots[2], lr,
            options_.beta1, options_.beta2, group.weight_decay, options_.eps, /*amsgrad=*/false, /*maximize=*/false);
    };
    if (decoupled_) kernel([](auto&&... arguments) { at::_fused_adamw_(arguments...); });
    else kernel([](auto&&... arguments) { at::_fused_adam_(arguments...); });
  }

  const OptimizerOptions options_;
  const bool decoupled_;
};

}  // namespace adam_detail

std::unique_ptr<Optimizer> make_adamw(const OptimizerOptions& options, std::vector<ParameterGroup> groups) {
  return std::make_unique<adam_detail::Adam>(options, std::move(groups), /*decoupled=*/true);
}

std::unique_ptr<Optimizer> make_adam(const OptimizerOptions& options, std::vector<ParameterGroup> groups) {
  return std::make_unique<adam_detail::Adam>(options, std::move(groups), /*decoupled=*/false);
}

}  // namespace zoo::app
