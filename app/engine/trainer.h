// Trainer: carries out a recipe and leaves a checkpoint folder with its log and report.
#pragma once
#include <filesystem>

#include "app/engine/recipe.h"
#include "app/tasks/task.h"

namespace zoo::app {

struct TrainingResult {
  Json json;                    // {"out", "epochs", "steps", "seconds", "metrics", "best", ...}: the document of --json
  bool interrupted = false;     // Ctrl-C: the checkpoint is there, but the recipe was not carried out
};

// Everything is written to a folder beside `out` and renamed at the end. The checkpoint is that of the epoch with the
// best validation figure, or the last one where the recipe names no validation data: the data of the final measurement
// never chooses. Throws UsageError for a recipe that does not fit, std::runtime_error for a loss that is not a number.
TrainingResult train(const Recipe& recipe, const std::filesystem::path& out, at::Device device, bool overwrite);

}  // namespace zoo::app
