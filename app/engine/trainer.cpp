#include "app/engine/trainer.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <spdlog/spdlog.h>

#include <malloc.h>

#include <array>
#include <chrono>
#include <cmath>

#include "app/cli.h"
#include "app/engine/checkpoints.h"
#include "app/engine/evaluator.h"
#include "app/engine/interrupt.h"
#include "app/engine/training_log.h"
#include "app/engine/training_setup.h"
#include "app/engine/training_step.h"
#include "app/files.h"
#include "app/report/memory.h"
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

uint64_t epoch_seed(uint64_t seed, int64_t epoch) { return seed * 0x9E3779B97F4A7C15u + static_cast<uint64_t>(epoch) + 1; }

std::string short_number(double value) {
  std::array<char, 32> text;
  std::snprintf(text.data(), text.size(), "%.2e", value);
  return text.data();
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

void restore_generator(at::Device device, const at::Tensor& state) {
  at::Generator generator = at::globalContext().defaultGenerator(device);
  generator.set_state(state.clone());
}

// Where a run stands. Everything here is saved with a checkpoint and restored on resume.
struct Position {
  int64_t step = 0;    // done
  int64_t epoch = 1;   // under way
  int64_t batches = 0; // of this epoch that are done
  double epoch_loss = 0;                    // sum over this epoch's steps
  double logged_loss = 0;                   // sum since the last line of the log
  int64_t epoch_steps = 0, logged_steps = 0;
  std::optional<double> best;               // validation figure
  int64_t best_epoch = 0, worse = 0;        // worse: measurements since the best
  double seconds = 0;                       // of training, all sittings
  bool done = false;                        // no step is left to do
  Plateau plateau;

  Json json() const {
    return {{"step", step}, {"epoch", epoch}, {"batches", batches}, {"epoch_loss", epoch_loss}, {"logged_loss", logged_loss},
            {"epoch_steps", epoch_steps}, {"logged_steps", logged_steps}, {"best", best ? Json(*best) : Json(nullptr)},
            {"best_epoch", best_epoch}, {"worse", worse}, {"seconds", seconds}, {"done", done},
            {"plateau", {{"scale", plateau.scale}, {"best", plateau.best}, {"measured", plateau.measured}, {"waited", plateau.waited}}}};
  }
  static Position from(const Json& j) {
    const Json& cut = j.at("plateau");
    Position p{j.at("step"), j.at("epoch"), j.at("batches"), j.at("epoch_loss"), j.at("logged_loss"), j.at("epoch_steps"),
               j.at("logged_steps"), std::nullopt, j.at("best_epoch"), j.at("worse"), j.at("seconds"), j.at("done"),
               {cut.at("scale"), cut.at("best"), cut.at("measured"), cut.at("waited")}};
    if (!j.at("best").is_null()) p.best = j.at("best").get<double>();
    return p;
  }
};

class Training {
 public:
  Training(const Recipe& recipe, const std::filesystem::path& out, at::Device device, RunFolder::Start start)
      : recipe_(recipe), device_(device), start_mode_(start), folder_(out, start) {}

  TrainingResult run();

 private:
  void begin();
  void resume(const Resumable& checkpoint);
  int64_t total_steps() const;
  double learning_rate() const;
  int64_t examples_per_step() const { return recipe_.batch_size * recipe_.accumulate; }

  void train_epoch();
  void take_step(data::Loader& loader, int64_t batches, Progress& progress);
  void log_step(double lr, double gradient_norm);
  void finish_epoch(double seconds);
  void measure_epoch(EpochLog& line, bool last);
  bool better(double figure);  // than the best so far
  void save_best();
  void save_state();
  bool save_is_due() const;
  Evaluation measure_at_end();
  TrainingResult interrupted();
  TrainingResult finished();

  double seconds() const { return position_.seconds + seconds_since(sitting_); }
  bool out_of_time() const { return recipe_.max_minutes > 0 && seconds() > recipe_.max_minutes * 60; }
  bool stopping() const { return interrupt_.requested() || out_of_time(); }

  const Recipe recipe_;
  const at::Device device_;
  const RunFolder::Start start_mode_;
  RunFolder folder_;
  Interrupt interrupt_;
  TrainingSetup setup_;
  std::unique_ptr<TrainingStep> step_;
  std::unique_ptr<TrainingLog> log_;
  Position position_;
  int64_t steps_per_epoch_ = 0, log_every_ = 1;
  Clock::time_point sitting_ = Clock::now(), saved_ = Clock::now();
};

int64_t Training::total_steps() const {
  const int64_t all = steps_per_epoch_ * recipe_.epochs;
  return recipe_.max_steps > 0 ? std::min(all, recipe_.max_steps) : all;
}

double Training::learning_rate() const {
  return position_.plateau.apply(recipe_.schedule, recipe_.schedule.at(position_.step, total_steps(), recipe_.optimizer.lr, steps_per_epoch_));
}

void Training::begin() {
  setup_ = open_training(recipe_, device_);
  step_ = std::make_unique<TrainingStep>(recipe_, *setup_.task, setup_.bundle);
  const auto examples = static_cast<int64_t>(setup_.train_indices.size());
  steps_per_epoch_ = (examples + examples_per_step() - 1) / examples_per_step();
  log_every_ = std::max<int64_t>(1, total_steps() / 200);
  const auto checkpoint = start_mode_ == RunFolder::Start::resume ? newest_checkpoint(folder_.path()) : std::nullopt;
  weights::write_file_atomically(folder_.path() / "recipe.json", write_recipe(recipe_).dump(2) + "\n");
  at::manual_seed(recipe_.seed);
  if (checkpoint) resume(*checkpoint);
  log_ = std::make_unique<TrainingLog>(folder_.path() / "log.jsonl", checkpoint ? checkpoint->state.values.at("log_bytes").get<int64_t>() : 0);
  if (!checkpoint) log_->events().text("recipe", 0, "```json\n" + write_recipe(recipe_).dump(2) + "\n```");
  spdlog::info("training {} on {} examples of {}: {} steps of {}", recipe_.model, examples, recipe_.data, total_steps(), examples_per_step());
  if (checkpoint) spdlog::info("going on after step {} (epoch {}), from {}", position_.step, position_.epoch, checkpoint->folder.string());
  sitting_ = saved_ = Clock::now();
}

void Training::resume(const Resumable& checkpoint) {
  const Json& values = checkpoint.state.values;
  const auto examples = static_cast<int64_t>(setup_.train_indices.size());
  if (values.at("examples").get<int64_t>() != examples) {
    throw UsageError("--resume: " + recipe_.data + " has " + std::to_string(examples) + " training examples; the run was begun with " +
                     values.at("examples").dump() + " (the data must be the same; begin a new run with --out)");
  }
  if (values.at("threads").get<int>() != at::get_num_threads() && device_.is_cpu()) {
    spdlog::warn("the run was begun with {} threads and goes on with {}: the last bits of its weights may differ", values.at("threads").get<int>(), at::get_num_threads());
  }
  position_ = Position::from(values.at("position"));
  restore_network(setup_.bundle, checkpoint.folder);
  step_->load_state(checkpoint.state.tensors);
  restore_generator(at::kCPU, checkpoint.state.tensors.at("random.cpu"));
  if (const auto saved = checkpoint.state.tensors.find("random.device"); saved != checkpoint.state.tensors.end() && device_.is_cuda()) {
    restore_generator(device_, saved->second);
  }
}

void Training::save_state() {
  TrainingState state;
  Position now = position_;
  now.seconds = seconds();
  state.values = {{"position", now.json()}, {"examples", setup_.train_indices.size()}, {"threads", at::get_num_threads()},
                  {"device", device_.str()}, {"log_bytes", log_->bytes()}};
  state.tensors = step_->state();
  state.tensors["random.cpu"] = at::globalContext().defaultGenerator(at::kCPU).get_state();
  if (device_.is_cuda()) state.tensors["random.device"] = at::globalContext().defaultGenerator(device_).get_state();
  save_checkpoint(folder_.path(), position_.step, setup_.bundle, state, recipe_.checkpoint.keep);
  folder_.keep();
  saved_ = Clock::now();
}

bool Training::save_is_due() const {
  const auto& when = recipe_.checkpoint;
  if (when.every_steps > 0 && position_.step % when.every_steps == 0) return true;
  return when.every_minutes > 0 && seconds_since(saved_) > when.every_minutes * 60;
}

void Training::log_step(double lr, double gradient_norm) {
  log_->add(StepLog{position_.step, static_cast<double>(position_.step) / static_cast<double>(steps_per_epoch_),
                    position_.logged_loss / static_cast<double>(position_.logged_steps), lr, gradient_norm, seconds()});
  position_.logged_loss = 0;
  position_.logged_steps = 0;
}

void Training::take_step(data::Loader& loader, int64_t batches, Progress& progress) {
  std::vector<Tensors> parts;
  int64_t examples = 0;
  for (int64_t i = 0; i < batches; ++i) {
    parts.push_back(to_device(*loader.next(), device_));
    examples += parts.back().begin()->second.size(0);
  }
  const double lr = learning_rate();
  StepResult result;
  try {
    result = step_->run(parts, lr);
  } catch (const std::runtime_error& error) {
    const auto saved = list_checkpoints(folder_.path());
    throw std::runtime_error("training stopped at step " + std::to_string(position_.step + 1) + ": " + error.what() +
                             (saved.empty() ? "; no checkpoint was saved before" : "; the last good checkpoint is " + saved.back().string()));
  }
  ++position_.step;
  position_.batches += batches;
  position_.epoch_loss += result.loss;
  position_.logged_loss += result.loss;
  ++position_.epoch_steps;
  ++position_.logged_steps;
  progress.add(examples, "loss " + fixed_text(result.loss, 3) + "  lr " + short_number(lr));
  if (position_.step % log_every_ == 0 || position_.step == total_steps() || out_of_time()) log_step(lr, result.gradient_norm);
}

void Training::train_epoch() {
  auto order = setup_.train_indices;
  const uint64_t seed = epoch_seed(recipe_.seed, position_.epoch);
  shuffle(order, seed);
  const auto total = static_cast<int64_t>(order.size()), size = recipe_.batch_size;
  const auto indices = [&](int64_t number) { return std::span(order).subspan(number * size, std::min(size, total - number * size)); };
  const int64_t done = position_.batches;  // in an earlier sitting
  const int64_t all = std::min((total + size - 1) / size, done + (total_steps() - position_.step) * recipe_.accumulate);
  data::Loader loader(all - done, [&](int64_t number) { return setup_.data->get(indices(done + number), /*training=*/true, seed); },
                      static_cast<int>(recipe_.workers));
  setup_.bundle.model->train();
  Progress progress("epoch " + std::to_string(position_.epoch) + "/" + std::to_string(recipe_.epochs), std::min((all - done) * size, total - done * size), "examples");
  progress.also([this] { return memory_text(device_); });
  const auto start = Clock::now();
  while (position_.batches < all && !stopping()) {
    take_step(loader, std::min(recipe_.accumulate, all - position_.batches), progress);
    if (save_is_due()) save_state();
  }
  progress.finish();
  if (!interrupt_.requested()) finish_epoch(seconds_since(start));
}

void Training::finish_epoch(double seconds) {
  EpochLog line{position_.epoch, position_.step, position_.epoch_loss / static_cast<double>(std::max<int64_t>(position_.epoch_steps, 1)), seconds, nullptr};
  position_.done = position_.step >= total_steps() || position_.epoch >= recipe_.epochs || out_of_time();
  measure_epoch(line, position_.done);
  const int64_t patience = recipe_.early_stopping.patience;
  if (patience > 0 && position_.worse >= patience && !position_.done) {
    spdlog::info("no better {} in {} measurements: stopping early", setup_.task->primary_metric(), patience);
    position_.done = true;
  }
  log_->add(line);
  std::string text = "epoch " + std::to_string(line.epoch) + ": loss " + fixed_text(line.train_loss, 4);
  if (!line.validation.is_null()) {
    text += ", validation " + setup_.task->primary_metric() + " " + fixed_text(line.validation.at(setup_.task->primary_metric()).get<double>(), 4);
  }
  spdlog::info("{}, {}", text, duration_text(seconds));
  const bool due = position_.done || (recipe_.checkpoint.every_epochs > 0 && position_.epoch % recipe_.checkpoint.every_epochs == 0);
  ++position_.epoch;
  position_.batches = position_.epoch_steps = 0;
  position_.epoch_loss = 0;
  if (due) save_state();
}

void Training::measure_epoch(EpochLog& line, bool last) {
  const AveragedWeights averaged(step_->average());
  if (!setup_.validates()) {
    position_.best_epoch = position_.epoch;
    return save_best();
  }
  if (position_.epoch % recipe_.eval_every != 0 && !last) return;
  const Evaluation evaluation = evaluate(*setup_.task, setup_.bundle, setup_.validation(),
                                         {recipe_.batch_size, static_cast<int>(recipe_.workers), "", setup_.validation_indices});
  line.validation = evaluation.metrics;
  if (better(evaluation.metrics.at(setup_.task->primary_metric()).get<double>())) save_best();
}

bool Training::better(double figure) {
  position_.plateau.observe(recipe_.schedule, figure, setup_.task->higher_is_better());
  const double gain = !position_.best ? 0.0 : setup_.task->higher_is_better() ? figure - *position_.best : *position_.best - figure;
  if (position_.best && !(gain > recipe_.early_stopping.min_delta)) {
    ++position_.worse;
    return false;
  }
  position_.best = figure;
  position_.best_epoch = position_.epoch;
  position_.worse = 0;
  return true;
}

void Training::save_best() {
  save_bundle(setup_.bundle, folder_.path());
  folder_.keep();
}

// The chosen checkpoint, read back from the disk: what is measured is what the user gets.
Evaluation Training::measure_at_end() {
  BundleOptions options;
  options.task = setup_.task->head();
  options.for_training = true;
  setup_.bundle = load_bundle(folder_.path().string(), device_, options);
  return evaluate(*setup_.task, setup_.bundle, *setup_.eval_data, {recipe_.batch_size, static_cast<int>(recipe_.workers), "evaluation", {}});
}

TrainingResult Training::interrupted() {
  save_state();
  if (!on_disk(folder_.path() / "config.json")) {  // something that runs, at least
    const AveragedWeights averaged(step_->average());
    save_best();
  }
  const std::string out = folder_.path().string();
  return {{{"out", out}, {"interrupted", true}, {"steps", position_.step}, {"epochs", position_.epoch - 1}, {"seconds", seconds()},
           {"resume", "zoo train --resume " + out}},
          true};
}

TrainingResult Training::finished() {
  log_->history().seconds = seconds();
  const bool on_training_data = setup_.measures_training_data(recipe_);
  if (on_training_data) spdlog::warn("{} has one split only: the figures below are of the training examples themselves", recipe_.data);
  const Evaluation final = measure_at_end();
  log_->add_final(final.metrics);
  const std::string split = setup_.eval_data->split();
  Json metrics = final.metrics;
  if (!split.empty()) metrics[split] = final.metrics;
  TrainingResult result;
  result.json = {{"out", folder_.path().string()}, {"epochs", static_cast<int64_t>(log_->history().epochs.size())}, {"steps", position_.step},
                 {"seconds", log_->history().seconds}, {"metrics", metrics},
                 {"best", {{"epoch", position_.best_epoch}, {"chosen_by", position_.best ? "validation " + setup_.task->primary_metric() : "last epoch"},
                           {"validation", position_.best ? Json(*position_.best) : Json(nullptr)}}},
                 {"evaluated_on", on_training_data ? "train" : split.empty() ? "evaluation data" : split},
                 {"samples", final.samples}, {"interrupted", false}};
  write_training_report(folder_.path(), {recipe_, setup_.bundle, log_->history(), final, *setup_.eval_data, result.json, setup_.task->primary_metric()});
  weights::write_file_atomically(folder_.path() / "results.json", result.json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
  if (!recipe_.checkpoint.keep_after) remove_checkpoints(folder_.path());
  folder_.finish();
  return result;
}

TrainingResult Training::run() {
  keep_freed_memory();
  begin();
  while (!position_.done && !interrupt_.requested()) train_epoch();
  return interrupt_.requested() && !position_.done ? interrupted() : finished();
}

// Keys that change how long a run takes or when it saves, not what it learns.
bool harmless(const std::string& key) {
  for (const char* known : {"workers", "max_minutes", "checkpoint", "description"}) {
    if (key == known || key.starts_with(std::string(known) + ".")) return true;
  }
  return false;
}

void collect_differences(const Json& begun, const Json& now, const std::string& path, std::vector<std::string>& lines) {
  if (begun == now || harmless(path)) return;
  if (!begun.is_object() || !now.is_object()) {
    lines.push_back(path + ": " + (begun.is_null() ? "(absent)" : begun.dump()) + " -> " + (now.is_null() ? "(absent)" : now.dump()));
    return;
  }
  for (const auto& [key, value] : begun.items()) collect_differences(value, now.value(key, Json()), path.empty() ? key : path + "." + key, lines);
  for (const auto& [key, value] : now.items()) {
    if (!begun.contains(key)) collect_differences(Json(), value, path.empty() ? key : path + "." + key, lines);
  }
}

}  // namespace trainer_detail

std::vector<std::string> differences_from_begun(const Recipe& recipe, const std::filesystem::path& run) {
  std::vector<std::string> lines;
  // Read as a recipe first, so that defaults count as what they are.
  trainer_detail::collect_differences(write_recipe(read_recipe(read_json(run / "recipe.json"))), write_recipe(recipe), "", lines);
  return lines;
}

TrainingResult train(const Recipe& recipe, const std::filesystem::path& out, at::Device device, RunFolder::Start start) {
  if (start == RunFolder::Start::resume && RunFolder::begun(out)) {
    std::string text;
    for (const auto& line : differences_from_begun(recipe, out)) text += "\n  " + line;
    if (!text.empty()) {
      throw UsageError("--resume " + out.string() + ": the recipe is not the one that was begun there:" + text +
                       "\n(resume with the same recipe; or begin a new run from its weights with --set model=" + out.string() + " --out ANOTHER)");
    }
    if (RunFolder::finished(out)) {
      spdlog::info("{} is finished already", out.string());
      return {read_json(out / "results.json"), false};
    }
  }
  return trainer_detail::Training(recipe, out, device, start).run();
}

}  // namespace zoo::app
