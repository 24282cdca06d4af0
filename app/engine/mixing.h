// Mixup and CutMix: batches of pictures mixed with themselves in another order, with the labels mixed alike.
#pragma once
#include <ATen/ATen.h>

#include "models/model.h"

namespace zoo::app {

struct MixingOptions {
  double mixup = 0.0;         // alpha of the Beta distribution that draws the share (Zhang et al., 2018); 0: no mixup
  double cutmix = 0.0;        // likewise for CutMix (Yun et al., 2019); where both are given, each batch takes one by chance
  double probability = 1.0;   // share of the batches that are mixed at all
  bool active() const { return mixup > 0.0 || cutmix > 0.0; }
};

// What a batch became: targets [B, classes] that sum to 1, for soft_cross_entropy. `batch` has "image" [B,C,H,W] and
// "labels" [B] int64 in 0 .. classes - 1. Draws from PyTorch's CPU generator, so that a resumed training draws the same.
struct MixedBatch {
  Tensors batch;       // "image" mixed; "labels" as they were, for those who count hits
  at::Tensor targets;
};
// Throws std::invalid_argument when there is no image or label, or labels are not one whole number per picture.
MixedBatch mix(const MixingOptions& options, const Tensors& batch, int64_t classes, double label_smoothing);

// The mean over B of -sum(targets log softmax(logits)); equals the cross entropy for one-hot targets. [B, classes] both.
at::Tensor soft_cross_entropy(const at::Tensor& logits, const at::Tensor& targets);

}  // namespace zoo::app
