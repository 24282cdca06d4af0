// Every fixture of every network, compared completely.
#include "app/resources.h"
#include "app/verify.h"
#include "models/names.h"
#include "weights/checkpoint.h"
#include "tests/catch.h"
#include "tests/models.h"
#include "weights/safetensors.h"

TEST_CASE("every fixture of the network passes, with nothing left out", "[parity]") {
  const std::filesystem::path folder = std::filesystem::path(ZOO_TEST_DIR) / "fixtures";
  for (const auto& entry : zoo::test::chosen_networks()) {
    const auto files = zoo::app::fixture_files(folder, entry.name);
    INFO(entry.name << " in " << folder);
    REQUIRE_FALSE(files.empty());
    for (const auto& file : files) {
      const auto proof = zoo::app::verify_fixture(file);
      INFO(file.filename() << ": " << zoo::join(proof.problems, "; "));
      CHECK(proof.passed);
      CHECK(proof.not_compared.empty());
      CHECK(proof.tensors > 5);
    }
  }
}

// Not int8: which kernel that is, and so how far off it may be, depends on the processor. `zoo verify --all --dtype int8` asks for it.
TEST_CASE("made ready for inference the network still gives the reference's outputs, in every precision", "[parity]") {
  const std::filesystem::path folder = std::filesystem::path(ZOO_TEST_DIR) / "fixtures";
  for (const auto& entry : zoo::test::chosen_networks()) {
    for (const auto& file : zoo::app::fixture_files(folder, entry.name)) {
      for (const std::string dtype : {"float32", "bfloat16", "float16", "int8-weights"}) {
        const auto proof = zoo::app::verify_fixture(file, {}, at::kCPU, dtype);
        INFO(file.filename() << ", " << dtype << ": " << zoo::join(proof.problems, "; "));
        CHECK(proof.passed);
        CHECK(proof.tensors > 0);
      }
    }
  }
}

TEST_CASE("a fixture that disagrees is a failed proof", "[verify]") {
  const std::filesystem::path folder = std::filesystem::path(ZOO_TEST_DIR) / "fixtures";
  const auto checkpoint = zoo::weights::Checkpoint::open(folder / "cct.safetensors");
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (const auto& info : checkpoint.tensors()) tensors.emplace_back(info.name, checkpoint.get(info.name).clone());
  const auto write = [&](const auto& changed, auto metadata) {
    const auto file = std::filesystem::temp_directory_path() / "zoo_changed_fixture.safetensors";
    zoo::weights::save_safetensors(file, changed, metadata);
    return zoo::app::verify_fixture(file);
  };
  SECTION("unchanged, it passes") { CHECK(write(tensors, checkpoint.metadata()).passed); }
  SECTION("a changed intermediate is named as the first divergence") {
    for (auto& [name, tensor] : tensors) {
      if (name == "mid.classifier.blocks.0.self_attn" || name == "out.logits") tensor.view({-1})[0] += 0.01;
    }
    const auto proof = write(tensors, checkpoint.metadata());
    CHECK_FALSE(proof.passed);
    CHECK(proof.first_divergence == "mid.classifier.blocks.0.self_attn");
  }
  SECTION("a changed output fails in every precision") {
    for (auto& [name, tensor] : tensors) {
      if (name == "out.logits") tensor.mul_(1.2);
    }
    const auto file = std::filesystem::temp_directory_path() / "zoo_changed_fixture.safetensors";
    zoo::weights::save_safetensors(file, tensors, checkpoint.metadata());
    for (const std::string dtype : {"float32", "bfloat16", "float16", "int8", "int8-weights"}) CHECK_FALSE(zoo::app::verify_fixture(file, {}, at::kCPU, dtype).passed);
  }
  SECTION("a changed gradient fails") {
    for (auto& [name, tensor] : tensors) {
      if (name == "grad.classifier.fc.weight") tensor.mul_(1.01);
    }
    CHECK_FALSE(write(tensors, checkpoint.metadata()).passed);
  }
  SECTION("a loss of no known form fails") {
    for (auto& [name, tensor] : tensors) {
      if (name == "loss") tensor.mul_(1.01);
    }
    CHECK_FALSE(write(tensors, checkpoint.metadata()).passed);
  }
  SECTION("another seed fails") {
    auto metadata = checkpoint.metadata();
    metadata["seed"] = "1";
    CHECK_FALSE(write(tensors, metadata).passed);
  }
  SECTION("another parameter count, key or shape fails") {
    auto metadata = checkpoint.metadata();
    metadata["parameters"] = "1";
    CHECK_FALSE(write(tensors, metadata).passed);
    metadata = checkpoint.metadata();
    auto keys = zoo::Json::parse(metadata["keys"]);
    keys["classifier.fc.bias"] = {6};
    metadata["keys"] = keys.dump();
    CHECK_FALSE(write(tensors, metadata).passed);
    keys.erase("classifier.fc.bias");
    metadata["keys"] = keys.dump();
    CHECK_FALSE(write(tensors, metadata).passed);
  }
  SECTION("metadata that is not a fixture's is a failure, not a crash") {
    CHECK_FALSE(write(tensors, std::map<std::string, std::string>{{"model", "cct"}}).passed);
    auto metadata = checkpoint.metadata();
    metadata["seed"] = "many";
    CHECK_FALSE(write(tensors, metadata).passed);
    metadata = checkpoint.metadata();
    metadata["keys"] = "{\"classifier.fc.bias\": \"five\"}";
    CHECK_FALSE(write(tensors, metadata).passed);
  }
}
