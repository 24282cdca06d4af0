// TrainingSetup: the network and the data of a recipe, opened and fitted to each other.
#pragma once
#include <filesystem>
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
// `run`: the run's folder, in which prepare_tokenizer() has put the tokenizer that the recipe names.
TrainingSetup open_training(const Recipe& recipe, at::Device device, const std::filesystem::path& run);
// Before it, in one process of several.
void prepare_tokenizer(const Recipe& recipe, const std::filesystem::path& run);

// Examples in the order in which batches of `size` take them, put in batches of about equally long ones: windows of kLengthWindow
// batches are sorted by length, then the full batches shuffled. A last batch that is not full stays the last.
constexpr int64_t kLengthWindow = 64;
void group_by_length(std::vector<int64_t>& order, const Dataset& data, int64_t size, uint64_t seed);

// Fisher-Yates with a generator whose output the C++ standard fixes: the same order on every machine.
void shuffle(std::vector<int64_t>& values, uint64_t seed);

}  // namespace zoo::app
