// The report of a training: one HTML file that needs nothing else, and the worst mistakes as picture files.
#pragma once
#include <filesystem>
#include <vector>

#include "app/engine/evaluator.h"
#include "app/engine/history.h"
#include "app/engine/recipe.h"

namespace zoo::app {

struct TrainingReport {
  const Recipe& recipe;
  const Bundle& bundle;
  const TrainingHistory& history;
  const Evaluation& evaluation;  // at the end, on `data`
  const Dataset& data;
  const Json& result;            // the document of `zoo train --json`
  std::string primary_metric;
};

// Writes report.html and, for data with pictures, report/mistake_NN_true-X_pred-Y.png into `folder`.
void write_training_report(const std::filesystem::path& folder, const TrainingReport& report);

}  // namespace zoo::app
