#include "app/engine/trainer.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <spdlog/spdlog.h>

#include <array>
#include <chrono>
#include <cmath>

#include "app/cli.h"
#include "app/engine/checkpoints.h"
#include "app/engine/evaluator.h"
#include "app/engine/interrupt.h"
#include "app/engine/sharing.h"
#include "app/engine/tensor_bytes.h"
#include "app/engine/training_log.h"
#include "app/engine/training_setup.h"
#include "app/engine/training_step.h"
#include "app/files.h"
#include "app/machine.h"
#include "app/report/figures.h"
#include "app/report/memory.h"
#include "app/report/progress.h"
#include "app/report/table.h"
#include "app/report/training_report.h"
#include "app/tasks/text_batches.h"
#include "data/loader.h"
#include "models/names.h"
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
  Training(const Recipe& recipe, const std::filesystem::path& out, at::Device device, RunFolder::Start start, const Ranks& ranks)
      : recipe_(recipe), device_(device), start_mode_(start), ranks_(ranks) {
    if (ranks.first()) folder_.emplace(out, start);
    path_ = ranks.broadcast(folder_ ? folder_->path().string() : "");
  }

  TrainingResult run();

 private:
  void begin();
  void resume(const Resumable& checkpoint);
  int64_t total_steps() const;
  double learning_rate() const;
  int64_t examples_per_batch() const { return recipe_.batch_size * ranks_.size(); }  // on all ranks
  int64_t examples_per_step() const { return examples_per_batch() * recipe_.accumulate; }
  void agree();
  std::optional<Resumable> find_checkpoint();
  void share_buffers();
  EvaluationOptions evaluation(const std::string& title, std::span<const int64_t> subset) const {
    return {recipe_.batch_size, static_cast<int>(recipe_.workers), title, subset, &ranks_};
  }

  void prepare_tokenizer();
  void check_choice();
  // What chooses the checkpoint: the recipe's "best", else the task's.
  std::string chosen_by() const { return recipe_.best.metric.empty() ? setup_.task->primary_metric() : recipe_.best.metric; }
  bool higher_is_better() const;
  double figure_of(const Evaluation& measured) const;

  void train_epoch();
  void take_step(data::Loader& loader, int64_t batches);
  void log_step(double lr, double gradient_norm);
  void finish_epoch(double seconds);
  void measure_epoch(EpochLog& line, bool last);
  Evaluation measure_validation();
  bool better(double figure);  // than the best so far
  void save_best();
  void save_state();
  bool save_is_due() const;
  Evaluation measure_at_end();
  TrainingResult interrupted();
  TrainingResult finished();

  double seconds() const { return position_.seconds + seconds_since(sitting_); }
  bool stopping() const { return interrupted_ || out_of_time_; }

  const Recipe recipe_;
  const at::Device device_;
  const RunFolder::Start start_mode_;
  const Ranks& ranks_;
  std::filesystem::path path_;       // of the run
  std::optional<RunFolder> folder_;  // rank 0 alone writes there
  Interrupt interrupt_;
  bool interrupted_ = false, out_of_time_ = false, save_by_clock_ = false;  // what the ranks agreed on after the last step
  TrainingSetup setup_;
  std::unique_ptr<TrainingStep> step_;
  std::unique_ptr<TrainingLog> log_;  // rank 0
  Position position_;
  std::string figures_;  // of the last step, for the progress bar
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

bool Training::higher_is_better() const {
  if (!recipe_.best.mode.empty()) return recipe_.best.mode == "max";
  return recipe_.best.metric.empty() ? setup_.task->higher_is_better() : app::better(recipe_.best.metric) != Better::lower;
}

double Training::figure_of(const Evaluation& measured) const {
  if (const auto value = figure(measured.metrics, chosen_by())) return *value;
  std::vector<std::string> names;
  for (const auto& [name, value] : flat_figures(measured.metrics)) names.push_back(name);
  throw UsageError("recipe: best.metric is '" + chosen_by() + "', which the measurements do not have; expected one of " + join(names) +
                   " (options.metrics adds figures of written texts)");
}

// The recipe is written first: a run that was killed while it made its vocabulary can go on.
void Training::prepare_tokenizer() {
  if (recipe_.tokenizer.empty()) return;
  if (ranks_.first()) {
    weights::write_file_atomically(path_ / "recipe.json", write_recipe(recipe_).dump(2) + "\n");
    app::prepare_tokenizer(recipe_, path_);
  }
  ranks_.barrier();
}

// One example shows what measurements hold: a figure that is not among them is told now and not after the first epoch.
void Training::check_choice() {
  if (recipe_.best.metric.empty()) return;
  const std::array<int64_t, 1> one = {setup_.validation_indices.empty() ? 0 : setup_.validation_indices.front()};
  figure_of(evaluate(*setup_.task, setup_.bundle, setup_.validation(), evaluation("", one)));
}

void Training::begin() {
  prepare_tokenizer();
  setup_ = open_training(recipe_, device_, path_);
  check_choice();
  step_ = std::make_unique<TrainingStep>(recipe_, *setup_.task, setup_.bundle, ranks_);
  const auto examples = static_cast<int64_t>(setup_.train_indices.size());
  steps_per_epoch_ = (examples + examples_per_step() - 1) / examples_per_step();
  log_every_ = std::max<int64_t>(1, total_steps() / 200);
  const auto checkpoint = start_mode_ == RunFolder::Start::resume ? find_checkpoint() : std::nullopt;
  if (ranks_.first()) weights::write_file_atomically(path_ / "recipe.json", write_recipe(recipe_).dump(2) + "\n");
  at::manual_seed(recipe_.seed + static_cast<uint64_t>(ranks_.rank()));  // dropout differs between ranks
  if (checkpoint) resume(*checkpoint);
  ranks_.broadcast(setup_.bundle.model->parameters());
  share_buffers();
  if (ranks_.first()) {
    log_ = std::make_unique<TrainingLog>(path_ / "log.jsonl", checkpoint ? checkpoint->state.values.at("log_bytes").get<int64_t>() : 0);
    if (!checkpoint) log_->events().text("recipe", 0, "```json\n" + write_recipe(recipe_).dump(2) + "\n```");
  }
  spdlog::info("training {} on {} examples of {}: {} steps of {}", recipe_.model, examples, recipe_.data, total_steps(), examples_per_step());
  if (checkpoint) spdlog::info("going on after step {} (epoch {}), from {}", position_.step, position_.epoch, checkpoint->folder.string());
  sitting_ = saved_ = Clock::now();
}

// Rank 0 comes first, because it clears away what a cut-off save has left.
std::optional<Resumable> Training::find_checkpoint() {
  std::optional<Resumable> found;
  if (ranks_.first()) found = newest_checkpoint(path_);
  ranks_.barrier();
  if (!ranks_.first()) found = newest_checkpoint(path_);
  ranks_.require_same("newest checkpoint", found ? found->folder.filename().string() : "none");
  return found;
}

// Running statistics follow each rank's own examples; those of rank 0 are used and saved.
void Training::share_buffers() { ranks_.broadcast(setup_.bundle.model->buffers()); }

// Clocks and signals differ between ranks: rank 0's clock counts, and a signal to any of them.
void Training::agree() {
  const bool late = recipe_.max_minutes > 0 && seconds() > recipe_.max_minutes * 60;
  const bool save = recipe_.checkpoint.every_minutes > 0 && seconds_since(saved_) > recipe_.checkpoint.every_minutes * 60;
  std::array<double, 3> votes = {interrupt_.requested() ? 1.0 : 0.0, ranks_.first() && late ? 1.0 : 0.0, ranks_.first() && save ? 1.0 : 0.0};
  ranks_.all_reduce_sum(votes);
  interrupted_ = votes[0] > 0;
  out_of_time_ = votes[1] > 0;
  save_by_clock_ = votes[2] > 0;
}

void Training::resume(const Resumable& checkpoint) {
  const Json& values = checkpoint.state.values;
  const auto examples = static_cast<int64_t>(setup_.train_indices.size());
  if (values.at("examples").get<int64_t>() != examples) {
    throw UsageError("--resume: " + recipe_.data + " has " + std::to_string(examples) + " training examples; the run was begun with " +
                     values.at("examples").dump() + " (the data must be the same; begin a new run with --out)");
  }
  if (const int begun = values.value("processes", 1); begun != ranks_.size()) {
    throw UsageError("--resume: the run was begun with " + std::to_string(begun) + " processes, and these are " + std::to_string(ranks_.size()) +
                     ": its batches would be others (resume with as many)");
  }
  if (values.at("threads").get<int>() != at::get_num_threads() && device_.is_cpu()) {
    spdlog::warn("the run was begun with {} threads and goes on with {}: the last bits of its weights may differ", values.at("threads").get<int>(), at::get_num_threads());
  }
  position_ = Position::from(values.at("position"));
  restore_network(setup_.bundle, checkpoint.folder);
  step_->load_state(checkpoint.state.tensors);
  const std::string of_rank = ranks_.first() ? "" : "." + std::to_string(ranks_.rank());
  restore_generator(at::kCPU, checkpoint.state.tensors.at("random.cpu" + of_rank));
  if (const auto saved = checkpoint.state.tensors.find("random.device" + of_rank); saved != checkpoint.state.tensors.end() && device_.is_cuda()) {
    restore_generator(device_, saved->second);
  }
}

// The generators' states of all ranks, on rank 0.
Tensors random_states(at::Device device, const Ranks& ranks) {
  Tensors own = {{"random.cpu", at::globalContext().defaultGenerator(at::kCPU).get_state()}};
  if (device.is_cuda()) own["random.device"] = at::globalContext().defaultGenerator(device).get_state();
  const auto all = ranks.gather(ranks.first() ? "" : tensors_to_bytes(own));
  for (size_t rank = 1; rank < all.size(); ++rank) {
    for (const auto& [name, tensor] : tensors_from_bytes(all[rank])) own[name + "." + std::to_string(rank)] = tensor;
  }
  return own;
}

void Training::save_state() {
  TrainingState state;
  state.tensors = step_->state();
  for (const auto& [name, tensor] : random_states(device_, ranks_)) state.tensors[name] = tensor;
  saved_ = Clock::now();
  if (!ranks_.first()) return;
  Position now = position_;
  now.seconds = seconds();
  state.values = {{"position", now.json()}, {"examples", setup_.train_indices.size()}, {"threads", at::get_num_threads()},
                  {"processes", ranks_.size()}, {"device", device_.str()}, {"log_bytes", log_->bytes()}};
  save_checkpoint(path_, position_.step, setup_.bundle, state, recipe_.checkpoint.keep);
  folder_->keep();
}

bool Training::save_is_due() const {
  const auto& when = recipe_.checkpoint;
  if (when.every_steps > 0 && position_.step % when.every_steps == 0) return true;
  return save_by_clock_;
}

void Training::log_step(double lr, double gradient_norm) {
  if (log_) log_->add(StepLog{position_.step, static_cast<double>(position_.step) / static_cast<double>(steps_per_epoch_),
                    position_.logged_loss / static_cast<double>(position_.logged_steps), lr, gradient_norm, seconds()});
  position_.logged_loss = 0;
  position_.logged_steps = 0;
}

void Training::take_step(data::Loader& loader, int64_t batches) {
  std::vector<Tensors> parts;
  for (int64_t i = 0; i < batches; ++i) parts.push_back(to_device(*loader.next(), device_));
  const double lr = learning_rate();
  StepResult result;
  try {
    result = step_->run(parts, lr);
  } catch (const std::runtime_error& error) {
    const auto saved = list_checkpoints(path_);
    throw std::runtime_error("training stopped at step " + std::to_string(position_.step + 1) + ": " + error.what() +
                             (saved.empty() ? "; no checkpoint was saved before" : "; the last good checkpoint is " + saved.back().string()));
  }
  ++position_.step;
  position_.batches += batches;
  position_.epoch_loss += result.loss;
  position_.logged_loss += result.loss;
  ++position_.epoch_steps;
  ++position_.logged_steps;
  figures_ = "loss " + fixed_text(result.loss, 3) + "  lr " + short_number(lr);
  agree();
  if (position_.step % log_every_ == 0 || position_.step == total_steps() || out_of_time_) log_step(lr, result.gradient_norm);
}

void Training::train_epoch() {
  auto order = setup_.train_indices;
  const uint64_t seed = epoch_seed(recipe_.seed, position_.epoch);
  shuffle(order, seed);
  if (recipe_.group_by_length) group_by_length(order, *setup_.data, examples_per_batch(), seed);
  const auto total = static_cast<int64_t>(order.size()), size = examples_per_batch();
  const auto indices = [&](int64_t number) { return std::span(order).subspan(number * size, std::min(size, total - number * size)); };
  const int64_t done = position_.batches;  // in an earlier sitting
  const int64_t all = std::min((total + size - 1) / size, done + (total_steps() - position_.step) * recipe_.accumulate);
  data::Loader loader(all - done, [&](int64_t number) {
    const auto own = share_of(indices(done + number), ranks_);
    return own.empty() ? Tensors() : setup_.data->get(own, /*training=*/true, seed);
  }, static_cast<int>(recipe_.workers), /*prefetch_per_worker=*/2, /*pin=*/device_.is_cuda());
  setup_.bundle.model->train();
  Progress progress("epoch " + std::to_string(position_.epoch) + "/" + std::to_string(recipe_.epochs), std::min((all - done) * size, total - done * size), "examples");
  progress.also([this] { return memory_text(device_); });
  const auto start = Clock::now();
  agree();
  while (position_.batches < all && !stopping()) {
    const int64_t before = std::min(position_.batches * size, total);
    take_step(loader, std::min(recipe_.accumulate, all - position_.batches));
    progress.add(std::min(position_.batches * size, total) - before, figures_);
    if (save_is_due()) save_state();
  }
  progress.finish();
  if (!interrupted_) finish_epoch(seconds_since(start));
}

void Training::finish_epoch(double seconds) {
  EpochLog line{position_.epoch, position_.step, position_.epoch_loss / static_cast<double>(std::max<int64_t>(position_.epoch_steps, 1)), seconds, nullptr};
  position_.done = position_.step >= total_steps() || position_.epoch >= recipe_.epochs || out_of_time_;
  measure_epoch(line, position_.done);
  const int64_t patience = recipe_.early_stopping.patience;
  if (patience > 0 && position_.worse >= patience && !position_.done) {
    spdlog::info("no better {} in {} measurements: stopping early", chosen_by(), patience);
    position_.done = true;
  }
  if (log_) log_->add(line);
  std::string text = "epoch " + std::to_string(line.epoch) + ": loss " + fixed_text(line.train_loss, 4);
  if (!line.validation.is_null()) {
    text += ", validation " + chosen_by() + " " + fixed_text(figure(line.validation, chosen_by()).value(), 4);
  }
  spdlog::info("{}, {}", text, duration_text(seconds));
  const bool due = position_.done || (recipe_.checkpoint.every_epochs > 0 && position_.epoch % recipe_.checkpoint.every_epochs == 0);
  ++position_.epoch;
  position_.batches = position_.epoch_steps = 0;
  position_.epoch_loss = 0;
  if (due) save_state();
}

void Training::measure_epoch(EpochLog& line, bool last) {
  share_buffers();
  if (!setup_.validates()) {
    position_.best_epoch = position_.epoch;
    return save_best();
  }
  if (position_.epoch % recipe_.eval_every != 0 && !last) return;
  const Evaluation measured = measure_validation();
  line.validation = measured.metrics;
  if (better(figure_of(measured))) save_best();
}

Evaluation Training::measure_validation() {
  const AveragedWeights averaged(step_->average());
  return evaluate(*setup_.task, setup_.bundle, setup_.validation(), evaluation("", setup_.validation_indices));
}

bool Training::better(double figure) {
  position_.plateau.observe(recipe_.schedule, figure, higher_is_better());
  const double gain = !position_.best ? 0.0 : higher_is_better() ? figure - *position_.best : *position_.best - figure;
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
  if (!folder_) return;
  const AveragedWeights averaged(step_->average());
  save_bundle(setup_.bundle, path_);
  folder_->keep();
}

// The chosen checkpoint, read back from the disk: what is measured is what the user gets.
Evaluation Training::measure_at_end() {
  ranks_.barrier();  // until rank 0 has written it
  restore_network(setup_.bundle, path_);  // into the network at hand: the opened data refer to its bundle
  return evaluate(*setup_.task, setup_.bundle, *setup_.eval_data, evaluation("evaluation", {}));
}

TrainingResult Training::interrupted() {
  save_state();
  if (!on_disk(path_ / "config.json")) save_best();  // something that runs, at least
  const std::string out = path_.string();
  return {{{"out", out}, {"interrupted", true}, {"steps", position_.step}, {"epochs", position_.epoch - 1}, {"seconds", seconds()},
           {"resume", "zoo train --resume " + out}},
          true};
}

TrainingResult Training::finished() {
  if (log_) log_->history().seconds = seconds();
  const bool on_training_data = setup_.measures_training_data(recipe_);
  if (on_training_data) spdlog::warn("{} has one split only: the figures below are of the training examples themselves", recipe_.data);
  const Evaluation final = measure_at_end();
  if (!ranks_.first()) return {};
  log_->add_final(final.metrics);
  const std::string split = setup_.eval_data->split();
  Json metrics = final.metrics;
  if (!split.empty()) metrics[split] = final.metrics;
  TrainingResult result;
  result.json = {{"out", path_.string()}, {"epochs", static_cast<int64_t>(log_->history().epochs.size())}, {"steps", position_.step},
                 {"seconds", log_->history().seconds}, {"metrics", metrics},
                 {"best", {{"epoch", position_.best_epoch}, {"chosen_by", position_.best ? "validation " + chosen_by() : "last epoch"},
                           {"validation", position_.best ? Json(*position_.best) : Json(nullptr)}}},
                 {"evaluated_on", on_training_data ? "train" : split.empty() ? "evaluation data" : split},
                 {"samples", final.samples}, {"interrupted", false}};
  write_training_report(path_, {recipe_, setup_.bundle, log_->history(), final, *setup_.eval_data, result.json, chosen_by()});
  weights::write_file_atomically(path_ / "results.json", result.json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
  if (!recipe_.checkpoint.keep_after) remove_checkpoints(path_);
  folder_->finish();
  return result;
}

TrainingResult Training::run() {
  keep_all_freed_memory();
  begin();
  while (!position_.done && !interrupted_) train_epoch();
  return interrupted_ && !position_.done ? interrupted() : finished();
}

// Keys that change how long a run takes or when it saves, not what it learns.
bool harmless(const std::string& key) {
  for (const char* known : {"workers", "graphs", "max_minutes", "checkpoint", "description"}) {
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

std::vector<std::string> recipe_differences(const Recipe& begun, const Recipe& recipe) {
  std::vector<std::string> lines;
  trainer_detail::collect_differences(write_recipe(begun), write_recipe(recipe), "", lines);
  return lines;
}

void require_begun_recipe(const Recipe& recipe, const std::filesystem::path& out) {
  if (!RunFolder::begun(out)) return;
  std::string text;
  for (const auto& line : recipe_differences(read_recipe(read_json(out / "recipe.json")), recipe)) text += "\n  " + line;
  if (text.empty()) return;
  throw UsageError("--resume " + out.string() + ": the recipe is not the one that was begun there:" + text +
                   "\n(resume with the same recipe; or begin a new run from its weights with --set model=" + out.string() + " --out ANOTHER)");
}

TrainingResult train(const Recipe& recipe, const std::filesystem::path& out, at::Device device, RunFolder::Start start, const Ranks& ranks) {
  if (start == RunFolder::Start::resume && RunFolder::begun(out)) {
    require_begun_recipe(recipe, out);
    if (RunFolder::finished(out)) {
      spdlog::info("{} is finished already", out.string());
      return {read_json(out / "results.json"), false};
    }
  }
  try {
    ranks.require_same("recipe", write_recipe(recipe).dump());
    return trainer_detail::Training(recipe, out, device, start, ranks).run();
  } catch (const RankFailure&) {
    throw;
  } catch (const std::exception& error) {
    ranks.leave(error.what());
    throw;
  }
}

}  // namespace zoo::app
