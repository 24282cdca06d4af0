#include "models/blocks/transposed_linear.h"

namespace zoo {

TransposedLinearImpl::TransposedLinearImpl(int64_t in_features, int64_t out_features, double std) : std_(std) {
  weight = param("weight", {in_features, out_features});
  bias = param("bias", {out_features});
}

void TransposedLinearImpl::init() {
  at::NoGradGuard no_grad;
  weight.normal_(0.0, std_);
  bias.zero_();
}

}  // namespace zoo
