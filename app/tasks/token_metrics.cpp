#include "app/tasks/token_metrics.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

namespace zoo::app {

void TokenMetrics::add(const Tensors& outputs, const Tensors& batch, std::span<const int64_t> /*indices*/) {
  const at::NoGradGuard no_grad;
  const at::Tensor logits = outputs.at("logits").flatten(0, 1).to(at::kFloat);
  const at::Tensor labels = batch.at("labels").to(logits.device()).flatten();
  loss_sum_ += at::cross_entropy_loss(logits, labels, {}, at::Reduction::None, -100).sum(at::kDouble).item<double>();
  right_ += logits.argmax(-1).eq(labels).sum().item<int64_t>();
  tokens_ += labels.ge(0).sum().item<int64_t>();
  samples_ += batch.at("labels").size(0);
}

Json TokenMetrics::result() const {
  const double count = static_cast<double>(std::max<int64_t>(tokens_, 1));
  return {{"loss", loss_sum_ / count}, {"perplexity", std::exp(loss_sum_ / count)}, {"token_accuracy", static_cast<double>(right_) / count},
          {"tokens", tokens_}, {"samples", samples_}};
}

}  // namespace zoo::app
