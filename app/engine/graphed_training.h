// GraphedTraining: forward, loss and backward pass of a training step on a GPU, recorded once for each set of batch shapes as a CUDA graph
// (cuda_graph.h) and played again. What follows them, clipping and the optimizer, stays outside: it needs numbers on the CPU, and is few kernels.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "models/model.h"

namespace zoo::app {

// By one thread. Parameters and all else that the work reads besides the batch must stay where they are, and the network in training mode.
class GraphedTraining {
 public:
  // Gives the loss, detached, and leaves gradients at parameters that had none. What it decides on the CPU (a number drawn there, a count of its
  // own) would be recorded as it was: work that draws from LibTorch's generator of the CPU is found out and not recorded, a count is not.
  using Work = std::function<at::Tensor(const Tensors& batch)>;

  // `wanted` false: never record.
  GraphedTraining(std::vector<at::Tensor> parameters, Work work, bool wanted = true);
  ~GraphedTraining();
  GraphedTraining(const GraphedTraining&) = delete;
  GraphedTraining& operator=(const GraphedTraining&) = delete;

  // What work(batch) gives and leaves, dropout and running statistics included; the loss and the gradients hold until the next call. Parameters must
  // have no gradients. Shapes that come for the second time are recorded; where that is impossible (CPU, a build without CUDA's headers, work that
  // waits for the GPU or draws on the CPU, too little memory for both ways, which a line in the log says once) it is the work itself.
  at::Tensor operator()(const Tensors& batch);

  size_t recorded() const { return recordings_.size(); }

 private:
  struct Recording;
  Recording* recording_for(const Tensors& batch);
  std::shared_ptr<Recording> record(const Tensors& batch);
  void forget_gradients();
  void give_up(const std::string& reason);

  const std::vector<at::Tensor> parameters_;
  const Work work_;
  std::map<std::string, int64_t> seen_;                           // by layout_of()
  std::map<std::string, std::shared_ptr<Recording>> recordings_;
  bool impossible_;
};

}  // namespace zoo::app
