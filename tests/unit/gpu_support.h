// What the tests of kernels for a GPU share.
#pragma once
#include <ATen/ATen.h>
#include <torch/cuda.h>

#include "app/engine/cuda_graph.h"
#include "tests/catch.h"

namespace zoo::test::gpu {

inline bool here() {
  if (torch::cuda::is_available() && app::CudaGraph::built_in()) return true;
  WARN("SKIPPED: needs a GPU and a build with CUDA's headers");
  return false;
}

// Largest difference over the largest number, both in double.
inline double difference(const at::Tensor& a, const at::Tensor& b) {
  REQUIRE(a.defined());
  REQUIRE(a.sizes() == b.sizes());
  return ((a.to(at::kDouble) - b.to(at::kDouble)).abs().max() / b.to(at::kDouble).abs().max()).item<double>();
}

inline const at::ScalarType kTypes[] = {at::kFloat, at::kBFloat16, at::kHalf};

}  // namespace zoo::test::gpu
