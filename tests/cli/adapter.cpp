// Adapters with the real program: train one, use it, stack it, fold it in.
#include <random>

#include "data/image.h"
#include "tests/catch.h"
#include "tests/cli/program.h"

namespace cli_adapter_tests {
using zoo::test::has;
using zoo::test::Outcome;
using zoo::test::quoted;
using zoo::test::Scratch;
using zoo::test::zoo_program;
namespace fs = std::filesystem;

// Bright above or bright below, in noise.
void write_pictures(const Scratch& scratch) {
  std::mt19937 random(7);
  for (const auto& [split, count] : {std::pair<std::string, int>{"train", 16}, {"test", 8}}) {
    for (const std::string kind : {"above", "below"}) {
      for (int i = 0; i < count; ++i) {
        const at::Tensor picture = at::empty({16, 16, 3}, at::kByte);
        for (int64_t k = 0; k < picture.numel(); ++k) {
          const bool bright = (k < picture.numel() / 2) == (kind == "above");
          picture.data_ptr<uint8_t>()[k] = static_cast<uint8_t>(random() % 90 + (bright ? 150 : 0));
        }
        scratch.write("set/" + split + "/" + kind + "/" + std::to_string(i) + ".png", zoo::data::encode_png(picture));
      }
    }
  }
}

std::string train(const Scratch& scratch, const std::string& model, const std::string& more, const std::string& out) {
  return "train --model " + model + " --task image_classification --data " + quoted(scratch / "set") + " --batch-size 8 --lr 3e-3 " + more +
         " --json --out " + quoted(scratch / out);
}

double loss(const Scratch& scratch, const std::string& arguments) {
  const Outcome measured = zoo_program("eval " + arguments + " --data " + quoted(scratch / "set") + " --json");
  INFO(measured.err);
  REQUIRE(measured.code == 0);
  return measured.json().at("metrics").at("loss").get<double>();
}

TEST_CASE("an adapter is trained, evaluated, run, told and folded in", "[cli]") {
  NEEDS(zoo::data::image_files_supported(), "a build with OpenCV");
  const Scratch scratch;
  write_pictures(scratch);
  REQUIRE(zoo_program(train(scratch, "cct:tiny", "--epochs 1", "base")).code == 0);
  const std::string base = quoted(scratch / "base"), adapter = quoted(scratch / "adapter");
  const Outcome trained = zoo_program(train(scratch, base, "--epochs 4 --set peft.method=lora --set peft.r=4 --set peft.alpha=8 --set peft.dropout=0.1", "adapter"));
  INFO(trained.err);
  REQUIRE(trained.code == 0);
  CHECK(fs::exists(scratch / "adapter/adapter_config.json"));
  CHECK(fs::exists(scratch / "adapter/adapter_model.safetensors"));
  CHECK(!fs::exists(scratch / "adapter/model.safetensors"));

  const double alone = loss(scratch, adapter), with_base = loss(scratch, base + " --adapter " + adapter);
  CHECK(std::abs(alone - trained.json().at("metrics").at("loss").get<double>()) < 1e-5);
  CHECK(std::abs(alone - with_base) < 1e-6);
  CHECK(std::abs(alone - loss(scratch, base)) > 1e-4);
  const Outcome told = zoo_program("run " + adapter + " " + quoted(scratch / "set/test/above/0.png") + " --json");
  REQUIRE(told.code == 0);
  CHECK(told.json().at("predictions").at(0).contains("label"));

  const Outcome described = zoo_program("info " + adapter + " --json");
  REQUIRE(described.code == 0);
  CHECK(described.json().at("adapter").at("method") == "LoRA");
  CHECK(described.json().at("adapter").at("ranks") == nlohmann::json::array({4}));
  CHECK(described.json().at("load").at("strict") == true);

  CHECK(has(zoo_program("convert " + adapter + " " + quoted(scratch / "whole")).err, "--merge"));
  const Outcome merged = zoo_program("convert " + adapter + " " + quoted(scratch / "whole") + " --merge");
  INFO(merged.err);
  REQUIRE(merged.code == 0);
  CHECK(fs::exists(scratch / "whole/model.safetensors"));
  CHECK(!fs::exists(scratch / "whole/adapter_config.json"));
  CHECK(std::abs(alone - loss(scratch, quoted(scratch / "whole"))) < 1e-5);
}

TEST_CASE("remembered figures are of the adapters too", "[cli]") {
  NEEDS(zoo::data::image_files_supported(), "a build with OpenCV");
  const Scratch scratch;
  write_pictures(scratch);
  REQUIRE(zoo_program(train(scratch, "cct:tiny", "--epochs 1", "base")).code == 0);
  REQUIRE(zoo_program(train(scratch, quoted(scratch / "base"), "--epochs 1 --set peft.method=head", "adapter")).code == 0);
  const auto remembered = [&](const std::string& arguments) {
    const Outcome measured = zoo_program("eval " + quoted(scratch / "base") + arguments + " --data " + quoted(scratch / "set") + " --cache " + quoted(scratch / "cache") + " --json");
    INFO(measured.err);
    REQUIRE(measured.code == 0);
    return measured.json().at("results").at(0);
  };
  const auto alone = remembered(""), adapted = remembered(" --adapter " + quoted(scratch / "adapter"));
  CHECK(adapted.at("cached") == false);
  CHECK(adapted.at("metrics").at("loss") != alone.at("metrics").at("loss"));
  CHECK(remembered(" --adapter " + quoted(scratch / "adapter")).at("cached") == true);
}

TEST_CASE("a training of an adapter goes on where it stopped", "[cli]") {
  NEEDS(zoo::data::image_files_supported(), "a build with OpenCV");
  const Scratch scratch;
  write_pictures(scratch);
  REQUIRE(zoo_program(train(scratch, "cct:tiny", "--epochs 1", "base")).code == 0);
  const std::string settings = "--epochs 4 --set peft.method=dora --set peft.r=2 --set peft.dropout=0.2 --set checkpoint.every_steps=3 --set checkpoint.keep=0 --set checkpoint.keep_after=true";
  REQUIRE(zoo_program(train(scratch, quoted(scratch / "base"), settings, "whole")).code == 0);
  // The same run as a kill after step 9 leaves it.
  fs::create_directories(scratch / "half/checkpoints");
  fs::copy(scratch / "whole/recipe.json", scratch / "half/recipe.json");
  fs::copy(scratch / "whole/log.jsonl", scratch / "half/log.jsonl");
  fs::copy(scratch / "whole/checkpoints/step-00000009", scratch / "half/checkpoints/step-00000009", fs::copy_options::recursive);
  const Outcome resumed = zoo_program("train --resume " + quoted(scratch / "half") + " --json");
  INFO(resumed.err);
  REQUIRE(resumed.code == 0);
  CHECK(zoo::test::file_text(scratch / "half/adapter_model.safetensors") == zoo::test::file_text(scratch / "whole/adapter_model.safetensors"));
}

}  // namespace cli_adapter_tests
