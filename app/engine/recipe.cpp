#include "app/engine/recipe.h"

#include <limits>

#include "app/cli.h"
#include "models/names.h"
#include "weights/files.h"

namespace zoo::app {
namespace recipe_detail {

// One object of the recipe, read key by key; what was never asked for is unknown.
class Section {
 public:
  Section(const Json& json, std::string name) : json_(json), name_(std::move(name)) {
    if (!json_.is_object()) throw UsageError("recipe: " + (name_.empty() ? "the file" : "'" + name_ + "'") + " is not a JSON object");
  }

  void text(const char* key, std::string& value) {
    if (const Json* found = find(key)) {
      if (!found->is_string()) wrong(key, *found, "a text");
      value = found->get<std::string>();
    }
  }
  void flag(const char* key, bool& value) {
    if (const Json* found = find(key)) {
      if (!found->is_boolean()) wrong(key, *found, "true or false");
      value = found->get<bool>();
    }
  }
  void object(const char* key, Json& value) {
    if (const Json* found = find(key)) {
      if (!found->is_object()) wrong(key, *found, "an object");
      value = *found;
    }
  }
  void whole(const char* key, int64_t& value, int64_t low) {
    if (const Json* found = find(key)) {
      constexpr int64_t high = std::numeric_limits<int32_t>::max();
      const bool good = found->is_number_integer() && found->get<double>() >= double(low) && found->get<double>() <= double(high);
      if (!good) wrong(key, *found, "a whole number from " + std::to_string(low) + " to 2147483647");
      value = found->get<int64_t>();
    }
  }
  void seed(const char* key, uint64_t& value) {
    if (const Json* found = find(key)) {
      if (!found->is_number_unsigned() && !(found->is_number_integer() && found->get<int64_t>() >= 0)) wrong(key, *found, "a whole number from 0");
      value = found->get<uint64_t>();
    }
  }
  // low <= value, and value < high (or <= high where `closed`).
  void real(const char* key, double& value, double low, double high, bool closed = false) {
    if (const Json* found = find(key)) {
      const double number = found->is_number() ? found->get<double>() : std::numeric_limits<double>::quiet_NaN();
      const bool good = number >= low && (closed ? number <= high : number < high);
      if (!good) wrong(key, *found, "a number " + range_text(low, high, closed));
      value = number;
    }
  }
  void one_of(const char* key, std::string& value, const std::vector<std::string>& allowed) {
    text(key, value);
    if (std::find(allowed.begin(), allowed.end(), value) == allowed.end()) wrong(key, value, "one of " + join(allowed));
  }
  const Json* find(const char* key) {
    known_.emplace_back(key);
    const auto found = json_.find(key);
    return found == json_.end() || found->is_null() ? nullptr : &*found;
  }
  void finish() const {
    for (const auto& [key, value] : json_.items()) {
      if (std::find(known_.begin(), known_.end(), key) != known_.end()) continue;
      throw UsageError("recipe: unknown key '" + path(key.substr(0, 80)) + "'; nearest: " + join(nearest(key, known_)) +
                       " (known: " + join(known_) + ")");
    }
  }
  [[noreturn]] void wrong(const std::string& key, const Json& seen, const std::string& expected) const {
    throw UsageError("recipe: '" + path(key) + "' is " + seen.dump(-1, ' ', false, Json::error_handler_t::replace).substr(0, 80) +
                     "; expected " + expected);
  }

 private:
  static std::string range_text(double low, double high, bool closed) {
    if (std::isinf(high)) return "from " + Json(low).dump();
    return "from " + Json(low).dump() + (closed ? " to " : " to below ") + Json(high).dump();
  }
  std::string path(const std::string& key) const { return name_.empty() ? key : name_ + "." + key; }
  const Json& json_;
  std::string name_;
  std::vector<std::string> known_;
};

constexpr double kInfinity = std::numeric_limits<double>::infinity();

void read_optimizer(const Json& json, OptimizerOptions& optimizer) {
  Section s(json, "optimizer");
  s.one_of("name", optimizer.name, optimizer_names());
  s.real("lr", optimizer.lr, 0.0, kInfinity);
  s.real("weight_decay", optimizer.weight_decay, 0.0, kInfinity);
  if (const Json* betas = s.find("betas")) {
    const auto good = [](const Json& beta) { return beta.is_number() && beta.get<double>() >= 0.0 && beta.get<double>() < 1.0; };
    if (!betas->is_array() || betas->size() != 2 || !good((*betas)[0]) || !good((*betas)[1])) s.wrong("betas", *betas, "two numbers from 0 to below 1");
    optimizer.beta1 = (*betas)[0].get<double>(), optimizer.beta2 = (*betas)[1].get<double>();
  }
  s.real("eps", optimizer.eps, 0.0, 1.0);
  s.real("momentum", optimizer.momentum, 0.0, 1.0);
  s.finish();
}

void read_schedule(const Json& json, Schedule& schedule) {
  Section s(json, "schedule");
  s.one_of("name", schedule.name, {"constant", "linear", "cosine"});
  s.whole("warmup_steps", schedule.warmup_steps, 0);
  s.real("warmup_share", schedule.warmup_share, 0.0, 1.0);
  s.real("min_lr", schedule.min_lr, 0.0, kInfinity);
  s.finish();
}

void read_early_stopping(const Json& json, EarlyStopping& stopping) {
  Section s(json, "early_stopping");
  s.whole("patience", stopping.patience, 0);
  s.real("min_delta", stopping.min_delta, 0.0, kInfinity);
  s.finish();
}

void read_saving(const Json& json, Saving& saving) {
  Section s(json, "checkpoint");
  s.whole("every_steps", saving.every_steps, 0);
  s.whole("every_epochs", saving.every_epochs, 0);
  s.real("every_minutes", saving.every_minutes, 0.0, kInfinity);
  s.whole("keep", saving.keep, 0);
  s.flag("keep_after", saving.keep_after);
  s.finish();
}

Json write_saving(const Saving& saving) {
  return {{"every_steps", saving.every_steps}, {"every_epochs", saving.every_epochs}, {"every_minutes", saving.every_minutes},
          {"keep", saving.keep}, {"keep_after", saving.keep_after}};
}

void read_sources(Section& s, Recipe& r) {
  s.text("model", r.model);
  s.text("task", r.task);
  // A path, or an object with the path and the task's data options: {"path": "ETTh1.csv", "horizon": 96}.
  if (const Json* data = s.find("data"); data && data->is_object()) {
    r.options = *data;
    r.options.erase("path");
    Section(*data, "data").text("path", r.data);
  } else {
    s.text("data", r.data);
  }
  s.text("train_split", r.train_split);
  s.text("eval_data", r.eval_data);
  s.text("eval_split", r.eval_split);
  s.text("validation_split", r.validation_split);
  s.real("validation_share", r.validation_share, 0.0, 1.0);
  s.object("config", r.config);
  s.object("preprocess", r.preprocess);
  s.object("augment", r.augment);
  Json options = Json::object();
  s.object("options", options);
  for (const auto& [key, value] : options.items()) r.options[key] = value;
  s.flag("reinit_head", r.reinit_head);
}

}  // namespace recipe_detail

Recipe read_recipe(const Json& json) {
  namespace d = recipe_detail;
  Recipe r;
  d::Section s(json, "");
  d::read_sources(s, r);
  s.whole("epochs", r.epochs, 1);
  s.whole("batch_size", r.batch_size, 1);
  s.whole("accumulate", r.accumulate, 1);
  s.whole("max_steps", r.max_steps, 0);
  s.real("max_minutes", r.max_minutes, 0.0, d::kInfinity);
  if (const Json* optimizer = s.find("optimizer")) d::read_optimizer(*optimizer, r.optimizer);
  if (const Json* schedule = s.find("schedule")) d::read_schedule(*schedule, r.schedule);
  s.real("clip_norm", r.clip_norm, 0.0, d::kInfinity);
  s.real("label_smoothing", r.label_smoothing, 0.0, 1.0);
  s.whole("eval_every", r.eval_every, 1);
  if (const Json* stopping = s.find("early_stopping")) d::read_early_stopping(*stopping, r.early_stopping);
  if (const Json* saving = s.find("checkpoint")) d::read_saving(*saving, r.checkpoint);
  s.whole("workers", r.workers, 0);
  s.seed("seed", r.seed);
  s.text("description", r.description);
  s.finish();
  for (const auto& [key, value] : {std::pair<const char*, const std::string&>{"model", r.model}, {"task", r.task}, {"data", r.data}}) {
    if (value.empty()) throw UsageError(std::string("recipe: '") + key + "' is missing (give it in the file, by --set " + key + "=..., or by --" + key + ")");
  }
  if (!r.validation_split.empty() && r.validation_share > 0.0) {
    throw UsageError("recipe: give validation_split or validation_share, not both");
  }
  if (r.early_stopping.patience > 0 && r.validation_split.empty() && r.validation_share == 0.0) {
    throw UsageError("recipe: early_stopping needs validation examples (validation_split or validation_share)");
  }
  return r;
}

Json write_recipe(const Recipe& r) {
  namespace d = recipe_detail;
  Json optimizer = {{"name", r.optimizer.name}, {"lr", r.optimizer.lr}, {"weight_decay", r.optimizer.weight_decay}};
  if (r.optimizer.name == "adamw") {
    optimizer["betas"] = {r.optimizer.beta1, r.optimizer.beta2};
    optimizer["eps"] = r.optimizer.eps;
  } else {
    optimizer["momentum"] = r.optimizer.momentum;
  }
  const Json schedule = {{"name", r.schedule.name}, {"warmup_steps", r.schedule.warmup_steps},
                         {"warmup_share", r.schedule.warmup_share}, {"min_lr", r.schedule.min_lr}};
  return {{"description", r.description}, {"model", r.model}, {"task", r.task}, {"data", r.data}, {"train_split", r.train_split},
          {"eval_data", r.eval_data}, {"eval_split", r.eval_split}, {"validation_split", r.validation_split},
          {"validation_share", r.validation_share}, {"config", r.config}, {"preprocess", r.preprocess},
          {"augment", r.augment}, {"options", r.options}, {"reinit_head", r.reinit_head}, {"epochs", r.epochs},
          {"batch_size", r.batch_size}, {"accumulate", r.accumulate}, {"max_steps", r.max_steps}, {"max_minutes", r.max_minutes}, {"optimizer", optimizer},
          {"schedule", schedule}, {"clip_norm", r.clip_norm}, {"label_smoothing", r.label_smoothing},
          {"eval_every", r.eval_every},
          {"early_stopping", {{"patience", r.early_stopping.patience}, {"min_delta", r.early_stopping.min_delta}}},
          {"checkpoint", d::write_saving(r.checkpoint)}, {"workers", r.workers}, {"seed", r.seed}};
}

Json load_recipe_file(const std::filesystem::path& file) {
  const std::string text = weights::read_text_file(file, 1 << 20);
  try {
    return Json::parse(text);
  } catch (const Json::parse_error& error) {
    throw UsageError(file.string() + ": not valid JSON (" + error.what() + ")");
  }
}

void set_in_recipe(Json& recipe, const std::string& assignment) {
  const auto equals = assignment.find('=');
  if (equals == std::string::npos || equals == 0) {
    throw UsageError("--set is '" + assignment.substr(0, 80) + "'; expected key=value, such as optimizer.lr=1e-3");
  }
  const std::string value = assignment.substr(equals + 1);
  Json parsed = Json::parse(value, nullptr, /*allow_exceptions=*/false);
  if (parsed.is_discarded()) parsed = value;
  Json* place = &recipe;
  std::string path = assignment.substr(0, equals);
  for (size_t dot; (dot = path.find('.')) != std::string::npos; path = path.substr(dot + 1)) {
    place = &(*place)[path.substr(0, dot)];
    if (!place->is_null() && !place->is_object()) {
      throw UsageError("--set " + assignment.substr(0, 80) + ": '" + path.substr(0, dot) + "' is not an object, so it has no keys");
    }
  }
  (*place)[path] = std::move(parsed);
}

}  // namespace zoo::app
