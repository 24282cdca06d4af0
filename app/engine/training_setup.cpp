#include "app/engine/training_setup.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "app/cli.h"
#include "app/engine/peft.h"
#include "app/files.h"

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

void check_task_options(const Task& task, const Recipe& recipe) {
  Json all = recipe.options;
  all.update(recipe.eval_options);
  if (!recipe.augment.empty()) all["augment"] = recipe.augment;
  check_options(task, all);
}

// Weights out of a mapped file lie where the file has them; in memory of LibTorch's own they are aligned alike in every run,
// on which the last bit of a matrix product may depend.
void own_memory(Model& model) {
  const at::NoGradGuard no_grad;
  for (auto& parameter : model.parameters()) parameter.set_data(parameter.data().clone());
}

// A network with fresh weights takes what its recipe's tokenizer says; one from a folder has its own, or none.
void add_tokenizer(const Recipe& recipe, const std::filesystem::path& run, BundleOptions& options) {
  if (recipe.tokenizer.empty()) return;
  options.tokenizer = tokenizer_folder_of(run);
  if (on_disk(recipe.model)) return;
  options.config_overrides.update(config_for_tokenizer(*tokenizers::load(options.tokenizer), config_of_variant(recipe.model), recipe.config));
}

void load_network(TrainingSetup& setup, const Recipe& recipe, at::Device device, const std::filesystem::path& run, const std::vector<std::string>& labels) {
  at::manual_seed(recipe.seed);
  BundleOptions options;
  options.task = setup.task->head();
  options.classes = static_cast<int64_t>(labels.size());
  options.labels = labels;
  options.reinit_head = recipe.reinit_head;
  options.config_overrides = setup.task->config_for(recipe.data, entry_of(recipe.model), data_options(recipe, recipe.train_split, true));
  add_tokenizer(recipe, run, options);
  for (const auto& [key, value] : recipe.config.items()) options.config_overrides[key] = value;
  options.for_training = true;
  setup.bundle = load_bundle(recipe.model, device, options);
  own_memory(*setup.bundle.model);
  for (const auto& [key, value] : recipe.preprocess.items()) setup.bundle.preprocessor[key] = value;
}

// The data may name other classes than the network has: then the network is loaded again with a head for them.
void fit_classes(TrainingSetup& setup, const Recipe& recipe, at::Device device, const std::filesystem::path& run) {
  const auto labels = setup.data->labels();
  const Bundle& bundle = setup.bundle;
  if (labels.empty() || labels == bundle.labels) return;
  const bool fresh = bundle.folder.empty() || generic(bundle.labels);
  if (!fresh && !recipe.reinit_head) {
    throw UsageError(recipe.data + ": its classes are not those of " + recipe.model + " (" + std::to_string(labels.size()) + " and " +
                     std::to_string(bundle.labels.size()) + "); --reinit-head trains a new head for them");
  }
  auto tokenizer = std::move(setup.bundle.tokenizer);  // the opened data refer to it
  load_network(setup, recipe, device, run, labels);
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

void group_by_length(std::vector<int64_t>& order, const Dataset& data, int64_t size, uint64_t seed) {
  const auto total = static_cast<int64_t>(order.size()), window = size * kLengthWindow;
  const auto longer = [&](int64_t a, int64_t b) { return data.length(a) > data.length(b); };
  for (int64_t begin = 0; begin < total; begin += window) std::stable_sort(order.begin() + begin, order.begin() + std::min(begin + window, total), longer);
  std::vector<int64_t> batches(total / size);
  std::iota(batches.begin(), batches.end(), int64_t{0});
  shuffle(batches, seed ^ 0xBA7C4u);
  std::vector<int64_t> grouped;
  for (const int64_t batch : batches) grouped.insert(grouped.end(), order.begin() + batch * size, order.begin() + (batch + 1) * size);
  grouped.insert(grouped.end(), order.begin() + static_cast<int64_t>(grouped.size()), order.end());
  order = std::move(grouped);
}

void prepare_tokenizer(const Recipe& recipe, const std::filesystem::path& run) {
  namespace d = training_setup_detail;
  if (recipe.tokenizer.empty()) return;
  if (on_disk(recipe.model) && holds_tokenizer(recipe.model)) {
    throw UsageError("recipe: tokenizer: " + recipe.model + " has a tokenizer of its own, whose ids its weights know; leave the key away (or begin with fresh weights: NAME:VARIANT)");
  }
  const Task& task = find_task(recipe.task);
  d::check_task_options(task, recipe);
  const auto texts = [&] { return task.training_texts(recipe.data, d::data_options(recipe, recipe.train_split, true)); };
  place_tokenizer(recipe.tokenizer, entry_of(recipe.model), run, texts);
}

TrainingSetup open_training(const Recipe& recipe, at::Device device, const std::filesystem::path& run) {
  namespace d = training_setup_detail;
  TrainingSetup setup;
  setup.task = &find_task(recipe.task);
  d::check_task_options(*setup.task, recipe);
  d::load_network(setup, recipe, device, run, {});
  setup.data = setup.task->open(recipe.data, setup.bundle, d::data_options(recipe, recipe.train_split, true));
  if (setup.data->size() == 0) throw UsageError(recipe.data + ": holds no examples to train on");
  d::fit_classes(setup, recipe, device, run);
  start_adapter(setup.bundle, recipe.peft);
  setup.task->prepare_training(setup.bundle, *setup.data);
  d::choose_validation(setup, recipe);
  DataOptions final = d::data_options(recipe, recipe.eval_split, false);
  final.options.update(recipe.eval_options);
  setup.eval_data = setup.task->open(recipe.eval_data.empty() ? recipe.data : recipe.eval_data, setup.bundle, final);
  return setup;
}

}  // namespace zoo::app
