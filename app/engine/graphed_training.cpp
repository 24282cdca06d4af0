#include "app/engine/graphed_training.h"

#include <ATen/Context.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <spdlog/spdlog.h>

#include "app/engine/cuda_graph.h"
#include "app/engine/fixed_inputs.h"

namespace zoo::app {
namespace graphed_training_detail {

// They share the memory of all that is computed on the way, but each has gradients of its own.
constexpr size_t most_recordings = 4;
constexpr size_t most_shapes_remembered = 4096;

// Numbers drawn on the CPU are the same in every replay. From construction on; drawn() also takes them back.
class CpuGenerator {
 public:
  CpuGenerator() : generator_(at::globalContext().defaultGenerator(at::kCPU)), before_(generator_.get_state().clone()) {}
  bool drawn() {
    if (at::equal(before_, generator_.get_state())) return false;
    generator_.set_state(before_);
    return true;
  }

 private:
  at::Generator generator_;
  const at::Tensor before_;
};

// The plain work's memory and the recording's: both are needed, since other shapes go on without one.
bool room_for_both(at::Device device) {
  auto* const allocator = at::getDeviceAllocator(at::kCUDA);
  const auto peak = static_cast<size_t>(allocator->getDeviceStats(device.index()).allocated_bytes[0].peak);
  return 2 * peak < allocator->getMemoryInfo(device.index()).second;
}

}  // namespace graphed_training_detail

struct GraphedTraining::Recording {
  Tensors batch;                      // where the graph reads
  at::Tensor loss;                    // and writes
  std::vector<at::Tensor> gradients;  // of each parameter; undefined: it gets none
  CudaGraph graph;
};

GraphedTraining::GraphedTraining(std::vector<at::Tensor> parameters, Work work, bool wanted)
    : parameters_(std::move(parameters)), work_(std::move(work)), impossible_(!wanted || !CudaGraph::built_in()) {}
GraphedTraining::~GraphedTraining() = default;

void GraphedTraining::forget_gradients() {
  for (const auto& parameter : parameters_) parameter.mutable_grad().reset();
}

void GraphedTraining::give_up(const std::string& reason) {
  impossible_ = true;
  recordings_.clear();
  forget_gradients();
  spdlog::info("training steps are not recorded as a CUDA graph: {}", reason.substr(0, reason.find('\n')));
}

std::shared_ptr<GraphedTraining::Recording> GraphedTraining::record(const Tensors& batch) {
  auto recording = std::make_shared<Recording>();
  recording->batch = copies(batch);
  graphed_training_detail::CpuGenerator cpu;
  const CudaGraph* other = recordings_.empty() ? nullptr : &recordings_.begin()->second->graph;
  recording->graph.capture(batch.begin()->second.device(), [&] { recording->loss = work_(recording->batch); }, other);
  TORCH_CHECK(!cpu.drawn(), "it draws random numbers on the CPU");
  for (const auto& parameter : parameters_) recording->gradients.push_back(parameter.grad());
  return recording;
}

GraphedTraining::Recording* GraphedTraining::recording_for(const Tensors& batch) {
  namespace d = graphed_training_detail;
  if (impossible_ || !on_gpu(batch)) return nullptr;
  const std::string layout = layout_of(batch);
  if (const auto found = recordings_.find(layout); found != recordings_.end()) return found->second.get();
  if (seen_.size() >= d::most_shapes_remembered) seen_.clear();
  if (++seen_[layout] < 2 || recordings_.size() >= d::most_recordings) return nullptr;
  try {
    TORCH_CHECK(d::room_for_both(batch.begin()->second.device()), "a step takes more than half of the GPU's memory");
    const auto made = record(batch);
    return (recordings_[layout] = made).get();
  } catch (const std::exception& error) {
    give_up(error.what());
    return nullptr;
  }
}

at::Tensor GraphedTraining::operator()(const Tensors& batch) {
  Recording* recording = recording_for(batch);
  if (!recording) return work_(batch);
  copy_into(recording->batch, batch);
  recording->graph.replay();
  for (size_t i = 0; i < parameters_.size(); ++i) parameters_[i].mutable_grad() = recording->gradients[i];
  return recording->loss;
}

}  // namespace zoo::app
