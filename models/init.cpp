#include "models/init.h"

#include <cmath>

#include "models/blocks/layers.h"
#include "models/blocks/linear.h"

namespace zoo {

void trunc_normal(at::Tensor tensor, double std) {
  at::NoGradGuard no_grad;
  // Inverse-CDF sampling on [-2, 2], absolute bounds as in PyTorch.
  const auto cdf = [](double x) { return 0.5 * (1.0 + std::erf(x / std::sqrt(2.0))); };
  const double low = cdf(-2.0 / std), high = cdf(2.0 / std);
  tensor.uniform_(2.0 * low - 1.0, 2.0 * high - 1.0).erfinv_().mul_(std * std::sqrt(2.0)).clamp_(-2.0, 2.0);
}

void kaiming_normal(at::Tensor tensor) {
  at::NoGradGuard no_grad;
  tensor.normal_(0.0, std::sqrt(2.0 / static_cast<double>(tensor.numel() / tensor.size(0))));
}

void init_transformers(torch::nn::Module& root, double std) {
  at::NoGradGuard no_grad;
  for (const auto& module : root.modules(/*include_self=*/false)) {
    if (auto* linear = dynamic_cast<LinearImpl*>(module.get())) {
      linear->weight.normal_(0.0, std);
      if (linear->bias.defined()) linear->bias.zero_();
    } else if (auto* embedding = dynamic_cast<EmbeddingImpl*>(module.get())) {
      embedding->weight.normal_(0.0, std);
    } else if (auto* convolution = dynamic_cast<Conv2dImpl*>(module.get())) {
      convolution->weight.normal_(0.0, std);
      if (convolution->bias.defined()) convolution->bias.zero_();
    } else if (auto* norm = dynamic_cast<LayerNormImpl*>(module.get())) {
      norm->init();
    }
  }
}

}  // namespace zoo
