#include "models/blocks/negative_binomial_mixture.h"

#include <limits>
#include <stdexcept>

namespace zoo {

bool NegativeBinomialMixture::in(const Tensors& outputs) { return outputs.contains("distribution.total_count"); }

NegativeBinomialMixture NegativeBinomialMixture::from(const Tensors& outputs) {
  const auto part = [&](const char* name) {
    const auto found = outputs.find(name);
    if (found == outputs.end()) throw std::invalid_argument(std::string("a mixture of counts needs the output '") + name + "', which is missing");
    return found->second;
  };
  return {part("distribution.weight"), part("distribution.total_count"), part("distribution.logits")};
}

void NegativeBinomialMixture::into(Tensors& outputs) const {
  outputs["distribution.weight"] = weight;
  outputs["distribution.total_count"] = total_count;
  outputs["distribution.logits"] = logits;
}

at::Tensor NegativeBinomialMixture::log_prob(const at::Tensor& x) const {
  const at::Tensor k = x.unsqueeze(-1);
  const at::Tensor ways = at::lgamma(total_count + k) - at::lgamma(k + 1.0) - at::lgamma(total_count);
  const at::Tensor component = total_count * at::log_sigmoid(-logits) + k * at::log_sigmoid(logits) + ways;
  return at::logsumexp(weight.clamp_min(std::numeric_limits<float>::min()).log() + component, -1);
}

at::Tensor NegativeBinomialMixture::mean() const { return (weight * total_count * logits.exp()).sum(-1); }

}  // namespace zoo
