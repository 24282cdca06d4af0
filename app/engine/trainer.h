// Trainer: carries out a recipe and leaves a checkpoint folder with its log and report.
#pragma once
#include <filesystem>

#include "app/engine/ranks.h"
#include "app/engine/recipe.h"
#include "app/engine/run_folder.h"
#include "app/tasks/task.h"

namespace zoo::app {

struct TrainingResult {
  Json json;                    // {"out", "epochs", "steps", "seconds", "metrics", "best", ...}: the document of --json
  bool interrupted = false;     // Ctrl-C: a checkpoint is there, but the recipe was not carried out
};

// Writes to `out` while it runs (app/engine/run_folder.h says what). The checkpoint is that of the epoch with the best
// validation figure, or the last one where the recipe names no validation data: the data of the final measurement never
// chooses. Start::resume goes on from the newest of out/checkpoints/: on the CPU, with as many threads, to the same weights bit
// for bit as without the interruption. Throws UsageError for a recipe that does not fit, or is not the one that was begun;
// std::runtime_error for a loss that is not a number.
// With several ranks all call this; each takes recipe.batch_size examples a step, and `out` lies where all can read it. Rank 0
// alone writes and talks. Throws RankFailure when another one died.
TrainingResult train(const Recipe& recipe, const std::filesystem::path& out, at::Device device, RunFolder::Start start,
                     const Ranks& ranks = Ranks());

// "epochs: 10 -> 20", a line for each key in which the recipe differs from the one that was begun, apart from keys that change nothing
// of the result (loader threads, time limit, when to save).
std::vector<std::string> recipe_differences(const Recipe& begun, const Recipe& recipe);
// Throws UsageError that shows them when a training was begun in `out` by another recipe.
void require_begun_recipe(const Recipe& recipe, const std::filesystem::path& out);

}  // namespace zoo::app
