#include "app/engine/graphed_forward.h"

#include <spdlog/spdlog.h>

#include "app/engine/cuda_graph.h"
#include "app/engine/fixed_inputs.h"

namespace zoo::app {
namespace graphed_detail {

// Each recording keeps the memory of all that its forward computes on the way.
constexpr size_t most_recordings = 8;
constexpr size_t most_shapes_remembered = 4096;

}  // namespace graphed_detail

struct GraphedForward::Recording {
  Tensors inputs, outputs;  // where the graph reads and writes
  CudaGraph graph;
};

bool GraphedForward::built_in() { return CudaGraph::built_in(); }

std::shared_ptr<GraphedForward::Recording> GraphedForward::record(const Tensors& inputs) {
  auto recording = std::make_shared<Recording>();
  recording->inputs = copies(inputs);
  recording->graph.record(inputs.begin()->second.device(), [&] { recording->outputs = model_.forward(recording->inputs); });
  return recording;
}

GraphedForward::GraphedForward(Model& model) : model_(model), impossible_(!built_in()) {}
GraphedForward::~GraphedForward() = default;

GraphedForward::Recording* GraphedForward::recording_for(const Tensors& inputs) {
  if (impossible_ || !on_gpu(inputs)) return nullptr;
  const Key key = layout_of(inputs);
  if (const auto found = recordings_.find(key); found != recordings_.end()) return found->second.get();
  if (seen_.size() >= graphed_detail::most_shapes_remembered) seen_.clear();
  if (++seen_[key] < 2 || recordings_.size() >= graphed_detail::most_recordings) return nullptr;
  try {
    return (recordings_[key] = record(inputs)).get();
  } catch (const c10::Error& error) {
    impossible_ = true;
    recordings_.erase(key);
    const std::string text = error.what_without_backtrace();
    spdlog::info("this network's forward is not recorded as a CUDA graph: {}", text.substr(0, text.find('\n')));
    return nullptr;
  }
}

Tensors GraphedForward::operator()(const Tensors& inputs) {
  const at::NoGradGuard no_grad;
  Recording* recording = recording_for(inputs);
  if (!recording) return model_.forward(inputs);
  copy_into(recording->inputs, inputs);
  recording->graph.replay();
  return copies(recording->outputs);
}

}  // namespace zoo::app
