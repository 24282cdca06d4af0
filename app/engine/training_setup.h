// TrainingSetup: the network and the data of a recipe, opened and fitted to each other.
#pragma once
#include <memory>
#include <vector>

#include "app/engine/recipe.h"
#include "app/tasks/task.h"

namespace zoo::app {

struct TrainingSetup {
  const Task* task = nullptr;
  Bundle bundle;
  std::unique_ptr<Dataset> data, separate_validation, eval_data;
  std::vector<int64_t> train_indices, validation_indices;  // into data; the second empty without validation_share

  bool validates() const { return separate_validation || !validation_indices.empty(); }
  const Dataset& validation() const { return separate_validation ? *separate_validation : *data; }
  // There was no other split to measure on at the end.
  bool measures_training_data(const Recipe& recipe) const;
};

// Seeds LibTorch's generators with the recipe's seed. Throws UsageError for a recipe that does not fit its data or network.
TrainingSetup open_training(const Recipe& recipe, at::Device device);

// Fisher-Yates with a generator whose output the C++ standard fixes: the same order on every machine.
void shuffle(std::vector<int64_t>& values, uint64_t seed);

}  // namespace zoo::app
