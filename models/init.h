// Starting values that references use where they differ from PyTorch's defaults.
#pragma once
#include "models/model.h"

namespace zoo {

// Normal(0, std) cut at +-2 standard deviations' worth of [low, high] = [-2, 2], as torch.nn.init.trunc_normal_.
void trunc_normal(at::Tensor tensor, double std);
// Normal with variance 2 / fan_in (He et al., 2015), as torch.nn.init.kaiming_normal_ for ReLU.
void kaiming_normal(at::Tensor tensor);
// Hugging Face's rule for BERT-like networks: linears and embeddings Normal(0, std), biases 0, norms 1 and 0.
void init_transformers(torch::nn::Module& root, double std);

}  // namespace zoo
