// Exponential moving average of the trained weights: often better than the last ones, and much steadier.
#pragma once
#include <ATen/ATen.h>
#include <torch/nn/module.h>

#include <string>
#include <vector>

#include "models/model.h"

namespace zoo::app {

struct AverageOptions {
  double decay = 0.0;   // 0: no averaging; 0.999 or so otherwise
  bool warmup = true;   // decay (1 + n) / (10 + n) at update n where that is less, so that the start is soon forgotten
};

// Starts with the weights as they are. Buffers are not averaged: the network's own stay in use.
class WeightAverage {
 public:
  // Over the parameters that are trained now. Throws std::invalid_argument for a decay outside 0 .. 1.
  WeightAverage(const AverageOptions& options, const torch::nn::Module& network);

  void update();  // after each optimizer step, never while swapped
  // Exchanges the network's weights and the average, in place; a second call undoes it exactly.
  void swap();

  // "<parameter key>.average" and "average.updates"; the average's own tensors. Not while swapped.
  Tensors state() const;
  // Throws std::invalid_argument for missing or unknown names and other shapes; then nothing has changed.
  void load_state(const Tensors& state);

 private:
  const AverageOptions options_;
  std::vector<std::string> names_;
  std::vector<at::Tensor> parameters_, averages_;
  int64_t updates_ = 0;
  bool swapped_ = false;
};

// The averaged weights are the network's for the time of its life: around an evaluation, or saving. Takes null for none.
class AveragedWeights {
 public:
  explicit AveragedWeights(WeightAverage* average) : average_(average) {
    if (average_) average_->swap();
  }
  ~AveragedWeights() {
    if (average_) average_->swap();
  }
  AveragedWeights(const AveragedWeights&) = delete;
  AveragedWeights& operator=(const AveragedWeights&) = delete;

 private:
  WeightAverage* average_;
};

}  // namespace zoo::app
