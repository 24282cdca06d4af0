#include "app/bundle.h"
#include "tests/catch.h"
#include "tests/cli/program.h"

namespace zoo::test::convert_verb {

// A small checkpoint as `zoo train` would leave it.
std::filesystem::path make_checkpoint(const Scratch& scratch, const std::string& spec = "cct:tiny") {
  at::manual_seed(3);
  app::BundleOptions options;
  options.for_training = true;
  const auto bundle = app::load_bundle(spec, at::kCPU, options);
  app::save_bundle(bundle, scratch / "in");
  scratch.write("in/notes.txt", "kept");
  return scratch / "in";
}

TEST_CASE("convert: sharding and merging give the same file back", "[cli]") {
  const Scratch scratch;
  const auto in = make_checkpoint(scratch);
  REQUIRE(zoo_program("convert " + in.string() + " " + (scratch / "shards").string() + " --max-shard-size 20KB").code == 0);
  CHECK(std::filesystem::exists(scratch / "shards/model.safetensors.index.json"));
  CHECK(file_text(scratch / "shards/notes.txt") == "kept");
  const auto merged = zoo_program("convert " + (scratch / "shards").string() + " " + (scratch / "merged").string() + " --merge --json");
  REQUIRE(merged.code == 0);
  CHECK(merged.json().at("files").size() == 1);
  CHECK(file_text(scratch / "merged/model.safetensors") == file_text(in / "model.safetensors"));
  CHECK(file_text(scratch / "merged/config.json") == file_text(in / "config.json"));
}

TEST_CASE("convert: dtype casts the weights and says so in the config", "[cli]") {
  const Scratch scratch;
  const auto in = make_checkpoint(scratch);
  REQUIRE(zoo_program("convert " + in.string() + " " + (scratch / "half").string() + " --dtype bfloat16").code == 0);
  CHECK(nlohmann::json::parse(file_text(scratch / "half/config.json")).at("dtype") == "bfloat16");
  const auto document = zoo_program("info --json " + (scratch / "half").string()).json();
  CHECK(document.at("load").at("strict") == true);
  for (const auto& tensor : document.at("tensors")) CHECK(tensor.at("dtype") == "BF16");
}

TEST_CASE("convert: a foreign layout by its declared table", "[cli]") {
  const Scratch scratch;
  make_checkpoint(scratch);
  // The same tensors under the names that a DataParallel wrapper gives them.
  const auto checkpoint = weights::Checkpoint::open(scratch / "in");
  weights::NamedTensors wrapped;
  for (const auto& info : checkpoint.tensors()) wrapped.emplace_back("module." + info.name, checkpoint.get(info.name));
  weights::save_safetensors(scratch / "wrapped.safetensors", wrapped);
  const std::string from = (scratch / "wrapped.safetensors").string(), to = (scratch / "plain.safetensors").string();
  const auto outcome = zoo_program("convert " + from + " " + to + " --architecture cct --json");
  REQUIRE(outcome.code == 0);
  CHECK(outcome.json().at("layout") == "DataParallel");
  CHECK(weights::Checkpoint::open(to).contains(checkpoint.tensors().front().name));
  const auto wrong = zoo_program("convert " + from + " " + to + " --architecture cct --layout DataParalel --overwrite");
  CHECK(wrong.code == 2);
  CHECK(has(wrong.err, "nearest: DataParallel"));
}

TEST_CASE("convert refuses what would overwrite or make no sense", "[cli]") {
  const Scratch scratch;
  const auto in = make_checkpoint(scratch);
  const auto taken = scratch.write("taken/file", "precious");
  struct Mistake {
    std::string arguments;
    int code;
    std::string hint;
  };
  const std::string file = (in / "model.safetensors").string(), folder = in.string();
  for (const auto& mistake : {Mistake{folder + " " + (scratch / "taken").string(), 2, "--overwrite"},
                              Mistake{file + " " + (scratch / "x.bin").string(), 2, "only safetensors"},
                              Mistake{file + " " + (scratch / "x").string(), 2, ".safetensors"},
                              Mistake{folder + " " + (scratch / "x").string() + " --dtype int8", 2, "expected float32"},
                              Mistake{folder + " " + (scratch / "x").string() + " --max-shard-size lots", 2, "expected a size"},
                              Mistake{folder + " " + (scratch / "x").string() + " --merge --max-shard-size 1GB", 2, "exclude"},
                              Mistake{(scratch / "absent").string() + " " + (scratch / "x").string(), 2, "does not exist"},
                              Mistake{taken.parent_path().string() + " " + (scratch / "x").string(), 1, "taken"}}) {
    INFO(mistake.arguments);
    const auto outcome = zoo_program("convert " + mistake.arguments);
    CHECK(outcome.code == mistake.code);
    CHECK(has(outcome.err, mistake.hint));
    CHECK(!std::filesystem::exists(scratch / "x"));
  }
  CHECK(file_text(taken) == "precious");
}

}  // namespace zoo::test::convert_verb
