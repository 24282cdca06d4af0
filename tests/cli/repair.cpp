// Program repair through the real program: a small T5 with starting values, which writes nothing of use; deleting the faulty line,
// which is always tried, repairs one of the two bugs.
#include "models/registry.h"
#include "tests/catch.h"
#include "tests/cli/program.h"
#include "weights/safetensors.h"

namespace cli_repair_tests {
using zoo::Json;
using zoo::test::file_text;
using zoo::test::Scratch;
using zoo::test::zoo_program;

struct Workshop : Scratch {
  Workshop() {
    const Json reference = Json::parse(file_text(ZOO_TEST_DIR "/fixtures/files/seq2seq.json"));
    const Json& files = reference.at("networks").at("t5").at("files");
    for (const auto& [file, content] : files.items()) write("net/" + file, content.dump());
    at::manual_seed(3);
    const auto model = zoo::make_from_config(files.at("config.json"));
    model->init_weights();
    zoo::weights::NamedTensors tensors;
    std::set<const void*> seen;
    for (const auto& item : model->named_parameters())
      if (seen.insert(item.value().data_ptr()).second) tensors.emplace_back(item.key(), item.value().detach());
    zoo::weights::save_safetensors(path() / "net/model.safetensors", tensors);
    write("buggy/double.py", "def double(n):\n    n = n + 1\n    return 2 * n\n");
    write("correct/double.py", "def double(n):\n    return 2 * n\n");
    write("buggy/half.py", "def half(n):\n    return n\n");
    write("correct/half.py", "def half(n):\n    return n // 2\n");
    write("cases/double.json", "[[1], 2]\n[[4], 8]\n");
    write("cases/half.json", "[[2], 1]\n");
    write("pairs/train.csv", "rem,add,context\nreturn n,return n // 2,def half(n): return n\nx = 1,,def f(): x = 1\n");
  }
  std::string at(const std::string& name) const { return "'" + (path() / name).string() + "'"; }
};

TEST_CASE("zoo run --task repair writes, joins and tries patches", "[cli][repair]") {
  const Workshop shop;
  const bool python = std::system("python3 -c pass > /dev/null 2>&1") == 0;
  const std::string folders = " --option buggy=" + shop.at("buggy") + " --option correct=" + shop.at("correct");
  const auto outcome = zoo_program("run " + shop.at("net") + " --task repair" + folders + (python ? " --option tests=" + shop.at("cases") : "") +
                                   " --num-beams 3 --max-new-tokens 6 --out " + shop.at("repaired.json") + " --json --log-level error");
  INFO(outcome.err);
  REQUIRE(outcome.code == 0);
  const Json document = outcome.json();
  CHECK(document.at("figures").at("bugs") == 2);
  const Json& twice = document.at("bugs")[0];
  CHECK(twice.at("id") == "double");
  CHECK(twice.at("hunks")[0].at("removed") == "    n = n + 1\n");
  CHECK(twice.at("hunks")[0].at("candidates")[0].at("patch") == "");
  CHECK(twice.at("hunks")[0].at("candidates")[0].at("exact_match") == true);
  CHECK(nlohmann::json::parse(file_text(shop.path() / "repaired.json")) == outcome.json());
  NEEDS(python, "Python");
  CHECK(document.at("figures").at("tried") == 2);
  CHECK(document.at("figures").at("plausible") == 1);
  CHECK(twice.at("repaired") == "def double(n):\n    return 2 * n\n");
  CHECK(document.at("bugs")[1].at("plausible") == false);
  CHECK(document.at("sandbox").at("network_cut").is_boolean());
}

TEST_CASE("repair learns from rows of what went and what came", "[cli][repair]") {
  const Workshop shop;
  const auto trained = zoo_program("train --task repair --model " + shop.at("net") + " --data " + shop.at("pairs") + " --out " + shop.at("out") + " --epochs 2 --log-level error");
  INFO(trained.err);
  REQUIRE(trained.code == 0);
  const auto measured = zoo_program("eval " + shop.at("out") + " --task repair --data " + shop.at("pairs/train.csv") + " --metrics exact_match --json --log-level error");
  INFO(measured.err);
  REQUIRE(measured.code == 0);
  CHECK(measured.json().at("metrics").at("samples") == 1);  // nothing to write: left out
  CHECK(measured.json().at("metrics").contains("exact_match"));
}

TEST_CASE("repair says what it lacks", "[cli][repair]") {
  const Workshop shop;
  const std::string run = "run " + shop.at("net") + " --task repair";
  for (const auto& [arguments, part] : std::vector<std::pair<std::string, std::string>>{{"", "buggy=DIR"}, {" --option tests=" + shop.at("cases"), "buggy"},
                                                                                        {" " + shop.at("pairs/train.csv"), "JSON"}, {" --option least_cosine=7", "least_cosine"}}) {
    const auto outcome = zoo_program(run + arguments);
    CHECK(outcome.code != 0);
    CHECK_THAT(outcome.err, ContainsSubstring(part));
  }
}

}  // namespace cli_repair_tests
