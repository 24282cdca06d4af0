// Adafactor (Shazeer & Stern, 2018, arXiv:1804.04235) with a rate from outside (relative_step off), numbers as in
// transformers 5.23.0 optimization.Adafactor: second moments of matrices kept as a row and a column.
#include <cmath>

#include "app/engine/optimizers/optimizers.h"

namespace zoo::app {
namespace adafactor_detail {

constexpr double kSquareFloor = 1e-30, kScaleFloor = 1e-3;  // the paper's epsilon 1 and 2

enum Slot { kMean, kRow, kColumn, kSquare, kStep };

bool factored(const at::Tensor& parameter) { return parameter.dim() >= 2; }
at::Tensor root_mean_square(const at::Tensor& x) { return x.norm() / std::sqrt(static_cast<double>(x.numel())); }

class Adafactor : public Optimizer {
 public:
  Adafactor(const OptimizerOptions& options, std::vector<ParameterGroup> groups) : Optimizer(std::move(groups)), options_(options) {
    const auto zeros = [](const at::Tensor& p, at::IntArrayRef sizes) { return at::zeros(sizes, p.options().dtype(at::kFloat)); };
    add_slot("exp_avg", [&](const at::Tensor& p) { return options.beta1 > 0.0 ? zeros(p, p.sizes()) : at::Tensor(); });
    add_slot("exp_avg_sq_row", [&](const at::Tensor& p) { return factored(p) ? zeros(p, p.sizes().slice(0, p.dim() - 1)) : at::Tensor(); });
    add_slot("exp_avg_sq_col", [&](const at::Tensor& p) {
      if (!factored(p)) return at::Tensor();
      auto sizes = p.sizes().vec();
      sizes.erase(sizes.end() - 2);
      return zeros(p, sizes);
    });
    add_slot("exp_avg_sq", [&](const at::Tensor& p) { return factored(p) ? at::Tensor() : zeros(p, p.sizes()); });
    add_slot("step", [](const at::Tensor&) { return at::zeros({}, at::kFloat); });  // read by the CPU in every step
  }

 private:
  void update(Group& group, double lr) override {
    for (size_t i = 0; i < group.parameters.size(); ++i) update_one(group, i, lr);
  }

  void update_one(Group& group, size_t i, double lr) {
    auto& parameter = group.parameters[i];
    const at::Tensor gradient = group.gradients[i].to(at::kFloat);
    const double kept = 1.0 - std::pow(group.slots[kStep][i].add_(1).item<double>(), options_.decay_rate);
    at::Tensor rate = at::full({}, lr, gradient.options());
    if (options_.scale_parameter) rate = root_mean_square(parameter.to(at::kFloat)).clamp_min(kScaleFloor) * lr;
    at::Tensor change = scaled(group, i, gradient, kept);
    change.div_((root_mean_square(change) / options_.clip_threshold).clamp_min(1.0)).mul_(rate);
    if (options_.beta1 > 0.0) change = group.slots[kMean][i].mul_(options_.beta1).add_(change, 1.0 - options_.beta1);
    if (group.weight_decay != 0.0) parameter.sub_(parameter * (rate * group.weight_decay));
    parameter.sub_(change);
  }

  // The gradient over the root of its mean square, which is `kept` of the old and the rest of the new square.
  at::Tensor scaled(Group& group, size_t i, const at::Tensor& gradient, double kept) {
    const at::Tensor square = gradient.square() + kSquareFloor;
    if (!factored(gradient)) return group.slots[kSquare][i].mul_(kept).add_(square, 1.0 - kept).rsqrt().mul_(gradient);
    const auto& row = group.slots[kRow][i].mul_(kept).add_(square.mean(-1), 1.0 - kept);
    const auto& column = group.slots[kColumn][i].mul_(kept).add_(square.mean(-2), 1.0 - kept);
    return (row / row.mean(-1, /*keepdim=*/true)).rsqrt_().unsqueeze(-1) * column.unsqueeze(-2).rsqrt() * gradient;
  }

  const OptimizerOptions options_;
};

}  // namespace adafactor_detail

std::unique_ptr<Optimizer> make_adafactor(const OptimizerOptions& options, std::vector<ParameterGroup> groups) {
  return std::make_unique<adafactor_detail::Adafactor>(options, std::move(groups));
}

}  // namespace zoo::app
