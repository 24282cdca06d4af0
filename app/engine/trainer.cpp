#include "app/engine/trainer.h"

#include <spdlog/spdlog.h>

#include <malloc.h>

#include <array>
#include <chrono>
#include <cmath>
#include <fstream>
#include <numeric>
#include <random>

#include "app/cli.h"
#include "app/engine/evaluator.h"
#include "app/engine/interrupt.h"
#include "app/engine/output_folder.h"
#include "app/report/progress.h"
#include "app/report/table.h"
#include "app/report/training_report.h"
#include "app/tasks/text_batches.h"
#include "data/loader.h"
#include "weights/files.h"

namespace zoo::app {
namespace trainer_detail {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Fisher-Yates with a generator whose output the C++ standard fixes: the same order on every machine.
void shuffle(std::vector<int64_t>& values, uint64_t seed) {
  std::mt19937_64 random(seed);
  for (size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[random() % i]);
}

uint64_t epoch_seed(uint64_t seed, int64_t epoch) { return seed * 0x9E3779B97F4A7C15u + static_cast<uint64_t>(epoch) + 1; }

std::string short_number(double value) {
  std::array<char, 32> text;
  std::snprintf(text.data(), text.size(), "%.2e", value);
  return text.data();
}

// A network's generic names, "LABEL_0", ..., say nothing about its classes.
bool generic(const std::vector<std::string>& labels) {
  for (size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] != "LABEL_" + std::to_string(i)) return false;
  }
  return true;
}

// A step frees and allocates the same large tensors again. Left alone, glibc hands each back to the system, and every step
// pays for thousands of page faults (a tenth of its time).
void keep_freed_memory() {
#ifdef __GLIBC__
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, -1);
  mallopt(M_TOP_PAD, 64 << 20);
#endif
}

class Training {
 public:
  Training(const Recipe& recipe, const std::filesystem::path& out, at::Device device, bool overwrite)
      : recipe_(recipe), device_(device), task_(find_task(recipe.task)), output_(out, overwrite) {}

  TrainingResult run();

 private:
  void open();
  void load_network(const std::vector<std::string>& labels);
  DataOptions data_options(const std::string& split, bool training) const;
  void choose_validation();
  int64_t total_steps() const;

  bool train_epoch(int64_t epoch);  // false: stop
  double train_step(const Tensors& batch, double lr);
  void log_step(double lr, double seconds);
  void finish_epoch(int64_t epoch, double train_loss, double seconds);
  void save_checkpoint();
  Evaluation measure_at_end();
  bool out_of_time() const { return recipe_.max_minutes > 0 && seconds_since(start_) > recipe_.max_minutes * 60; }

  const Recipe recipe_;
  const at::Device device_;
  const Task& task_;
  OutputFolder output_;
  Interrupt interrupt_;
  Bundle bundle_;
  std::unique_ptr<Dataset> data_, separate_validation_, eval_data_;
  std::vector<int64_t> train_indices_, validation_indices_;  // into data_; the second empty without validation_share
  std::unique_ptr<Optimizer> optimizer_;
  Json loss_options_;
  std::ofstream log_;
  Clock::time_point start_ = Clock::now();
  TrainingHistory history_;
  int64_t step_ = 0, steps_per_epoch_ = 0, log_every_ = 1;
  double gradient_norm_ = 0, loss_sum_ = 0;  // loss_sum_: since the last line of the log
  int64_t losses_ = 0;
  std::optional<double> best_;
  int64_t best_epoch_ = 0;
};

DataOptions Training::data_options(const std::string& split, bool training) const {
  DataOptions options;
  options.split = split;
  options.training = training;
  options.options = recipe_.options;
  if (training && !recipe_.augment.empty()) options.options["augment"] = recipe_.augment;
  return options;
}

void Training::load_network(const std::vector<std::string>& labels) {
  at::manual_seed(recipe_.seed);
  BundleOptions options;
  options.task = task_.head();
  options.classes = static_cast<int64_t>(labels.size());
  options.labels = labels;
  options.reinit_head = recipe_.reinit_head;
  options.config_overrides = task_.config_for(recipe_.data, entry_of(recipe_.model), data_options(recipe_.train_split, true));
  for (const auto& [key, value] : recipe_.config.items()) options.config_overrides[key] = value;
  options.for_training = true;
  bundle_ = load_bundle(recipe_.model, device_, options);
  for (const auto& [key, value] : recipe_.preprocess.items()) bundle_.preprocessor[key] = value;
}

// The data may name other classes than the network has: then the network is loaded again with a head for them.
void Training::open() {
  load_network({});
  data_ = task_.open(recipe_.data, bundle_, data_options(recipe_.train_split, true));
  if (data_->size() == 0) throw UsageError(recipe_.data + ": holds no examples to train on");
  const auto labels = data_->labels();
  if (!labels.empty() && labels != bundle_.labels) {
    const bool fresh = bundle_.folder.empty() || generic(bundle_.labels);
    if (!fresh && !recipe_.reinit_head) {
      throw UsageError(recipe_.data + ": its classes are not those of " + recipe_.model + " (" + std::to_string(labels.size()) + " and " +
                       std::to_string(bundle_.labels.size()) + "); --reinit-head trains a new head for them");
    }
    load_network(labels);
  }
  start_adapter(bundle_, recipe_.peft);
  task_.prepare_training(bundle_, *data_);
  choose_validation();
  eval_data_ = task_.open(recipe_.eval_data.empty() ? recipe_.data : recipe_.eval_data, bundle_, data_options(recipe_.eval_split, false));
}

void Training::choose_validation() {
  train_indices_.resize(data_->size());
  std::iota(train_indices_.begin(), train_indices_.end(), int64_t{0});
  if (!recipe_.validation_split.empty()) separate_validation_ = task_.open(recipe_.data, bundle_, data_options(recipe_.validation_split, false));
  if (recipe_.validation_share == 0.0) return;
  shuffle(train_indices_, recipe_.seed ^ 0x5EEDu);
  const auto held = static_cast<int64_t>(std::llround(recipe_.validation_share * static_cast<double>(data_->size())));
  if (held < 1 || held >= data_->size()) {
    throw UsageError("recipe: validation_share " + std::to_string(recipe_.validation_share) + " of " + std::to_string(data_->size()) +
                     " examples leaves none for validation or none for training");
  }
  validation_indices_.assign(train_indices_.end() - held, train_indices_.end());
  train_indices_.resize(train_indices_.size() - held);
}

int64_t Training::total_steps() const {
  const int64_t all = steps_per_epoch_ * recipe_.epochs;
  return recipe_.max_steps > 0 ? std::min(all, recipe_.max_steps) : all;
}

double Training::train_step(const Tensors& batch, double lr) {
  optimizer_->zero_grad();
  const at::Tensor loss = task_.loss(task_.forward(*bundle_.model, batch), batch, loss_options_);
  loss.backward();
  gradient_norm_ = optimizer_->clip_gradients(recipe_.clip_norm);
  const double value = loss.item<double>();
  if (!std::isfinite(value) || !std::isfinite(gradient_norm_)) {
    throw std::runtime_error("training stopped at step " + std::to_string(step_ + 1) + ": the loss is " + std::to_string(value) +
                             " and the gradients' norm " + std::to_string(gradient_norm_) +
                             " (a lower optimizer.lr, schedule.warmup_share or clip_norm may help)");
  }
  optimizer_->step(lr);
  return value;
}

void Training::log_step(double lr, double seconds) {
  const StepLog line{step_, static_cast<double>(step_) / static_cast<double>(steps_per_epoch_), loss_sum_ / static_cast<double>(losses_), lr,
                     gradient_norm_, seconds};
  history_.steps.push_back(line);
  log_ << Json{{"step", line.step}, {"epoch", line.epoch}, {"loss", line.loss}, {"lr", line.lr},
               {"gradient_norm", line.gradient_norm}, {"seconds", line.seconds}}.dump() << '\n';
  if (!log_.flush()) throw std::runtime_error((output_.working() / "log.jsonl").string() + ": writing failed (is the disk full?)");
  loss_sum_ = 0;
  losses_ = 0;
}

bool Training::train_epoch(int64_t epoch) {
  auto order = train_indices_;
  const uint64_t seed = epoch_seed(recipe_.seed, epoch);
  shuffle(order, seed);
  const auto total = static_cast<int64_t>(order.size());
  const auto indices = [&](int64_t number) {
    const int64_t begin = number * recipe_.batch_size;
    return std::span(order).subspan(begin, std::min(recipe_.batch_size, total - begin));
  };
  const int64_t steps = std::min(steps_per_epoch_, total_steps() - step_);
  data::Loader loader(steps, [&](int64_t number) { return data_->get(indices(number), /*training=*/true, seed); },
                      static_cast<int>(recipe_.workers));
  bundle_.model->train();
  Progress progress("epoch " + std::to_string(epoch) + "/" + std::to_string(recipe_.epochs), std::min(steps * recipe_.batch_size, total), "examples");
  double epoch_loss = 0;
  int64_t taken = 0;
  bool stop = false;
  const auto epoch_start = Clock::now();
  for (; !stop; ++taken) {
    const auto batch = loader.next();
    if (!batch) break;
    const double lr = recipe_.schedule.at(step_, total_steps(), recipe_.optimizer.lr);
    const double loss = train_step(to_device(*batch, device_), lr);
    ++step_;
    epoch_loss += loss;
    loss_sum_ += loss;
    ++losses_;
    progress.add(static_cast<int64_t>(indices(taken).size()), "loss " + fixed_text(loss, 3) + "  lr " + short_number(lr));
    stop = interrupt_.requested() || out_of_time();
    if (step_ % log_every_ == 0 || step_ == total_steps() || stop) log_step(lr, seconds_since(start_));
  }
  const double seconds = seconds_since(epoch_start);
  progress.finish();
  finish_epoch(epoch, epoch_loss / static_cast<double>(std::max<int64_t>(taken, 1)), seconds);
  return !stop && step_ < total_steps();
}

void Training::finish_epoch(int64_t epoch, double train_loss, double seconds) {
  EpochLog line{epoch, step_, train_loss, seconds, nullptr};
  const bool last = step_ >= total_steps() || interrupt_.requested() || out_of_time();
  const bool measured = (separate_validation_ || !validation_indices_.empty()) && (epoch % recipe_.eval_every == 0 || last);
  if (measured) {
    const Dataset& validation = separate_validation_ ? *separate_validation_ : *data_;
    const Evaluation evaluation = evaluate(task_, bundle_, validation,
                                           {recipe_.batch_size, static_cast<int>(recipe_.workers), "", validation_indices_});
    line.validation = evaluation.metrics;
    const double figure = evaluation.metrics.at(task_.primary_metric()).get<double>();
    if (!best_ || (task_.higher_is_better() ? figure > *best_ : figure < *best_)) {
      best_ = figure;
      best_epoch_ = epoch;
      save_checkpoint();
    }
  } else if (!separate_validation_ && validation_indices_.empty()) {
    best_epoch_ = epoch;
    save_checkpoint();
  }
  history_.epochs.push_back(line);
  log_ << Json{{"epoch", epoch}, {"step", step_}, {"train_loss", train_loss}, {"seconds", seconds}, {"validation", line.validation}}.dump() << '\n';
  std::string text = "epoch " + std::to_string(epoch) + ": loss " + fixed_text(train_loss, 4);
  if (measured) text += ", validation " + task_.primary_metric() + " " + fixed_text(line.validation.at(task_.primary_metric()).get<double>(), 4);
  spdlog::info("{}, {}", text, duration_text(seconds));
}

void Training::save_checkpoint() {
  save_bundle(bundle_, output_.working());
  output_.keep();
}

// The chosen checkpoint, read back from the disk: what is measured is what the user gets.
Evaluation Training::measure_at_end() {
  if (best_ && best_epoch_ != history_.epochs.back().epoch) {
    BundleOptions options;
    options.task = task_.head();
    options.for_training = true;
    bundle_ = load_bundle(output_.working().string(), device_, options);
  }
  return evaluate(task_, bundle_, *eval_data_, {recipe_.batch_size, static_cast<int>(recipe_.workers), "evaluation", {}});
}

TrainingResult Training::run() {
  keep_freed_memory();
  open();
  optimizer_ = make_optimizer(recipe_.optimizer, *bundle_.model);
  loss_options_ = recipe_.options;
  loss_options_["label_smoothing"] = recipe_.label_smoothing;
  steps_per_epoch_ = (static_cast<int64_t>(train_indices_.size()) + recipe_.batch_size - 1) / recipe_.batch_size;
  log_every_ = std::max<int64_t>(1, total_steps() / 200);
  weights::write_file_atomically(output_.working() / "recipe.json", write_recipe(recipe_).dump(2) + "\n");
  log_.open(output_.working() / "log.jsonl");
  at::manual_seed(recipe_.seed);
  spdlog::info("training {} on {} examples of {}: {} steps of {}", recipe_.model, train_indices_.size(), recipe_.data, total_steps(), recipe_.batch_size);
  start_ = Clock::now();
  for (int64_t epoch = 1; epoch <= recipe_.epochs && train_epoch(epoch); ++epoch) {
  }
  history_.seconds = seconds_since(start_);

  TrainingResult result;
  result.interrupted = interrupt_.requested();
  const bool on_training_data = recipe_.eval_data.empty() && eval_data_->split() == data_->split() && eval_data_->size() == data_->size();
  if (on_training_data) spdlog::warn("{} has one split only: the figures below are of the training examples themselves", recipe_.data);
  const Evaluation final = measure_at_end();
  log_ << Json{{"final", final.metrics}}.dump() << '\n';
  log_.close();
  const std::string measured_on = on_training_data ? "train" : eval_data_->split().empty() ? "evaluation data" : eval_data_->split();
  Json metrics = final.metrics;
  if (!eval_data_->split().empty()) metrics[eval_data_->split()] = final.metrics;
  result.json = {{"out", output_.target().string()}, {"epochs", static_cast<int64_t>(history_.epochs.size())}, {"steps", step_},
                 {"seconds", history_.seconds}, {"metrics", metrics},
                 {"best", {{"epoch", best_epoch_}, {"chosen_by", best_ ? "validation " + task_.primary_metric() : "last epoch"},
                           {"validation", best_ ? Json(*best_) : Json(nullptr)}}},
                 {"evaluated_on", measured_on},
                 {"samples", final.samples}, {"interrupted", result.interrupted}};
  write_training_report(output_.working(), {recipe_, bundle_, history_, final, *eval_data_, result.json, task_.primary_metric()});
  output_.commit();
  return result;
}

}  // namespace trainer_detail

TrainingResult train(const Recipe& recipe, const std::filesystem::path& out, at::Device device, bool overwrite) {
  return trainer_detail::Training(recipe, out, device, overwrite).run();
}

}  // namespace zoo::app
