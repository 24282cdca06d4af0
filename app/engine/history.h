// What a training went through, as log.jsonl tells it.
#pragma once
#include <cstdint>
#include <vector>

#include "models/model.h"

namespace zoo::app {

struct StepLog {
  int64_t step = 0;  // from 1
  double epoch = 0;  // passes over the data so far
  double loss = 0;   // mean since the line before
  double lr = 0, gradient_norm = 0, seconds = 0;
};

struct EpochLog {
  int64_t epoch = 0, step = 0;         // from 1
  double train_loss = 0, seconds = 0;  // seconds of the epoch's steps alone
  Json validation;                     // Metrics::result(), or null
};

struct TrainingHistory {
  std::vector<StepLog> steps;
  std::vector<EpochLog> epochs;
  double seconds = 0;  // all epochs with their validation
};

}  // namespace zoo::app
