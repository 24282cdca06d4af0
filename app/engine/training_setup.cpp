#include "app/engine/training_setup.h"

#include <cmath>
#include <numeric>
#include <random>

#include "app/cli.h"
#include "app/engine/peft.h"

namespace zoo::app {
namespace training_setup_detail {

// A network's generic names, "LABEL_0", ..., say nothing about its classes.
bool generic(const std::vector<std::string>& labels) {
  for (size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] != "LABEL_" + std::to_string(i)) return false;
  }
  return true;
}

DataOptions data_options(const Recipe& recipe, const std::string& split, bool training) {
  DataOptions options;
  options.split = split;
  options.training = training;
  options.options = recipe.options;
  if (training && !recipe.augment.empty()) options.options["augment"] = recipe.augment;
  return options;
}

// Weights out of a mapped file lie where the file has them; in memory of LibTorch's own they are aligned alike in every run,
// on which the last bit of a matrix product may depend.
void own_memory(Model& model) {
  const at::NoGradGuard no_grad;
  for (auto& parameter : model.parameters()) parameter.set_data(parameter.data().clone());
}

void load_network(TrainingSetup& setup, const Recipe& recipe, at::Device device, const std::vector<std::string>& labels) {
  at::manual_seed(recipe.seed);
  BundleOptions options;
  options.task = setup.task->head();
  options.classes = static_cast<int64_t>(labels.size());
  options.labels = labels;
  options.reinit_head = recipe.reinit_head;
  options.config_overrides = setup.task->config_for(recipe.data, entry_of(recipe.model), data_options(recipe, recipe.train_split, true));
  for (const auto& [key, value] : recipe.config.items()) options.config_overrides[key] = value;
  options.for_training = true;
  setup.bundle = load_bundle(recipe.model, device, options);
  own_memory(*setup.bundle.model);
  for (const auto& [key, value] : recipe.preprocess.items()) setup.bundle.preprocessor[key] = value;
}

// The data may name other classes than the network has: then the network is loaded again with a head for them.
void fit_classes(TrainingSetup& setup, const Recipe& recipe, at::Device device) {
  const auto labels = setup.data->labels();
  const Bundle& bundle = setup.bundle;
  if (labels.empty() || labels == bundle.labels) return;
  const bool fresh = bundle.folder.empty() || generic(bundle.labels);
  if (!fresh && !recipe.reinit_head) {
    throw UsageError(recipe.data + ": its classes are not those of " + recipe.model + " (" + std::to_string(labels.size()) + " and " +
                     std::to_string(bundle.labels.size()) + "); --reinit-head trains a new head for them");
  }
  auto tokenizer = std::move(setup.bundle.tokenizer);  // the opened data refer to it
  load_network(setup, recipe, device, labels);
  setup.bundle.tokenizer = std::move(tokenizer);
}

void choose_validation(TrainingSetup& setup, const Recipe& recipe) {
  auto& train = setup.train_indices;
  train.resize(setup.data->size());
  std::iota(train.begin(), train.end(), int64_t{0});
  if (!recipe.validation_split.empty()) {
    setup.separate_validation = setup.task->open(recipe.data, setup.bundle, data_options(recipe, recipe.validation_split, false));
  }
  if (recipe.validation_share == 0.0) return;
  shuffle(train, recipe.seed ^ 0x5EEDu);
  const auto held = static_cast<int64_t>(std::llround(recipe.validation_share * static_cast<double>(setup.data->size())));
  if (held < 1 || held >= setup.data->size()) {
    throw UsageError("recipe: validation_share " + std::to_string(recipe.validation_share) + " of " + std::to_string(setup.data->size()) +
                     " examples leaves none for validation or none for training");
  }
  setup.validation_indices.assign(train.end() - held, train.end());
  train.resize(train.size() - held);
}

}  // namespace training_setup_detail

void shuffle(std::vector<int64_t>& values, uint64_t seed) {
  std::mt19937_64 random(seed);
  for (size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[random() % i]);
}

bool TrainingSetup::measures_training_data(const Recipe& recipe) const {
  return recipe.eval_data.empty() && eval_data->split() == data->split() && eval_data->size() == data->size();
}

TrainingSetup open_training(const Recipe& recipe, at::Device device) {
  namespace d = training_setup_detail;
  TrainingSetup setup;
  setup.task = &find_task(recipe.task);
  d::load_network(setup, recipe, device, {});
  setup.data = setup.task->open(recipe.data, setup.bundle, d::data_options(recipe, recipe.train_split, true));
  if (setup.data->size() == 0) throw UsageError(recipe.data + ": holds no examples to train on");
  d::fit_classes(setup, recipe, device);
  start_adapter(setup.bundle, recipe.peft);
  setup.task->prepare_training(setup.bundle, *setup.data);
  d::choose_validation(setup, recipe);
  setup.eval_data = setup.task->open(recipe.eval_data.empty() ? recipe.data : recipe.eval_data, setup.bundle,
                                     d::data_options(recipe, recipe.eval_split, false));
  return setup;
}

}  // namespace zoo::app
