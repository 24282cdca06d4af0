#include "app/engine/cuda_graph.h"

#include <stdexcept>
#include <utility>

#ifdef ZOO_CUDA_GRAPHS
#include <ATen/cuda/CUDAGraph.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/DeviceGuard.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>
#endif

namespace zoo::app {

#ifdef ZOO_CUDA_GRAPHS
namespace cuda_graph_detail {

// Another stream of the same device is current from construction to destruction: the default one cannot be recorded.
class SideStream {
 public:
  explicit SideStream(c10::DeviceIndex device) : before_(c10::cuda::getCurrentCUDAStream(device)), side_(c10::cuda::getStreamFromPool(true, device)) {
    before_.synchronize();
    c10::cuda::setCurrentCUDAStream(side_);
  }
  ~SideStream() { c10::cuda::setCurrentCUDAStream(before_); }
  SideStream(const SideStream&) = delete;
  SideStream& operator=(const SideStream&) = delete;
  void synchronize() const { side_.synchronize(); }

 private:
  const c10::cuda::CUDAStream before_, side_;
};

// From construction to destruction LibTorch refuses operations that wait for the GPU, before they are begun: begun ones would break a recording, and
// with it the states of the memory and of the random numbers.
class NoWaiting {
 public:
  NoWaiting() : before_(c10::cuda::warning_state().get_sync_debug_mode()) { c10::cuda::warning_state().set_sync_debug_mode(c10::cuda::SyncDebugMode::L_ERROR); }
  ~NoWaiting() { c10::cuda::warning_state().set_sync_debug_mode(before_); }
  NoWaiting(const NoWaiting&) = delete;
  NoWaiting& operator=(const NoWaiting&) = delete;

 private:
  const c10::cuda::SyncDebugMode before_;
};

using Pool = decltype(std::declval<at::cuda::CUDAGraph&>().pool());

void capture(at::cuda::CUDAGraph& graph, Pool pool, const std::function<void()>& work) {
  // Loader threads may go on to allocate pinned memory meanwhile.
  graph.capture_begin(pool, cudaStreamCaptureModeThreadLocal);
  try {
    const NoWaiting no_waiting;
    work();
  } catch (...) {
    try {
      graph.capture_end();  // ends what may be broken already
    } catch (const c10::Error&) {
    }
    throw;
  }
  graph.capture_end();
}

}  // namespace cuda_graph_detail

struct CudaGraph::Parts {
  at::cuda::CUDAGraph graph;
};

bool CudaGraph::built_in() { return true; }

void CudaGraph::record(c10::Device device, const std::function<void()>& work) {
  parts_ = std::make_unique<Parts>();
  const cuda_graph_detail::SideStream side(device.index());
  work();
  side.synchronize();
  cuda_graph_detail::capture(parts_->graph, {0, 0}, work);
  side.synchronize();
}

void CudaGraph::capture(c10::Device device, const std::function<void()>& work, const CudaGraph* other) {
  parts_ = std::make_unique<Parts>();
  const c10::DeviceGuard guard(device);
  const cuda_graph_detail::SideStream side(device.index());
  at::getDeviceAllocator(at::kCUDA)->emptyCache();  // what the plain runs held is free for the recording
  cuda_graph_detail::capture(parts_->graph, other ? other->parts_->graph.pool() : cuda_graph_detail::Pool{0, 0}, work);
  side.synchronize();
}

void CudaGraph::replay() { parts_->graph.replay(); }

#else

struct CudaGraph::Parts {};

bool CudaGraph::built_in() { return false; }
void CudaGraph::record(c10::Device, const std::function<void()>&) { throw std::logic_error("built without CUDA graphs"); }
void CudaGraph::capture(c10::Device, const std::function<void()>&, const CudaGraph*) { throw std::logic_error("built without CUDA graphs"); }
void CudaGraph::replay() { throw std::logic_error("built without CUDA graphs"); }

#endif

CudaGraph::CudaGraph() = default;
CudaGraph::~CudaGraph() = default;

}  // namespace zoo::app
