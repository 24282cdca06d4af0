// How well a network predicts the tokens of texts, each from the ones before it.
#pragma once
#include "app/tasks/task.h"

namespace zoo::app {

// Reads "logits" [B, T, vocabulary] and "labels" [B, T], the token that each position predicts (-100: none).
// Gives loss (mean over the tokens), perplexity, token_accuracy, tokens, samples.
class TokenMetrics : public Metrics {
 public:
  void add(const Tensors& outputs, const Tensors& batch, std::span<const int64_t> indices) override;
  Json result() const override;

 private:
  double loss_sum_ = 0;
  int64_t right_ = 0, tokens_ = 0, samples_ = 0;
};

}  // namespace zoo::app
