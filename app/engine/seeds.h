// One recipe with several seeds: how much of a figure is chance.
#pragma once
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "app/engine/trainer.h"

namespace zoo::app {

// "1,2,3" or "1-5" or both, each at most once. Throws UsageError for anything else.
std::vector<uint64_t> parse_seeds(const std::string& text);

// train() with the device bound.
using TrainOnce = std::function<TrainingResult(const Recipe& recipe, const std::filesystem::path& out, RunFolder::Start start)>;

// What the folder of such a training remembers, as out/seeds.json.
struct SeedSeries {
  Recipe recipe;  // whatever its seed
  std::vector<uint64_t> seeds;
  int processes = 1;
  static bool begun(const std::filesystem::path& out);
  static SeedSeries read(const std::filesystem::path& out);
};

// Trains in out/seed-1, out/seed-2 ... one after the other. Returns, and after every seed writes as out/summary.json,
//   {"out", "seeds": [1, 2], "finished": 2, "metrics": {"mse": {"mean", "deviation", "values": [..]}}, "runs": [{"seed", "out", ...}]}
// with the sample's standard deviation (n - 1) over the seeds that are finished. Start::resume keeps finished seeds and goes on
// with the others; Start::fresh refuses a folder that is not empty, Start::overwrite one that holds anything but such runs.
// Start::resume also refuses another recipe than the one that was begun (the differences are shown) and fewer seeds.
// A seed that fails does not lose the others: its message stands in "runs" and "failed" counts it. An interrupted one ends it.
TrainingResult train_seeds(const SeedSeries& series, const std::filesystem::path& out, RunFolder::Start start, const TrainOnce& train_once);

// One of them: a seed whose folder is there goes on, or is finished already.
TrainingResult train_seed(Recipe recipe, uint64_t seed, const std::filesystem::path& out, RunFolder::Start start, const TrainOnce& train_once);

// The figures of such a summary as a table: metric, mean, deviation, each seed.
std::string seeds_table(const Json& summary);

}  // namespace zoo::app
