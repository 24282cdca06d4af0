// GradientReducer: backward passes whose gradients are summed over all ranks, in buckets, while the pass still runs.
// c10d::Reducer (the engine of PyTorch's DistributedDataParallel) does it; gradient_reducer.cpp is the only file that knows it.
#pragma once
#include <ATen/ATen.h>

#include <memory>
#include <vector>

#include "app/engine/ranks.h"

namespace zoo::app {

class GradientReducer {
 public:
  // All ranks give the same parameters in the same order. `overlap` false: sum after the pass, which networks need whose
  // backward pass starts further ones (activation recomputation).
  GradientReducer(const Ranks& ranks, std::vector<at::Tensor> parameters, bool overlap = true);
  ~GradientReducer();

  // Adds the gradients of `loss`, a scalar, to the parameters' grad. With `last` every grad then is the sum over all ranks
  // and over all calls since the last such one; a parameter that no rank used keeps an undefined grad. An undefined loss
  // stands for a rank without examples. All ranks make equally many calls, with the same `last`. A loss must be scaled to
  // its share in the sum before. Throws RankFailure.
  void backward(const at::Tensor& loss, bool last = true);

 private:
  struct Engine;
  const Ranks& ranks_;
  std::unique_ptr<Engine> engine_;  // none for one process
};

}  // namespace zoo::app
