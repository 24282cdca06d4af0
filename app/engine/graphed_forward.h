// GraphedForward: a network's forward on a GPU, recorded once for each set of input shapes as a CUDA graph (cuda_graph.h)
// and played again.
#pragma once
#include <map>
#include <memory>
#include <string>

#include "models/model.h"

namespace zoo::app {

// For inference alone: not while training, and by one thread at a time. The network must outlive it, stay in eval mode and keep
// its weights where they are.
class GraphedForward {
 public:
  explicit GraphedForward(Model& model);
  ~GraphedForward();
  GraphedForward(const GraphedForward&) = delete;
  GraphedForward& operator=(const GraphedForward&) = delete;

  // The values of model.forward(inputs), without gradients, in tensors of their own. Shapes that come for the second time are
  // recorded; where that is impossible (CPU, a build without CUDA's headers, a network that waits for the GPU in its forward,
  // which a line in the log says once) it is model.forward itself.
  Tensors operator()(const Tensors& inputs);

  size_t recorded() const { return recordings_.size(); }
  static bool built_in();  // this build can record

 private:
  struct Recording;
  using Key = std::string;  // names, types and shapes of the inputs
  Recording* recording_for(const Tensors& inputs);
  std::shared_ptr<Recording> record(const Tensors& inputs);

  Model& model_;
  std::map<Key, int64_t> seen_;
  std::map<Key, std::shared_ptr<Recording>> recordings_;
  bool impossible_ = false;
};

}  // namespace zoo::app
