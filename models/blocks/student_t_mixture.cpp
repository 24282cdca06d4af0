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
  const auto loc = part("distribution.loc"), df = optional_input(outputs, "distribution.df");
  return {part("distribution.weight"), df.defined() ? df : at::full_like(loc, std::numeric_limits<double>::infinity()), loc, part("distribution.scale")};
}

void StudentTMixture::into(Tensors& outputs) const {
  outputs["distribution.weight"] = weight;
  if (df.defined()) outputs["distribution.df"] = df;
  outputs["distribution.loc"] = loc;
  outputs["distribution.scale"] = scale;
}

at::Tensor StudentTMixture::log_prob(const at::Tensor& x) const {
  const auto y = (x.unsqueeze(-1) - loc) / scale;
  const auto normal = df.isinf();
  const auto finite = df.masked_fill(normal, 1.0);  // what is not chosen must have a gradient all the same
  const auto normaliser = scale.log() + 0.5 * finite.log() + 0.5 * std::log(M_PI) + at::lgamma(0.5 * finite) - at::lgamma(0.5 * (finite + 1.0));
  const auto student = -0.5 * (finite + 1.0) * at::log1p(y.square() / finite) - normaliser;
  const auto component = at::where(normal, -0.5 * y.square() - scale.log() - 0.5 * std::log(2.0 * M_PI), student);
  // A weight that underflowed to 0 has no say; its logarithm must not spoil the gradient.
  return at::logsumexp(weight.clamp_min(std::numeric_limits<float>::min()).log() + component, -1);
}

at::Tensor StudentTMixture::mean() const { return (weight * loc).sum(-1); }

}  // namespace zoo
