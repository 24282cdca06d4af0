// Evaluator: a whole dataset through a network, figures exact over the set.
#pragma once
#include "app/engine/ranks.h"
#include "app/tasks/task.h"

namespace zoo::app {

struct EvaluationOptions {
  int64_t batch_size = 64;
  int workers = 1;          // loader threads
  std::string title;        // of the progress bar; empty: none
  std::span<const int64_t> subset;  // only these examples; empty: all
  const Ranks* ranks = nullptr;     // share the work; all call, all get the metrics, rank 0 alone the details
};

struct Evaluation {
  Json metrics, details;  // Metrics::result() and details()
  int64_t samples = 0;
  double seconds = 0;     // loading and the network, without opening the data
};

// Puts the network into eval mode and leaves it so. Examples are taken by Dataset::length, longest first, so that a batch
// pads little. Throws UsageError for an empty dataset.
Evaluation evaluate(const Task& task, Bundle& bundle, const Dataset& dataset, const EvaluationOptions& options = {});

}  // namespace zoo::app
