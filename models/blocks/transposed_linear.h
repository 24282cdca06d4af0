// TransposedLinear: a linear layer whose weight is stored [in, out], as GPT-2's first release did ("Conv1D" in transformers).
#pragma once
#include "models/blocks/linear.h"

namespace zoo {

class TransposedLinearImpl : public LinearLayer {
 public:
  TransposedLinearImpl(int64_t in_features, int64_t out_features, double std);  // weight [in, out], bias [out]
  void init() override;                                                        // Normal(0, std), bias 0
  Tensor outputs_first() const override { return weight.t(); }

 private:
  double std_;
};
ZOO_MODULE(TransposedLinear);

}  // namespace zoo
