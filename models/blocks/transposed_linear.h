// TransposedLinear: a linear layer whose weight is stored [in, out], as GPT-2's first release did ("Conv1D" in transformers).
#pragma once
#include "models/blocks/linear.h"

namespace zoo {

class TransposedLinearImpl : public Module {
 public:
  TransposedLinearImpl(int64_t in_features, int64_t out_features, double std);
  Tensor forward(const Tensor& x);  // [..., in] -> [..., out]
  void init() override;             // Normal(0, std), bias 0
  // As LinearImpl::pack: for inference, a copy of the weight in the fastest kernel's layout; whether there is one now.
  bool pack();
  Tensor weight, bias;  // [in, out], [out]

 private:
  double std_;
  Linear packed_{nullptr};  // not registered: it holds no weight of its own
};
ZOO_MODULE(TransposedLinear);

}  // namespace zoo
