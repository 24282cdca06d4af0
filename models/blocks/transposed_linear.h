// TransposedLinear: a linear layer whose weight is stored [in, out], as GPT-2's first release did ("Conv1D" in transformers).
#pragma once
#include "models/blocks/linear.h"

namespace zoo {

class TransposedLinearImpl : public Module {
 public:
  TransposedLinearImpl(int64_t in_features, int64_t out_features, double std);
  Tensor forward(const Tensor& x);  // [..., in] -> [..., out]
  void init() override;             // Normal(0, std), bias 0
  // As LinearImpl::pack and fused.
  bool pack(Precision precision = Precision::float32);
  Tensor fused(const Tensor& x, Pointwise after, const Tensor& residual);
  Tensor weight, bias;  // [in, out], [out]

 private:
  double std_;
  std::shared_ptr<const PackedWeight> packed_;
};
ZOO_MODULE(TransposedLinear);

}  // namespace zoo
