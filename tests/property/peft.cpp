// What every network must keep when adapters are put on it.
#include "app/engine/peft.h"
#include "models/blocks/adaptable.h"
#include "tests/catch.h"
#include "tests/cli/program.h"
#include "tests/models.h"

namespace zoo::test::peft_property {

// A layer whose weight a network uses past its forward() would leave its adapter without effect, and without a gradient.
TEST_CASE("every linear layer's adapter takes part", "[property]") {
  for (const auto& c : tiny_cases()) {
    INFO(c.name);
    const Scratch scratch;
    app::Bundle made;
    made.config = c.config;
    made.entry = &find_entry(c.entry.name);
    made.model = fresh(c);
    app::save_bundle(made, scratch / "base");
    app::BundleOptions options;
    options.for_training = true;
    auto bundle = app::load_bundle((scratch / "base").string(), at::kCPU, options);
    Json method = {{"method", "lora"}, {"r", 2}, {"alpha", 4}};
    if (c.entry.name == "resnet") method["target_modules"] = {"convolution"};  // its one linear layer is the head
    const auto lora = app::read_peft(method);
    app::start_adapter(bundle, lora);
    bundle.model->eval();
    const auto& adapter = bundle.adapters.back();
    REQUIRE(!adapter.layers.empty());
    at::manual_seed(3);
    for (auto& item : bundle.model->named_parameters()) {
      const at::NoGradGuard no_grad;
      if (item.key().find("lora_B") != std::string::npos) item.value().normal_(0.0, 0.3);
    }
    const auto inputs = make_inputs(c, 2, 6);
    at::Tensor sum;
    for (const auto& [name, value] : bundle.model->forward(inputs)) {
      if (!value.requires_grad()) continue;
      const auto term = value.square().mean();
      sum = sum.defined() ? sum + term : term;
    }
    REQUIRE(sum.defined());
    sum.backward();
    for (const auto& item : bundle.model->named_parameters()) {
      if (item.key().find("." + adapter.name + ".") == std::string::npos) continue;
      INFO(item.key());
      CHECK(item.value().grad().defined());
    }
    const auto adapted = bundle.model->forward(inputs);
    app::save_bundle(bundle, scratch / "adapter");
    auto again = app::load_bundle((scratch / "adapter").string(), at::kCPU);
    const c10::InferenceMode inference;
    for (const auto& [name, value] : again.model->forward(inputs)) {
      INFO(name);
      CHECK(at::allclose(value, adapted.at(name), 1e-4, 1e-5));
    }
  }
}

}  // namespace zoo::test::peft_property
