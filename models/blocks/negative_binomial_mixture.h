// A mixture of K negative binomial distributions per point: the density of counts that probabilistic forecasters return as
// distribution.{weight,total_count,logits} (models/model.h).
#pragma once
#include "models/model.h"

namespace zoo {

// Each [..., K]: weights that sum to 1 over K, failures > 0 until which successes are counted, log odds of a success.
// As torch.distributions.NegativeBinomial: p(x) = C(total_count + x - 1, x) (1 - q)^total_count q^x, q = sigmoid(logits).
struct NegativeBinomialMixture {
  at::Tensor weight, total_count, logits;

  static bool in(const Tensors& outputs);
  // From and to the outputs of a network. Throws std::invalid_argument when one of the three is missing.
  static NegativeBinomialMixture from(const Tensors& outputs);
  void into(Tensors& outputs) const;

  // x [...] -> log probability [...]; x are whole numbers from 0 up.
  at::Tensor log_prob(const at::Tensor& x) const;
  at::Tensor mean() const;  // [...]
};

}  // namespace zoo
