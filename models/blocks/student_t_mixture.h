// A mixture of K Student-t distributions per point: the density that probabilistic forecasters return as
// distribution.{weight,df,loc,scale} (models/model.h). Without df: normal ones, whose degrees are infinite here.
#pragma once
#include "models/model.h"

namespace zoo {

// Each [..., K]: weights that sum to 1 over K, degrees of freedom > 0, location, scale > 0.
struct StudentTMixture {
  at::Tensor weight, df, loc, scale;

  // From and to the outputs of a network. Throws std::invalid_argument when weight, loc or scale is missing. An undefined df is not
  // put in.
  static StudentTMixture from(const Tensors& outputs);
  void into(Tensors& outputs) const;

  // x [...] -> log density [...].
  at::Tensor log_prob(const at::Tensor& x) const;
  // [...]; exists for df > 1.
  at::Tensor mean() const;
};

}  // namespace zoo
