#include "app/engine/graphed_forward.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "app/engine/cuda_graph.h"

namespace zoo::app {
namespace graphed_detail {

// Each recording keeps the memory of all that its forward computes on the way.
constexpr size_t most_recordings = 8;
constexpr size_t most_shapes_remembered = 4096;

bool on_gpu(const Tensors& inputs) {
  return !inputs.empty() && std::all_of(inputs.begin(), inputs.end(), [](const auto& input) { return input.second.is_cuda(); });
}

std::string shapes_of(const Tensors& inputs) {
  std::string key;
  for (const auto& [name, tensor] : inputs) {
    key += name + ' ' + c10::toString(tensor.scalar_type());
    for (const int64_t size : tensor.sizes()) key += ' ' + std::to_string(size);
    key += tensor.is_contiguous(at::MemoryFormat::ChannelsLast) && !tensor.is_contiguous() ? " last;" : ";";
  }
  return key;
}

Tensors copies(const Tensors& tensors) {
  Tensors copied;
  for (const auto& [name, tensor] : tensors) copied[name] = tensor.defined() ? tensor.clone() : tensor;
  return copied;
}

}  // namespace graphed_detail

struct GraphedForward::Recording {
  Tensors inputs, outputs;  // where the graph reads and writes
  CudaGraph graph;
};

bool GraphedForward::built_in() { return CudaGraph::built_in(); }

std::shared_ptr<GraphedForward::Recording> GraphedForward::record(const Tensors& inputs) {
  auto recording = std::make_shared<Recording>();
  recording->inputs = graphed_detail::copies(inputs);
  recording->graph.record(inputs.begin()->second.device(), [&] { recording->outputs = model_.forward(recording->inputs); });
  return recording;
}

GraphedForward::GraphedForward(Model& model) : model_(model), impossible_(!built_in()) {}
GraphedForward::~GraphedForward() = default;

GraphedForward::Recording* GraphedForward::recording_for(const Tensors& inputs) {
  if (impossible_ || !graphed_detail::on_gpu(inputs)) return nullptr;
  const Key key = graphed_detail::shapes_of(inputs);
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
  for (const auto& [name, tensor] : inputs) recording->inputs.at(name).copy_(tensor, /*non_blocking=*/true);
  recording->graph.replay();
  return graphed_detail::copies(recording->outputs);
}

}  // namespace zoo::app
