// Text tasks through the real program, on a checkpoint folder made here.
#include <ATen/ATen.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "models/registry.h"
#include "tests/catch.h"
#include "weights/fill.h"
#include "weights/safetensors.h"

namespace cli_text_tasks_tests {
namespace fs = std::filesystem;
using zoo::Json;

struct Outcome {
  int code;
  std::string out;  // standard output and, after it, standard error
};

Outcome zoo_says(const std::string& arguments) {
  FILE* pipe = ::popen(("'" ZOO_PROGRAM "' " + arguments + " 2>&1").c_str(), "r");
  REQUIRE(pipe != nullptr);
  std::string out;
  for (int c; (c = std::fgetc(pipe)) != EOF;) out.push_back(static_cast<char>(c));
  const int status = ::pclose(pipe);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, out};
}

struct Checkpoint {
  fs::path path = fs::temp_directory_path() / ("zoo_cli_text_" + std::to_string(::getpid()));
  Checkpoint() {
    const Json reference =
        Json::parse(std::ifstream(std::string(ZOO_TEST_DIR) + "/fixtures/files/text_tasks.json"));
    const Json& described = reference.at("text_classification");
    fs::create_directories(path / "net");
    std::ofstream(path / "net/config.json") << described.at("config").dump();
    std::ofstream vocabulary(path / "net/vocab.txt");
    for (const auto& token : reference.at("vocabulary")) vocabulary << token.get<std::string>() << "\n";
    const auto model = zoo::make_from_config(described.at("config"));
    zoo::weights::fill_module(*model, described.at("seed").get<int64_t>());
    zoo::weights::NamedTensors tensors;
    for (const auto& item : model->named_parameters())
      tensors.emplace_back(item.key(), item.value().detach());
    zoo::weights::save_safetensors(path / "net/model.safetensors", tensors);
    write("good.tsv", "sentence\tlabel\na great film !\tpositive\nbad movie\tnegative\n");
    write("unknown.tsv", "sentence\tlabel\nbad movie\tnegativ\n");
  }
  ~Checkpoint() { fs::remove_all(path); }
  void write(const std::string& name, const std::string& text) const { std::ofstream(path / name) << text; }
  std::string net() const { return "'" + (path / "net").string() + "'"; }
  std::string file(const std::string& name) const { return "'" + (path / name).string() + "'"; }
};

TEST_CASE("the program classifies texts", "[cli]") {
  const Checkpoint checkpoint;
  const auto one =
      zoo_says("run " + checkpoint.net() + " --input 'a terrible movie !' --json --log-level error");
  REQUIRE(one.code == 0);
  CHECK(Json::parse(one.out).at("predictions")[0].at("label") == "neutral");
  const auto table = zoo_says("run " + checkpoint.net() + " " + checkpoint.file("good.tsv") + " --out " +
                              checkpoint.file("out.csv") + " --log-level error");
  REQUIRE(table.code == 0);
  std::ifstream written(checkpoint.path / "out.csv");
  std::string header;
  std::getline(written, header);
  CHECK(
      header ==
      "source,text,label,probability,probability of negative,probability of neutral,probability of positive");
  const auto again = zoo_says("run " + checkpoint.net() + " " + checkpoint.file("good.tsv") + " --out " +
                              checkpoint.file("out.csv"));
  CHECK(again.code == 2);
  CHECK_THAT(again.out, ContainsSubstring("--overwrite"));
}

TEST_CASE("the program evaluates text classification and names wrong labels", "[cli]") {
  const Checkpoint checkpoint;
  const auto good = zoo_says("eval " + checkpoint.net() + " --data " + checkpoint.file("good.tsv") +
                             " --json --log-level error 2>/dev/null");
  REQUIRE(good.code == 0);
  const Json document = Json::parse(good.out.substr(good.out.find("{")));
  CHECK(document.at("samples") == 2);
  CHECK(document.at("metrics").at("accuracy").is_number());
  const auto unknown = zoo_says("eval " + checkpoint.net() + " --data " + checkpoint.file("unknown.tsv"));
  CHECK(unknown.code == 2);
  CHECK_THAT(unknown.out, ContainsSubstring("unknown label 'negativ'") && ContainsSubstring("negative"));
}

TEST_CASE("training into other classes asks for --reinit-head", "[cli]") {
  const Checkpoint checkpoint;
  checkpoint.write("train.tsv", "a great film !\tgood\nbad movie\tbad\nterrible\tbad\nthe best film\tgood\n");
  const std::string command = "train --model " + checkpoint.net() + " --task text_classification --data " +
                              checkpoint.file("train.tsv") + " --epochs 1 --out " +
                              checkpoint.file("trained");
  const auto refused = zoo_says(command);
  CHECK(refused.code == 2);
  CHECK_THAT(refused.out, ContainsSubstring("--reinit-head"));
  CHECK_FALSE(fs::exists(checkpoint.path / "trained"));
  REQUIRE(zoo_says(command + " --reinit-head").code == 0);
  const Json config = Json::parse(std::ifstream(checkpoint.path / "trained/config.json"));
  CHECK(config.at("id2label") == Json{{"0", "bad"}, {"1", "good"}});
  const auto used =
      zoo_says("run " + checkpoint.file("trained") + " --input 'bad movie' --json --log-level error");
  REQUIRE(used.code == 0);
  CHECK(Json::parse(used.out).at("predictions")[0].at("probabilities").size() == 2);
}

}  // namespace cli_text_tasks_tests
