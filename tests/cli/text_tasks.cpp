// Text tasks through the real program, on a checkpoint folder made here.
#include <ATen/ATen.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "models/registry.h"
#include "tests/catch.h"
#include "tests/cli/program.h"
#include "weights/fill.h"
#include "weights/safetensors.h"

namespace cli_text_tasks_tests {
namespace fs = std::filesystem;
using zoo::Json;
using zoo::test::file_text;
using zoo::test::start_and_kill;
using zoo::test::zoo_program;

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
  ~Checkpoint() {
    std::error_code ignored;
    zoo::app::remove_tree(path, ignored);
  }
  void write(const std::string& name, const std::string& text) const { std::ofstream(path / name) << text; }
  std::string net() const { return "'" + (path / "net").string() + "'"; }
  std::string file(const std::string& name) const { return "'" + (path / name).string() + "'"; }
};

TEST_CASE("the program classifies texts", "[cli]") {
  const Checkpoint checkpoint;
  const auto one =
      zoo_program("run " + checkpoint.net() + " --input 'a terrible movie !' --json --log-level error");
  REQUIRE(one.code == 0);
  CHECK(one.json().at("predictions")[0].at("label") == "neutral");
  const auto table = zoo_program("run " + checkpoint.net() + " " + checkpoint.file("good.tsv") + " --out " +
                              checkpoint.file("out.csv") + " --log-level error");
  REQUIRE(table.code == 0);
  std::ifstream written(checkpoint.path / "out.csv");
  std::string header;
  std::getline(written, header);
  CHECK(
      header ==
      "source,text,label,probability,probability of negative,probability of neutral,probability of positive");
  const auto again = zoo_program("run " + checkpoint.net() + " " + checkpoint.file("good.tsv") + " --out " +
                              checkpoint.file("out.csv"));
  CHECK(again.code == 2);
  CHECK_THAT(again.err, ContainsSubstring("--overwrite"));
}

TEST_CASE("the program evaluates text classification and names wrong labels", "[cli]") {
  const Checkpoint checkpoint;
  const auto good = zoo_program("eval " + checkpoint.net() + " --data " + checkpoint.file("good.tsv") +
                             " --json --log-level error");
  REQUIRE(good.code == 0);
  const Json document = good.json();
  CHECK(document.at("samples") == 2);
  CHECK(document.at("metrics").at("accuracy").is_number());
  const auto unknown = zoo_program("eval " + checkpoint.net() + " --data " + checkpoint.file("unknown.tsv"));
  CHECK(unknown.code == 2);
  CHECK_THAT(unknown.err, ContainsSubstring("unknown label 'negativ'") && ContainsSubstring("negative"));
}

TEST_CASE("training into other classes asks for --reinit-head", "[cli]") {
  const Checkpoint checkpoint;
  checkpoint.write("train.tsv", "a great film !\tgood\nbad movie\tbad\nterrible\tbad\nthe best film\tgood\n");
  const std::string command = "train --model " + checkpoint.net() + " --task text_classification --data " +
                              checkpoint.file("train.tsv") + " --epochs 1 --out " +
                              checkpoint.file("trained");
  const auto refused = zoo_program(command);
  CHECK(refused.code == 2);
  CHECK_THAT(refused.err, ContainsSubstring("--reinit-head"));
  CHECK_FALSE(fs::exists(checkpoint.path / "trained"));
  REQUIRE(zoo_program(command + " --reinit-head").code == 0);
  const Json config = Json::parse(std::ifstream(checkpoint.path / "trained/config.json"));
  CHECK(config.at("id2label") == Json{{"0", "bad"}, {"1", "good"}});
  const auto used =
      zoo_program("run " + checkpoint.file("trained") + " --input 'bad movie' --json --log-level error");
  REQUIRE(used.code == 0);
  CHECK(used.json().at("predictions")[0].at("probabilities").size() == 2);
}

TEST_CASE("texts that stay in their file teach the same weights, whatever the workers, and resume", "[cli][streamed]") {
  const Checkpoint checkpoint;
  const std::vector<std::string> texts{"a great film !", "\"bad\nmovie, bad\"", "the best", "terrible \"\"film"}, labels{"positive", "negative", "neutral"};
  std::string table = "sentence,label\n";
  for (size_t i = 0; i < 37; ++i) table += texts[i * 7 % 4] + "," + labels[i * 5 % 3] + (i % 9 ? "\n" : "\r\n\n");
  checkpoint.write("train.csv", table);
  const std::string how = "train --model " + checkpoint.net() + " --task text_classification --data " + checkpoint.file("train.csv") +
                          " --epochs 3 --batch-size 4 --validation-share 0.2 --json --log-level error ";
  const auto out = [&](const std::string& name) { return "--out " + checkpoint.file(name) + " "; };
  REQUIRE(zoo_program(how + out("held")).code == 0);
  const std::string left = how + "--set options.stream_above_mb=0 ";
  const auto streamed = zoo_program(left + "--workers 3 " + out("left"));
  INFO(streamed.err);
  REQUIRE(streamed.code == 0);
  const std::string weights = file_text(checkpoint.path / "held/model.safetensors");
  CHECK(file_text(checkpoint.path / "left/model.safetensors") == weights);
  CHECK(Json::parse(file_text(checkpoint.path / "left/results.json")).at("metrics") == Json::parse(file_text(checkpoint.path / "held/results.json")).at("metrics"));
  // Ended by its clock's checkpoint after the first epoch, then gone on with.
  CHECK(start_and_kill(left + "--set checkpoint.every_steps=2", checkpoint.path / "cut") >= 0);
  REQUIRE(zoo_program("train --resume " + checkpoint.file("cut")).code == 0);
  CHECK(file_text(checkpoint.path / "cut/model.safetensors") == weights);
}

// The most memory that a command had resident, in MB.
double peak_mb(const std::string& command) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
    ::_exit(127);
  }
  int status = 0;
  struct rusage usage {};
  REQUIRE(::wait4(child, &status, 0, &usage) == child);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  return static_cast<double>(usage.ru_maxrss) / 1024.0;  // of the child and of its own
}

TEST_CASE("a training on a file of 210 MB needs little more memory than one on a small file", "[cli][streamed]") {
  const Checkpoint checkpoint;
  constexpr int kRows = 210000;
  {
    std::string text;
    while (text.size() < 990) text += "a great film and a bad movie ";
    std::ofstream large(checkpoint.path / "large.csv"), small(checkpoint.path / "small.csv");
    for (auto* file : {&large, &small}) *file << "sentence,label\n";
    for (int row = 0; row < kRows; ++row) {
      const std::string line = text + (row % 2 ? ",positive\n" : ",negative\n");
      large << line;
      if (row < 100) small << line;
    }
  }
  REQUIRE(fs::file_size(checkpoint.path / "large.csv") > 200000000);
  const auto peak = [&](const std::string& data) {
    return peak_mb(ZOO_PROGRAM " train --model " + checkpoint.net() + " --task text_classification --data " + checkpoint.file(data) + " --eval-data " +
                   checkpoint.file("good.tsv") + " --max-steps 20 --batch-size 8 --overwrite --log-level error --out " + checkpoint.file("out") + " > /dev/null");
  };
  const double small = peak("small.csv"), large = peak("large.csv");
  INFO("peak with the small file " << small << " MB, with the large one " << large << " MB");
  CHECK(large - small < 40.0);
}

}  // namespace cli_text_tasks_tests
