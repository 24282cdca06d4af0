// What must hold for every network of the registry, on its tiny variants.
#include <set>

#include "tests/catch.h"
#include "tests/models.h"
#include "weights/checkpoint.h"
#include "weights/loader.h"
#include "weights/safetensors.h"

using namespace zoo;
using namespace zoo::test;

namespace property_detail {

bool close(const at::Tensor& a, const at::Tensor& b) { return at::allclose(a, b, 1e-4, 1e-5); }

// A scalar that depends on every output: a fixed random projection.
at::Tensor projection(const Tensors& outputs) {
  at::Tensor total;
  for (const auto& [name, x] : outputs) {
    if (!x.requires_grad()) continue;
    const auto direction = weights::fill_inputs("projection:" + name, x.sizes(), 0);
    const auto part = (x * direction).sum();
    total = total.defined() ? total + part : part;
  }
  return total;
}

// The output that a mask must not change at kept positions, or must not change at all: cut where `shorter` ends.
Tensors kept(const Tensors& outputs, const Tensors& shorter) {
  Tensors cut;
  for (const auto& [name, x] : outputs) cut[name] = x.dim() >= 2 ? x.slice(1, 0, shorter.at(name).size(1)) : x;
  return cut;
}

}  // namespace property_detail

TEST_CASE("tiny variants are tiny and build quickly", "[property]") {
  for (const auto& c : tiny_cases()) {
    INFO(c.name);
    CHECK(parameter_count(*fresh(c)) < 200000);
  }
}

TEST_CASE("outputs are finite, repeatable in eval mode, and rows do not depend on each other", "[property]") {
  at::NoGradGuard no_grad;
  for (const auto& c : tiny_cases()) {
    INFO(c.name);
    auto model = fresh(c);
    const auto inputs = make_inputs(c, 3, 9);
    const auto first = model->forward(inputs), second = model->forward(inputs);
    Tensors row;
    for (const auto& [name, x] : inputs) row[name] = x.slice(0, 1, 2);
    const auto alone = model->forward(row);
    REQUIRE_FALSE(first.empty());
    for (const auto& [name, x] : first) {
      INFO(name);
      CHECK(x.size(0) == 3);
      CHECK(x.isfinite().all().item<bool>());
      CHECK(x.equal(second.at(name)));
      CHECK(property_detail::close(x.slice(0, 1, 2), alone.at(name)));
      if (name == "distribution.weight") continue;  // the parts of a mixture may well weigh the same
      CHECK(x.std().item<double>() > 0);            // fresh weights are not all alike
    }
  }
}

TEST_CASE("every trained parameter gets a gradient", "[property]") {
  for (const auto& c : tiny_cases()) {
    auto model = fresh(c);
    property_detail::projection(model->forward(make_inputs(c, 3, 9))).backward();
    for (const auto& item : model->named_parameters()) {
      if (!item.value().requires_grad()) continue;
      INFO(c.name << " " << item.key());
      REQUIRE(item.value().grad().defined());
      CHECK(item.value().grad().isfinite().all().item<bool>());
      // One-dimensional ones may vanish exactly: softmax does not see a bias that all keys share.
      if (item.value().dim() > 1) CHECK(item.value().grad().abs().sum().item<double>() > 0);
    }
  }
}

TEST_CASE("saved and loaded again, a network gives the same outputs", "[property]") {
  at::NoGradGuard no_grad;
  for (const auto& c : tiny_cases()) {
    INFO(c.name);
    auto model = fresh(c);
    std::vector<std::pair<std::string, at::Tensor>> tensors;
    std::set<const void*> seen;
    for (const auto& item : model->named_parameters()) {
      if (seen.insert(item.value().unsafeGetTensorImpl()).second) tensors.emplace_back(item.key(), item.value().detach());
    }
    for (const auto& item : model->named_buffers()) tensors.emplace_back(item.key(), item.value());
    const auto file = std::filesystem::temp_directory_path() / ("zoo_property_" + c.entry.name + ".safetensors");
    weights::save_safetensors(file, tensors, {{"format", "pt"}});
    auto loaded = c.entry.make(c.config);
    weights::load(*loaded, weights::Checkpoint::open(file), {});
    loaded->eval();
    const auto inputs = make_inputs(c, 2, 9);
    const auto before = model->forward(inputs), after = loaded->forward(inputs);
    for (const auto& [name, x] : before) CHECK(x.equal(after.at(name)));
    loaded->prepare_for_inference();
    for (const auto& [name, x] : loaded->forward(inputs)) CHECK(property_detail::close(x, before.at(name)));
    std::filesystem::remove(file);
  }
}

TEST_CASE("padding does not change what is kept", "[property]") {
  at::NoGradGuard no_grad;
  for (const auto& c : tiny_cases()) {
    const auto padded = make_inputs(c, 2, 12);
    if (!padded.count("mask")) continue;
    INFO(c.name);
    Tensors masked = padded, cut;
    masked["mask"] = padded.at("mask").clone();
    masked["mask"].slice(1, 7).fill_(false);
    if (padded.count("pair_mask")) masked["pair_mask"] = masked["mask"];
    for (const auto& [name, x] : padded) cut[name] = x.slice(1, 0, 7);
    auto model = fresh(c);
    const auto without = model->forward(cut), with = property_detail::kept(model->forward(masked), without);
    for (const auto& [name, x] : without) CHECK(property_detail::close(x, with.at(name)));
  }
}

TEST_CASE("twenty steps on one batch lower the loss", "[property]") {
  for (const auto& c : tiny_cases()) {
    INFO(c.name);
    auto model = fresh(c, /*training=*/true);
    const auto inputs = make_inputs(c, 4, 9);
    const auto loss = [&] {
      const auto outputs = model->forward(inputs);
      const auto found = outputs.find("logits");
      if (found == outputs.end()) {  // an encoder: every output towards one half
        at::Tensor total = at::zeros({});
        for (const auto& [name, x] : outputs) total = total + (x - 0.5).square().mean();
        return total;
      }
      const auto rows = found->second.reshape({-1, found->second.size(-1)});
      return at::cross_entropy_loss(rows, at::arange(rows.size(0), at::kLong).remainder(rows.size(1)));
    };
    model->eval();
    const double before = loss().item<double>();
    model->train();
    for (int step = 0; step < 20; ++step) {
      model->zero_grad();
      loss().backward();
      at::NoGradGuard no_grad;
      for (auto& p : model->parameters()) {
        if (p.grad().defined()) p.sub_(p.grad().sign(), 1e-3);  // the sign alone: no scale to tune
      }
    }
    model->eval();
    CHECK(loss().item<double>() < before);
  }
}

TEST_CASE("the registry and the folder of networks agree", "[property]") {
  std::set<std::string> listed, sources, cards;
  for (const auto& entry : registry()) listed.insert(entry.name);
  const auto models = std::filesystem::path(ZOO_TEST_DIR).parent_path() / "models";
  for (const auto& item : std::filesystem::recursive_directory_iterator(models)) {
    const auto folder = item.path().parent_path();
    if (item.path().extension() == ".json") cards.insert(item.path().stem().string());
    if (item.path().extension() == ".cpp" && folder != models && folder.filename() != "blocks") sources.insert(item.path().stem().string());
  }
  CHECK(listed == cards);
  CHECK(std::includes(sources.begin(), sources.end(), listed.begin(), listed.end()));
  std::vector<std::string> order;
  for (const auto& entry : registry()) order.push_back(entry.name);
  CHECK(std::is_sorted(order.begin(), order.end()));
}

TEST_CASE("every card says what zoo list and the docs need", "[property]") {
  for (const auto& entry : registry()) {
    INFO(entry.name);
    const auto& c = card(entry.name);
    for (const char* key : {"title", "paper", "family", "reference", "weights", "proof", "architectures", "model_types", "variants"}) {
      INFO(key);
      REQUIRE(c.contains(key));
    }
    CHECK(c["weights"].contains("licence"));
    CHECK(c["variants"].contains("tiny"));
    for (const auto& layout : c.value("layouts", Json::array())) CHECK(layout.value("rename", Json::array()).size() <= 8);
  }
}
