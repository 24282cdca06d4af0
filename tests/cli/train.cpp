// zoo train, eval and run on pictures, with the real program.
#include <ATen/ATen.h>
#include <random>

#include "data/image.h"
#include "tests/catch.h"
#include "tests/cli/program.h"
#include "weights/checkpoint.h"

namespace cli_train_tests {
using zoo::test::has;
using zoo::test::Outcome;
using zoo::test::quoted;
using zoo::test::Scratch;
using zoo::test::zoo_program;
namespace fs = std::filesystem;

// Bright above or bright below, in noise; 20 pictures of each in train, 8 in test.
void write_set(const Scratch& scratch, const std::string& name = "set") {
  std::mt19937 random(7);
  for (const auto& [split, count] : {std::pair<std::string, int>{"train", 20}, {"test", 8}}) {
    for (const std::string kind : {"above", "below"}) {
      for (int i = 0; i < count; ++i) {
        const at::Tensor picture = at::empty({16, 16, 3}, at::kByte);
        for (int64_t k = 0; k < picture.numel(); ++k) {
          const bool bright = (k < picture.numel() / 2) == (kind == "above");
          picture.data_ptr<uint8_t>()[k] = static_cast<uint8_t>(random() % 90 + (bright ? 150 : 0));
        }
        scratch.write(name + "/" + split + "/" + kind + "/" + std::to_string(i) + ".png", zoo::data::encode_png(picture));
      }
    }
  }
}

TEST_CASE("train by flags, then eval and run the folder", "[cli]") {
  NEEDS(zoo::data::image_files_supported(), "a build with OpenCV");
  const Scratch scratch;
  write_set(scratch);
  const auto set = quoted(scratch / "set"), out = quoted(scratch / "out");
  const Outcome trained = zoo_program("train --model cct:tiny --task image_classification --data " + set + " --epochs 6 --batch-size 8 --lr 3e-3 --seed 1 --json --out " + out);
  INFO(trained.err);
  REQUIRE(trained.code == 0);
  const auto document = trained.json();
  CHECK(document.at("steps") == 30);
  CHECK(document.at("metrics").at("accuracy").get<double>() > 0.9);
  CHECK(has(trained.err, "epoch 6"));

  const Outcome measured = zoo_program("eval " + out + " --task image_classification --data " + set + " --json");
  REQUIRE(measured.code == 0);
  CHECK(measured.json().at("metrics").at("accuracy") == document.at("metrics").at("accuracy"));
  CHECK(measured.json().at("samples") == 16);

  const Outcome told = zoo_program("run " + out + " " + quoted(scratch / "set/test/above/0.png") + " --json");
  REQUIRE(told.code == 0);
  CHECK(told.json().at("predictions").at(0).at("label") == "above");
  const Outcome listed = zoo_program("run " + out + " - --top-k 1 --format csv", "find " + quoted(scratch / "set/test/below") + " -name '*.png' | ");
  REQUIRE(listed.code == 0);
  CHECK(has(listed.out, "file,rank,label,probability"));
  CHECK(std::count(listed.out.begin(), listed.out.end(), '\n') == 9);

  const Outcome refused = zoo_program("train --model cct:tiny --task image_classification --data " + set + " --epochs 1 --out " + out);
  CHECK(refused.code == 2);
  CHECK(has(refused.err, "is not empty"));
  CHECK(zoo_program("train --model cct:tiny --task image_classification --data " + set + " --epochs 1 --overwrite --out " + out).code == 0);
}

TEST_CASE("batch norms: statistics are saved, move where the weights are frozen, and are not averaged", "[cli]") {
  NEEDS(zoo::data::image_files_supported(), "a build with OpenCV");
  const Scratch scratch;
  write_set(scratch);
  const std::string command = "train --model resnet:tiny --task image_classification --data " + quoted(scratch / "set") +
                              " --set preprocess.size=32 --batch-size 8 --lr 1e-2 --seed 1 --json --out " + quoted(scratch / "out") + " ";
  const Outcome trained = zoo_program(command + "--epochs 4 --set ema.decay=0.9");
  INFO(trained.err);
  REQUIRE(trained.code == 0);
  CHECK(trained.json().at("metrics").at("accuracy").get<double>() > 0.9);
  const std::string norm = "resnet.embedder.embedder.normalization.", convolution = "resnet.embedder.embedder.convolution.weight";
  const auto first = zoo::weights::Checkpoint::open(scratch / "out");
  CHECK(first.get(norm + "num_batches_tracked").item<int64_t>() > 0);
  CHECK(first.get(norm + "running_mean").abs().sum().item<double>() > 0);
  // Folded into the convolutions for inference, the network is what it was.
  for (const std::string dtype : {"float32", "bfloat16", "int8"}) {
    const Outcome measured = zoo_program("eval " + quoted(scratch / "out") + " --data " + quoted(scratch / "set") + " --json --dtype " + dtype);
    REQUIRE(measured.code == 0);
    CHECK(measured.json().at("metrics").at("loss").get<double>() ==
          Approx(trained.json().at("metrics").at("loss").get<double>()).margin(dtype == "float32" ? 1e-4 : 3e-2));
  }

  const Outcome tuned = zoo_program("train --model " + quoted(scratch / "out") + " --task image_classification --data " + quoted(scratch / "set") +
                                    R"( --set 'optimizer.groups=[{"pattern": "^resnet", "frozen": true}]' --epochs 2 --batch-size 8 --lr 1e-2 --json --out )" + quoted(scratch / "tuned"));
  INFO(tuned.err);
  REQUIRE(tuned.code == 0);
  const auto second = zoo::weights::Checkpoint::open(scratch / "tuned");
  CHECK(at::equal(first.get(convolution), second.get(convolution)));
  CHECK_FALSE(at::equal(first.get("classifier.1.weight"), second.get("classifier.1.weight")));
  CHECK(second.get(norm + "num_batches_tracked").item<int64_t>() > first.get(norm + "num_batches_tracked").item<int64_t>());
  CHECK_FALSE(at::equal(first.get(norm + "running_var"), second.get(norm + "running_var")));
}

TEST_CASE("mistakes before training: message, code 2, nothing written", "[cli]") {
  const Scratch scratch;
  scratch.write("recipe.json", R"({"model": "cct:tiny", "task": "image_classification", "data": "/nowhere", "epcohs": 3})");
  scratch.write("broken.json", "{");
  const auto says = [&](const std::string& arguments, const std::string& part) {
    const Outcome outcome = zoo_program("train " + arguments + " --out " + quoted(scratch / "out"));
    INFO(arguments << "\n" << outcome.err);
    CHECK(outcome.code == 2);
    CHECK(has(outcome.err, part));
  };
  says(quoted(scratch / "recipe.json"), "unknown key 'epcohs'; nearest: epochs");
  says(quoted(scratch / "broken.json"), "not valid JSON");
  says("--model cct:tiny --data x", "'task' is missing");
  says("--model cct:tiny --task image_clasification --data x", "nearest: image_classification");
  says("--model cct:tiny --task image_classification --data /nowhere", "/nowhere: no such folder");
  says("--model cct:tiny --task image_classification --data /nowhere --epochs many", "'epochs' is \"many\"");
  CHECK_FALSE(fs::exists(scratch / "out"));
  CHECK(zoo_program("train --model cct:tiny --task image_classification --data x").code == 2);
}

TEST_CASE("files that are no pictures are named", "[cli]") {
  NEEDS(zoo::data::image_files_supported(), "a build with OpenCV");
  const Scratch scratch;
  write_set(scratch);
  scratch.write("set/test/above/0.png", "a text");
  const std::string set = quoted(scratch / "set");
  const Outcome stopped = zoo_program("train --model cct:tiny --task image_classification --data " + set + " --epochs 1 --out " + quoted(scratch / "out"));
  CHECK(stopped.code == 1);
  CHECK(has(stopped.err, "above/0.png"));
  const Outcome skipped = zoo_program("train --model cct:tiny --task image_classification --data " + set + " --epochs 1 --set options.skip_bad=true --json --out " + quoted(scratch / "skipping"));
  INFO(skipped.err);
  REQUIRE(skipped.code == 0);
  CHECK(skipped.json().at("samples") == 15);
  CHECK(has(skipped.err, "skipped"));
}

TEST_CASE("Ctrl-C saves, says how to go on, and exits with 1", "[cli]") {
  NEEDS(zoo::data::image_files_supported(), "a build with OpenCV");
  const Scratch scratch;
  write_set(scratch);
  const std::string out = quoted(scratch / "out");
  const Outcome stopped = zoo_program("train --model cct:tiny --task image_classification --data " + quoted(scratch / "set") + " --epochs 100000 --out " + out,
                                      "timeout --preserve-status -s INT 4 ");
  INFO(stopped.err);
  CHECK(stopped.code == 1);
  CHECK(has(stopped.err, "interrupted after step"));
  CHECK(has(stopped.err, "zoo train --resume " + (scratch / "out").string()));
  CHECK(fs::exists(scratch / "out/model.safetensors"));
  CHECK(fs::exists(scratch / "out/checkpoints"));
  const Outcome again = zoo_program("train --model cct:tiny --task image_classification --data " + quoted(scratch / "set") + " --epochs 7 --out " + out);
  CHECK(again.code == 2);
  CHECK(has(again.err, "--resume"));
  const Outcome other = zoo_program("train --resume " + out + " --set epochs=7");
  CHECK(other.code == 2);
  CHECK(has(other.err, "epochs: 100000 -> 7"));
}

TEST_CASE("a checkpoint that finds no room leaves the one before it whole, from which the run goes on", "[cli]") {
  NEEDS(zoo::data::image_files_supported(), "a build with OpenCV");
  const Scratch scratch;
  write_set(scratch);
  const std::string how = "train --model cct:tiny --task image_classification --data " + quoted(scratch / "set") + " --epochs 3 --batch-size 8 --seed 4 "
                          "--set checkpoint.every_steps=4 --set checkpoint.keep=0 --set checkpoint.keep_after=true --out ";
  const Outcome whole = zoo_program(how + quoted(scratch / "whole"));
  INFO(whole.err);
  REQUIRE(whole.code == 0);
  // As a kill after step 4 leaves it.
  fs::create_directories(scratch / "half/checkpoints");
  for (const char* name : {"recipe.json", "log.jsonl"}) fs::copy((scratch / "whole") / name, (scratch / "half") / name);
  fs::copy(scratch / "whole/checkpoints/step-00000004", scratch / "half/checkpoints/step-00000004", fs::copy_options::recursive);
  const std::string resume = "train --resume " + quoted(scratch / "half");
  // As on a full disk: the network has room, its optimizer's state, twice as large, has none (the shell counts in 512 bytes).
  const auto bytes = fs::file_size(scratch / "whole/model.safetensors");
  REQUIRE(fs::file_size(scratch / "whole/checkpoints/step-00000004/training_state.safetensors") > bytes * 3 / 2);
  const Outcome full = zoo_program(resume, "ulimit -f " + std::to_string(bytes * 3 / 2 / 512) + ";");
  INFO(full.err);
  CHECK(full.code == 1);
  CHECK(has(full.err, "training_state.safetensors"));
  CHECK(has(full.err, "checkpoints/step-00000004 is whole"));
  CHECK(has(full.err, "zoo train --resume " + (scratch / "half").string()));
  std::vector<std::string> left;
  for (const auto& item : fs::directory_iterator(scratch / "half/checkpoints")) left.push_back(item.path().filename().string());
  CHECK(left == std::vector<std::string>{"step-00000004"});
  REQUIRE(zoo_program(resume).code == 0);
  CHECK(zoo::test::file_text(scratch / "half/model.safetensors") == zoo::test::file_text(scratch / "whole/model.safetensors"));
}

TEST_CASE("resume without a run to resume", "[cli]") {
  const Scratch scratch;
  const Outcome nothing = zoo_program("train --resume " + quoted(scratch / "absent"));
  CHECK(nothing.code == 2);
  CHECK(has(nothing.err, "no training was begun there"));
  CHECK_FALSE(fs::exists(scratch / "absent"));
  CHECK(zoo_program("train --resume a --out b --model cct:tiny --task image_classification --data x").code == 2);
}

}  // namespace cli_train_tests
