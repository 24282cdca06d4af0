#include "models/blocks/student_t_mixture.h"

#include <cmath>
#include <limits>
#include <stdexcept>

namespace zoo {

StudentTMixture StudentTMixture::from(const Tensors& outputs) {
  const auto part = [&](const char* name) {
    const auto found = outputs.find(name);
    if (found == outputs.end()) throw std::invalid_argument(std::string("a mixture needs the output '") + name + "', which is missing");
    return found->second;
  };
  return {part("distribution.weight"), part("distribution.df"), part("distribution.loc"), part("distribution.scale")};
}

void StudentTMixture::into(Tensors& outputs) const {
  outputs["distribution.weight"] = weight;
  outputs["distribution.df"] = df;
  outputs["distribution.loc"] = loc;
  outputs["distribution.scale"] = scale;
}

at::Tensor StudentTMixture::log_prob(const at::Tensor& x) const {
  const auto y = (x.unsqueeze(-1) - loc) / scale;
  const auto normaliser = scale.log() + 0.5 * df.log() + 0.5 * std::log(M_PI) + at::lgamma(0.5 * df) - at::lgamma(0.5 * (df + 1.0));
  const auto component = -0.5 * (df + 1.0) * at::log1p(y.square() / df) - normaliser;
  // A weight that underflowed to 0 has no say; its logarithm must not spoil the gradient.
  return at::logsumexp(weight.clamp_min(std::numeric_limits<float>::min()).log() + component, -1);
}

at::Tensor StudentTMixture::mean() const { return (weight * loc).sum(-1); }

}  // namespace zoo
