// A forward played from a recording gives what the network gives; on a CPU it is the network's own.
#include "app/engine/graphed_forward.h"

#include <torch/cuda.h>

#include "models/registry.h"
#include "tests/catch.h"

namespace graphed_forward_tests {
using zoo::Tensors;
using zoo::app::GraphedForward;

void check_on(at::Device device, bool records) {
  const auto model = zoo::find_entry("vit").make({{"image_size", 8}, {"patch_size", 4}, {"hidden_size", 16}, {"num_hidden_layers", 2}, {"num_attention_heads", 2},
                                                  {"intermediate_size", 32}});
  model->init_weights();
  model->to(device);
  model->eval();
  GraphedForward graphed(*model);
  const at::NoGradGuard no_grad;
  Tensors kept;
  for (int round = 0; round < 5; ++round) {
    const Tensors inputs = {{"image", at::randn({round == 3 ? 1 : 2, 3, 8, 8}).to(device)}};  // another shape in between
    const Tensors expected = model->forward(inputs), got = graphed(inputs);
    REQUIRE(got.size() == expected.size());
    for (const auto& [name, tensor] : expected) {
      INFO(name << " in round " << round);
      CHECK(at::equal(got.at(name), tensor));
    }
    if (round == 1) kept = got;
    if (round == 2) CHECK_FALSE(at::equal(kept.begin()->second, got.begin()->second));  // outputs are the caller's to keep
  }
  CHECK(graphed.recorded() == (records ? 1u : 0u));
}

TEST_CASE("a recorded forward equals the plain one", "[engine]") {
  check_on(at::kCPU, false);
  if (torch::cuda::device_count() > 0) check_on(at::kCUDA, GraphedForward::built_in());
}

}  // namespace graphed_forward_tests
