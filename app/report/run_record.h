// RunRecord: a training's folder read back, finished or not (docs/training.md describes log.jsonl).
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "app/engine/history.h"

namespace zoo::app {

struct RunRecord {
  std::string name;           // as the user typed it, or FOLDER/seed-N
  Json recipe;                // recipe.json
  Json results;               // results.json, or null while the run is not finished
  Json metrics;               // at the end; null while there are none
  TrainingHistory history;
  int64_t steps = 0;
  double seconds = 0;
  std::filesystem::file_time_type written;  // its log, last
  bool finished() const { return !results.is_null(); }
};

// Throws UsageError where no training was begun, std::runtime_error for files that cannot be understood. The last line of a
// log may be torn (the run is being written, or was killed); other lines that are no records are left out with a warning.
RunRecord read_run(const std::filesystem::path& folder);

// Every folder's run; a folder without recipe.json but with seed-* folders (zoo train --seeds) stands for the runs in them.
std::vector<RunRecord> read_runs(const std::vector<std::string>& folders);

}  // namespace zoo::app
