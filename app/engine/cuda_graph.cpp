#include "app/engine/cuda_graph.h"

#include <stdexcept>

#ifdef ZOO_CUDA_GRAPHS
#include <ATen/cuda/CUDAGraph.h>
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
  // Loader threads may go on to allocate pinned memory meanwhile.
  parts_->graph.capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
  try {
    work();
  } catch (const c10::Error&) {
    try {
      parts_->graph.capture_end();  // ends what is broken already
    } catch (const c10::Error&) {
    }
    throw;
  }
  parts_->graph.capture_end();
  side.synchronize();
}

void CudaGraph::replay() { parts_->graph.replay(); }

#else

struct CudaGraph::Parts {};

bool CudaGraph::built_in() { return false; }
void CudaGraph::record(c10::Device, const std::function<void()>&) { throw std::logic_error("built without CUDA graphs"); }
void CudaGraph::replay() { throw std::logic_error("built without CUDA graphs"); }

#endif

CudaGraph::CudaGraph() = default;
CudaGraph::~CudaGraph() = default;

}  // namespace zoo::app
