// Fixed states: steps on memory of one shape give what steps on a growing state give. (On a GPU they are recorded.)
#include "app/engine/recorded_decoding.h"

#include <torch/cuda.h>

#include <algorithm>

#include "app/engine/generation.h"
#include "app/tasks/text_batches.h"
#include "tests/catch.h"
#include "tests/models.h"
#include "tests/unit/gpu_support.h"

namespace fixed_decoding_tests {
using zoo::Decoding;
using zoo::Tensors;

// Three inputs, the last two with padding: of the source at the end, of a prompt at the beginning.
Tensors inputs_for(const zoo::IncrementalDecoder& network) {
  at::Tensor mask = at::ones({3, 5}, at::kBool);
  const int64_t padded = network.has_encoder() ? 4 : 0;
  mask[1][padded] = false;
  mask[2][padded] = false;
  return {{"tokens", at::arange(3, 18).view({3, 5})}, {"mask", mask}};
}

void check_steps(zoo::Model& model, int64_t beams, at::Device device) {
  const c10::InferenceMode guard;
  auto& network = dynamic_cast<zoo::IncrementalDecoder&>(model);
  const Tensors inputs = zoo::app::to_device(inputs_for(network), device);
  Decoding state = network.start(inputs, beams, 64);
  network.decode(network.has_encoder() ? at::full({3, 1}, 2, inputs.at("tokens").options()) : inputs.at("tokens"), state);
  if (beams > 1) state.select(at::arange(3, inputs.at("tokens").options()).repeat_interleave(beams));
  zoo::app::FixedSteps fixed(network, state, device.is_cuda());
  fixed.load(state);
  for (int64_t step = 0; step < 6; ++step) {
    const at::Tensor tokens = (at::arange(3 * beams, at::kLong) * 7 + step * 5) % 23 + 3;
    if (beams > 1) {  // each row goes on from its neighbour's
      const at::Tensor parents = (at::arange(3 * beams, at::kLong).view({3, beams}).flip(1).flatten()).to(device);
      state.select(parents);
      fixed.select(parents);
    }
    const at::Tensor expected = network.decode(tokens.to(device).unsqueeze(1), state), got = fixed.step(tokens);
    INFO("step " << step << ", beams " << beams);
    REQUIRE(got.sizes() == expected.sizes());
    CHECK((got - expected).abs().max().item<double>() < 2e-5 * std::max(1.0, expected.abs().max().item<double>()));
  }
}

TEST_CASE("steps on a fixed state equal those on a growing one", "[engine]") {
  int64_t networks = 0;
  for (const auto& one : zoo::test::tiny_cases()) {
    const auto model = one.entry.make(one.config);
    auto* network = dynamic_cast<zoo::IncrementalDecoder*>(model.get());
    if (!network || !network->takes_fixed_states()) continue;
    ++networks;
    INFO(one.name);
    model->init_weights();
    model->eval();
    for (const at::Device device : {at::Device(at::kCPU), at::Device(at::kCUDA, 0)}) {
      if (device.is_cuda() && (torch::cuda::device_count() == 0 || !zoo::app::CudaGraph::built_in())) continue;
      model->to(device);
      for (const int64_t beams : {1, 3}) check_steps(*model, beams, device);
    }
  }
  CHECK((networks >= 4 || std::getenv("ZOO_MODEL")));
}

// The first call begins plainly, the second records its beginning, the third plays it; other lengths come between.
TEST_CASE("texts begun and written from recordings are those of plain decoding", "[engine]") {
  if (!zoo::test::gpu::here()) return;
  for (const auto& one : zoo::test::tiny_cases()) {
    const auto model = one.entry.make(one.config);
    auto* network = dynamic_cast<zoo::IncrementalDecoder*>(model.get());
    if (!network || !network->takes_fixed_states()) continue;
    INFO(one.name);
    model->init_weights();
    model->eval();
    model->to(at::kCUDA);
    zoo::app::Generator write(*model);
    for (const int64_t beams : {1, 3}) {
      zoo::app::GenerationOptions options;
      options.decoder_start = 2;
      options.eos = {1};
      options.max_new_tokens = 6;
      options.num_beams = beams;
      int64_t third_token = 1;
      for (int64_t call = 0; call < 5; ++call) {
        Tensors inputs = zoo::app::to_device(inputs_for(*network), at::kCUDA);
        inputs["tokens"] = inputs["tokens"] + call % 3;
        if (call == 2) inputs["mask"] = at::ones_like(inputs["mask"]);
        options.min_new_tokens = call == 3 ? 4 : 0;                  // ends are barred for a while
        options.eos = {call == 4 ? third_token : int64_t{1}};  // a text ends before the others
        const auto got = write(inputs, options), expected = zoo::app::generate(*model, inputs, options);
        for (size_t i = 0; i < expected.size(); ++i) {
          INFO("beams " << beams << ", call " << call << ", input " << i);
          CHECK(got[i].front().ids == expected[i].front().ids);
          const auto& ids = expected[i].front().ids;
          third_token = ids[std::min<size_t>(2, ids.size() - 1)];
        }
      }
    }
  }
}

}  // namespace fixed_decoding_tests
