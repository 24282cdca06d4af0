// kill -9 at random moments, also in the middle of saving: the resumed run ends with the very same weights.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ATen/ATen.h>
#include <csignal>
#include <cstdlib>
#include <random>

#include "data/image.h"
#include "tests/catch.h"
#include "tests/cli/program.h"

namespace cli_kill_tests {
using zoo::test::file_text;
using zoo::test::has;
using zoo::test::Scratch;
namespace fs = std::filesystem;

void write_pictures(const Scratch& scratch) {
  std::mt19937 random(11);
  for (const std::string split : {"train", "test"}) {
    for (int i = 0; i < 22; ++i) {
      const at::Tensor picture = at::empty({16, 16, 3}, at::kByte);
      for (int64_t k = 0; k < picture.numel(); ++k) picture.data_ptr<uint8_t>()[k] = static_cast<uint8_t>(random() % 90 + ((k < 384) == (i % 2 == 0) ? 150 : 0));
      scratch.write("set/" + split + "/" + (i % 2 ? "a/" : "b/") + std::to_string(i) + ".png", zoo::data::encode_png(picture));
    }
  }
}

// Dropout, shuffling, augmentation, accumulation with an uneven rest, a schedule, a best checkpoint; a save at every step.
constexpr const char* kRecipe = R"({
  "model": "vit:tiny", "task": "image_classification", "data": "DATA", "augment": {"flip": true},
  "config": {"image_size": 16, "patch_size": 4, "hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.1},
  "validation_share": 0.2, "epochs": 12, "batch_size": 4, "accumulate": 2, "optimizer": {"name": "adamw", "lr": 1e-3},
  "schedule": {"name": "cosine", "warmup_share": 0.2}, "clip_norm": 1.0, "checkpoint": {"every_steps": 1, "keep": 2}, "seed": 5
})";

pid_t start(const std::vector<std::string>& arguments, const fs::path& log) {
  const pid_t child = fork();
  if (child != 0) return child;
  const int file = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  dup2(file, 1), dup2(file, 2);
  unsetenv("ZOO_DATA"), unsetenv("ZOO_MODEL");
  std::vector<char*> list;
  for (const auto& argument : arguments) list.push_back(const_cast<char*>(argument.c_str()));
  list.push_back(nullptr);
  execv(list[0], list.data());
  _exit(127);
}

bool ended_well(pid_t child) {
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool has_unfinished_save(const fs::path& folder) {
  std::error_code ignored;
  for (fs::recursive_directory_iterator item(folder, ignored), end; item != end; item.increment(ignored)) {
    const std::string name = item->path().filename().string();
    if (has(name, ".partial") || has(name, ".tmp.")) return true;
  }
  return false;
}

TEST_CASE("fifty kills change nothing of the weights", "[cli][kill]") {
  NEEDS(zoo::data::image_files_supported(), "a build with OpenCV");
  const Scratch scratch;
  write_pictures(scratch);
  std::string recipe = kRecipe;
  recipe.replace(recipe.find("DATA"), 4, (scratch / "set").string());
  const auto file = scratch.write("recipe.json", recipe).string();
  const auto log = scratch / "log";
  const auto command = [&](const std::string& out) {
    return std::vector<std::string>{ZOO_PROGRAM, "train", file, "--threads", "2", "--resume", (scratch / out).string()};
  };
  REQUIRE(ended_well(start(command("whole"), log)));
  const std::string expected = file_text(scratch / "whole/model.safetensors");
  REQUIRE(expected.size() > 1000);

  std::mt19937 random(3);
  int kills = 0, cut_saves = 0, runs = 0;
  while (kills < 50) {
    const std::string name = "run" + std::to_string(runs++);
    const fs::path out = scratch / name;
    bool finished = false;
    while (!finished && kills < 50) {
      const pid_t child = start(command(name), log);
      // From the moment that the run's folder is there: loading LibTorch would take most of the chances.
      for (int waited = 0; waited < 4000 && !fs::exists(out / "recipe.json"); ++waited) usleep(1000);
      usleep(static_cast<useconds_t>(random() % 700'000));
      finished = waitpid(child, nullptr, WNOHANG) == child;
      if (finished) break;
      kill(child, SIGKILL);
      waitpid(child, nullptr, 0);
      ++kills;
      cut_saves += has_unfinished_save(out);
    }
    if (!finished) REQUIRE(ended_well(start(command(name), log)));
    INFO(file_text(log));
    REQUIRE(fs::exists(out / "results.json"));
    CHECK(file_text(out / "model.safetensors") == expected);
    CHECK_FALSE(has_unfinished_save(out));
  }
  WARN(kills << " kills in " << runs << " runs, " << cut_saves << " of them in the middle of saving; all weights equal");
  CHECK(cut_saves > 0);
}

}  // namespace cli_kill_tests
