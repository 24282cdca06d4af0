// Recomputation: the same gradients bit for bit, with less memory.
#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include "app/engine/precision.h"
#include "models/model.h"
#include "models/recompute.h"
#include "models/registry.h"
#include "tests/catch.h"

namespace recompute_tests {
using zoo::Json;
using zoo::Tensors;

// The most bytes that were alive at once on this thread since the start of its life.
struct Meter : c10::MemoryReportingInfoBase {
  int64_t live = 0, peak = 0;
  void reportMemoryUsage(void*, int64_t size, size_t, size_t, c10::Device) override { peak = std::max(peak, live += size); }
  bool memoryProfilingEnabled() const override { return true; }
};

struct Outcome {
  std::vector<at::Tensor> gradients;
  double loss = 0;
  int64_t peak = 0;
  at::Tensor next_random;  // the generator afterwards
};

Outcome learn(zoo::Model& network, const Tensors& inputs, const std::string& output, const std::string& precision) {
  const auto meter = std::make_shared<Meter>();
  const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, meter);
  network.train();
  network.zero_grad();
  at::manual_seed(11);
  at::Tensor loss;
  {
    const zoo::app::Autocast autocast(precision, at::kCPU);
    loss = network.forward(inputs).at(output).to(at::kFloat).square().mean();
  }
  loss.backward();
  Outcome outcome;
  outcome.loss = loss.item<double>();
  outcome.peak = meter->peak;
  outcome.next_random = at::rand({4});
  for (const auto& parameter : network.parameters()) outcome.gradients.push_back(parameter.grad().defined() ? parameter.grad().clone() : at::Tensor());
  return outcome;
}

void compare(zoo::Model& network, const Tensors& inputs, const std::string& output, const std::string& precision) {
  INFO(precision);
  REQUIRE(zoo::recompute_layers(network, false) > 1);
  const Outcome kept = learn(network, inputs, output, precision);
  zoo::recompute_layers(network, true);
  const Outcome again = learn(network, inputs, output, precision);
  zoo::recompute_layers(network, false);
  CHECK(kept.loss == again.loss);
  CHECK(at::equal(kept.next_random, again.next_random));
  REQUIRE(kept.gradients.size() == again.gradients.size());
  for (size_t i = 0; i < kept.gradients.size(); ++i) {
    REQUIRE(kept.gradients[i].defined() == again.gradients[i].defined());
    if (kept.gradients[i].defined()) CHECK(at::equal(kept.gradients[i], again.gradients[i]));
  }
  INFO("peak with all kept " << kept.peak << ", recomputed " << again.peak);
  CHECK(again.peak < kept.peak * 0.7);
}

TEST_CASE("recomputed layers give the same gradients in less memory", "[engine][recompute]") {
  at::manual_seed(3);
  const auto bert = zoo::find_entry("bert").make({{"architectures", {"BertModel"}}, {"vocab_size", 40}, {"hidden_size", 32}, {"num_hidden_layers", 6},
                                                 {"num_attention_heads", 4}, {"intermediate_size", 64}, {"max_position_embeddings", 64}});
  bert->init_weights();
  const at::Tensor tokens = at::randint(40, {4, 48}, at::kLong);
  at::Tensor mask = at::ones({4, 48}, at::kBool);
  mask.slice(1, 40).slice(0, 2).fill_(false);
  for (const std::string precision : {"float32", "bf16"}) {
    compare(*bert, {{"tokens", tokens}}, "hidden", precision);  // the layers' mask is undefined
    compare(*bert, {{"tokens", tokens}, {"mask", mask}}, "hidden", precision);
  }
}

TEST_CASE("recomputation works where the first layers are frozen", "[engine][recompute]") {
  at::manual_seed(3);
  const auto bert = zoo::find_entry("bert").make({{"architectures", {"BertModel"}}, {"vocab_size", 40}, {"hidden_size", 32}, {"num_hidden_layers", 6},
                                                 {"num_attention_heads", 4}, {"intermediate_size", 64}, {"max_position_embeddings", 64}});
  bert->init_weights();
  for (const auto& item : bert->named_parameters()) {
    if (item.key().find("embeddings") != std::string::npos) item.value().set_requires_grad(false);
  }
  compare(*bert, {{"tokens", at::randint(40, {4, 48}, at::kLong)}}, "hidden", "float32");
}

}  // namespace recompute_tests
