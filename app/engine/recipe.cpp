#include "app/engine/recipe.h"

#include <limits>

#include "app/cli.h"
#include "app/engine/precision.h"
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
    if (std::find(known_.begin(), known_.end(), key) == known_.end()) known_.emplace_back(key);
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

void read_groups(Section& s, std::vector<GroupRule>& groups) {
  const Json* found = s.find("groups");
  if (!found) return;
  if (!found->is_array()) s.wrong("groups", *found, "a list of {\"pattern\": ..., \"lr_scale\": ..., \"weight_decay\": ..., \"frozen\": ...}");
  for (size_t i = 0; i < found->size(); ++i) {
    Section rule((*found)[i], "optimizer.groups[" + std::to_string(i) + "]");
    GroupRule& group = groups.emplace_back();
    rule.text("pattern", group.pattern);
    if (group.pattern.empty()) rule.wrong("pattern", "", "a regular expression that is found in keys of parameters");
    rule.real("lr_scale", group.lr_scale, 0.0, kInfinity);
    if (double decay = 0.0; rule.find("weight_decay")) {
      rule.real("weight_decay", decay, 0.0, kInfinity);
      group.weight_decay = decay;
    }
    rule.flag("frozen", group.frozen);
    rule.finish();
  }
}

Json write_groups(const std::vector<GroupRule>& groups) {
  Json list = Json::array();
  for (const auto& group : groups) {
    list.push_back({{"pattern", group.pattern}, {"lr_scale", group.lr_scale},
                    {"weight_decay", group.weight_decay ? Json(*group.weight_decay) : Json(nullptr)}, {"frozen", group.frozen}});
  }
  return list;
}

void read_optimizer(const Json& json, OptimizerOptions& optimizer) {
  Section s(json, "optimizer");
  s.one_of("name", optimizer.name, optimizer_names());
  optimizer = OptimizerOptions::defaults(optimizer.name);
  s.real("lr", optimizer.lr, 0.0, kInfinity);
  s.real("weight_decay", optimizer.weight_decay, 0.0, kInfinity);
  if (const Json* betas = s.find("betas")) {
    const auto good = [](const Json& beta) { return beta.is_number() && beta.get<double>() >= 0.0 && beta.get<double>() < 1.0; };
    if (!betas->is_array() || betas->size() != 2 || !good((*betas)[0]) || !good((*betas)[1])) s.wrong("betas", *betas, "two numbers from 0 to below 1");
    optimizer.beta1 = (*betas)[0].get<double>(), optimizer.beta2 = (*betas)[1].get<double>();
  }
  s.real("eps", optimizer.eps, 0.0, 1.0);
  s.real("momentum", optimizer.momentum, 0.0, 1.0);
  s.flag("nesterov", optimizer.nesterov);
  if (optimizer.nesterov && optimizer.momentum == 0.0) s.wrong("nesterov", true, "a momentum above 0 with it");
  s.real("clip_threshold", optimizer.clip_threshold, 1e-6, kInfinity);
  s.real("decay_rate", optimizer.decay_rate, -1.0, 0.0);
  s.flag("scale_parameter", optimizer.scale_parameter);
  s.real("layer_decay", optimizer.layer_decay, 0.0, 1.0, /*closed=*/true);
  read_groups(s, optimizer.groups);
  s.finish();
}

Json write_optimizer(const OptimizerOptions& o) {
  Json json = {{"name", o.name}, {"lr", o.lr}, {"weight_decay", o.weight_decay}};
  if (o.name != "sgd") json["betas"] = {o.beta1, o.beta2};
  if (o.name == "adamw" || o.name == "adam") json["eps"] = o.eps;
  if (o.name == "sgd") json["momentum"] = o.momentum, json["nesterov"] = o.nesterov;
  if (o.name == "adafactor") {
    json["clip_threshold"] = o.clip_threshold, json["decay_rate"] = o.decay_rate, json["scale_parameter"] = o.scale_parameter;
  }
  json["layer_decay"] = o.layer_decay;
  json["groups"] = write_groups(o.groups);
  return json;
}

void read_schedule(const Json& json, Schedule& schedule) {
  Section s(json, "schedule");
  s.one_of("name", schedule.name, schedule_names());
  s.whole("warmup_steps", schedule.warmup_steps, 0);
  s.real("warmup_share", schedule.warmup_share, 0.0, 1.0);
  s.real("min_lr", schedule.min_lr, 0.0, kInfinity);
  s.whole("cycles", schedule.cycles, 1);
  s.real("power", schedule.power, 0.0, kInfinity);
  s.real("decay_share", schedule.decay_share, 0.0, 1.0, /*closed=*/true);
  s.one_of("decay", schedule.decay, {"linear", "cosine", "1-sqrt"});
  s.real("factor", schedule.factor, 0.0, 1.0);
  s.whole("every_steps", schedule.every_steps, 0);
  s.whole("every_epochs", schedule.every_epochs, 0);
  s.whole("hold_epochs", schedule.hold_epochs, 0);
  if (schedule.every_steps > 0 && schedule.every_epochs > 0) s.wrong("every_steps", schedule.every_steps, "every_steps or every_epochs, not both");
  s.whole("patience", schedule.patience, 0);
  s.real("threshold", schedule.threshold, 0.0, 1.0);
  s.real("div_factor", schedule.div_factor, 1.0, kInfinity);
  s.real("final_div_factor", schedule.final_div_factor, 1.0, kInfinity);
  s.finish();
}

Json write_schedule(const Schedule& s) {
  Json json = {{"name", s.name}, {"warmup_steps", s.warmup_steps}, {"warmup_share", s.warmup_share}, {"min_lr", s.min_lr}};
  if (s.name == "cosine_restarts") json["cycles"] = s.cycles;
  if (s.name == "polynomial") json["power"] = s.power;
  if (s.name == "wsd") json["decay_share"] = s.decay_share, json["decay"] = s.decay;
  if (s.name == "step" || s.name == "exponential") {
    json["factor"] = s.factor, json["every_steps"] = s.every_steps, json["every_epochs"] = s.every_epochs;
  }
  if (s.name == "step") json["hold_epochs"] = s.hold_epochs;
  if (s.name == "plateau") json["factor"] = s.factor, json["patience"] = s.patience, json["threshold"] = s.threshold;
  if (s.name == "one_cycle") json["div_factor"] = s.div_factor, json["final_div_factor"] = s.final_div_factor;
  return json;
}

// clip_norm and clip.norm are one number.
void read_clip(Section& recipe, Recipe& r) {
  recipe.real("clip_norm", r.clip_norm, 0.0, kInfinity);
  r.clip.norm = r.clip_norm;
  if (const Json* json = recipe.find("clip")) {
    Section s(*json, "clip");
    s.real("norm", r.clip.norm, 0.0, kInfinity);
    s.real("value", r.clip.value, 0.0, kInfinity);
    s.real("adaptive", r.clip.adaptive, 0.0, kInfinity);
    s.finish();
  }
  if (recipe.find("clip_norm") && r.clip_norm != r.clip.norm) recipe.wrong("clip_norm", r.clip_norm, "the same as clip.norm, or only one of the two");
  r.clip_norm = r.clip.norm;
}

void read_ema(const Json& json, AverageOptions& ema) {
  Section s(json, "ema");
  s.real("decay", ema.decay, 0.0, 1.0);
  s.flag("warmup", ema.warmup);
  s.finish();
}

void read_mixing(const Json& json, MixingOptions& mixing) {
  Section s(json, "mixing");
  s.real("mixup", mixing.mixup, 0.0, kInfinity);
  s.real("cutmix", mixing.cutmix, 0.0, kInfinity);
  s.real("probability", mixing.probability, 0.0, 1.0, /*closed=*/true);
  s.finish();
}

void read_distillation(const Json& json, DistillationOptions& distillation) {
  Section s(json, "distillation");
  s.text("teacher", distillation.teacher);
  s.real("alpha", distillation.alpha, 0.0, 1.0, /*closed=*/true);
  s.real("temperature", distillation.temperature, 1e-3, kInfinity);
  s.finish();
}

// What changes how a step is made.
void read_step(Section& recipe, Recipe& r) {
  read_clip(recipe, r);
  recipe.real("label_smoothing", r.label_smoothing, 0.0, 1.0);
  if (const Json* json = recipe.find("ema")) read_ema(*json, r.ema);
  recipe.one_of("precision", r.precision, precision_names());
  recipe.flag("recompute", r.recompute);
  recipe.flag("shard_optimizer", r.shard_optimizer);
  if (const Json* json = recipe.find("mixing")) read_mixing(*json, r.mixing);
  if (const Json* json = recipe.find("distillation")) read_distillation(*json, r.distillation);
  if (r.mixing.active() && !r.distillation.teacher.empty()) throw UsageError("recipe: give mixing or distillation.teacher, not both");
}

void write_step(const Recipe& r, Json& json) {
  json["clip"] = {{"norm", r.clip.norm}, {"value", r.clip.value}, {"adaptive", r.clip.adaptive}};
  json["ema"] = {{"decay", r.ema.decay}, {"warmup", r.ema.warmup}};
  json["precision"] = r.precision;
  json["recompute"] = r.recompute;
  json["shard_optimizer"] = r.shard_optimizer;
  json["mixing"] = {{"mixup", r.mixing.mixup}, {"cutmix", r.mixing.cutmix}, {"probability", r.mixing.probability}};
  json["distillation"] = {{"teacher", r.distillation.teacher}, {"alpha", r.distillation.alpha}, {"temperature", r.distillation.temperature}};
}

void read_adapter(Section& s, Recipe& r) {
  const Json* peft = s.find("peft");
  if (!peft) return;
  try {
    r.peft = read_peft(*peft);
  } catch (const std::invalid_argument& error) {
    throw UsageError(std::string("recipe: peft: ") + error.what());
  }
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

constexpr const char* kTokenizerForms =
    "a path, {\"vocab\": FILE, \"merges\": FILE}, or {\"train\": \"unigram\", \"vocab_size\": 8000}";

void read_plan(Section& s, tokenizers::VocabularyPlan& plan) {
  s.one_of("train", plan.kind, tokenizers::vocabulary_kinds());
  s.whole("vocab_size", plan.vocab_size, 1);
  s.real("character_coverage", plan.character_coverage, 0.9, 1.0, /*closed=*/true);
  s.one_of("normalization", plan.normalization, tokenizers::vocabulary_normalizations());
  s.whole("min_frequency", plan.min_frequency, 1);
}

void read_tokenizer(Section& recipe, TokenizerChoice& choice) {
  const Json* found = recipe.find("tokenizer");
  if (!found || !found->is_object()) return recipe.text("tokenizer", choice.path);
  Section s(*found, "tokenizer");
  choice.trained = s.find("train");
  if (choice.trained) {
    read_plan(s, choice.plan);
  } else {
    s.text("vocab", choice.vocab);
    s.text("merges", choice.merges);
    if (choice.vocab.empty() || choice.merges.empty()) recipe.wrong("tokenizer", *found, kTokenizerForms);
  }
  s.finish();
}

Json write_tokenizer(const TokenizerChoice& choice) {
  const auto& plan = choice.plan;
  if (!choice.vocab.empty()) return {{"vocab", choice.vocab}, {"merges", choice.merges}};
  if (!choice.trained) return choice.path;
  return {{"train", plan.kind}, {"vocab_size", plan.vocab_size}, {"character_coverage", plan.character_coverage},
          {"normalization", plan.normalization}, {"min_frequency", plan.min_frequency}};
}

void read_best(const Json& json, BestChoice& best) {
  Section s(json, "best");
  s.text("metric", best.metric);
  s.one_of("mode", best.mode, {"", "max", "min"});
  s.finish();
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
  s.object("eval_options", r.eval_options);
  read_tokenizer(s, r.tokenizer);
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
  d::read_adapter(s, r);
  if (const Json* optimizer = s.find("optimizer")) d::read_optimizer(*optimizer, r.optimizer);
  if (const Json* schedule = s.find("schedule")) d::read_schedule(*schedule, r.schedule);
  d::read_step(s, r);
  s.flag("group_by_length", r.group_by_length);
  s.whole("eval_every", r.eval_every, 1);
  if (const Json* best = s.find("best")) d::read_best(*best, r.best);
  if (const Json* stopping = s.find("early_stopping")) d::read_early_stopping(*stopping, r.early_stopping);
  if (const Json* saving = s.find("checkpoint")) d::read_saving(*saving, r.checkpoint);
  s.whole("workers", r.workers, 0);
  s.flag("graphs", r.graphs);
  s.seed("seed", r.seed);
  s.text("description", r.description);
  s.finish();
  for (const auto& [key, value] : {std::pair<const char*, const std::string&>{"model", r.model}, {"task", r.task}, {"data", r.data}}) {
    if (value.empty()) throw UsageError(std::string("recipe: '") + key + "' is missing (give it in the file, by --set " + key + "=..., or by --" + key + ")");
  }
  if (!r.validation_split.empty() && r.validation_share > 0.0) {
    throw UsageError("recipe: give validation_split or validation_share, not both");
  }
  if (!r.best.metric.empty() && r.validation_split.empty() && r.validation_share == 0.0) {
    throw UsageError("recipe: best needs validation examples (validation_split or validation_share)");
  }
  if (r.early_stopping.patience > 0 && r.validation_split.empty() && r.validation_share == 0.0) {
    throw UsageError("recipe: early_stopping needs validation examples (validation_split or validation_share)");
  }
  if (r.schedule.name == "plateau" && r.validation_split.empty() && r.validation_share == 0.0) {
    throw UsageError("recipe: the schedule plateau needs validation examples (validation_split or validation_share)");
  }
  return r;
}

Json write_recipe(const Recipe& r) {
  namespace d = recipe_detail;
  Json json = {{"description", r.description}, {"model", r.model}, {"task", r.task}, {"data", r.data}, {"train_split", r.train_split},
          {"eval_data", r.eval_data}, {"eval_split", r.eval_split}, {"validation_split", r.validation_split},
          {"validation_share", r.validation_share}, {"config", r.config}, {"preprocess", r.preprocess},
          {"augment", r.augment}, {"options", r.options}, {"eval_options", r.eval_options}, {"tokenizer", d::write_tokenizer(r.tokenizer)}, {"reinit_head", r.reinit_head}, {"epochs", r.epochs},
          {"batch_size", r.batch_size}, {"accumulate", r.accumulate}, {"max_steps", r.max_steps}, {"max_minutes", r.max_minutes},
          {"peft", write_peft(r.peft)}, {"optimizer", d::write_optimizer(r.optimizer)},
          {"schedule", d::write_schedule(r.schedule)}, {"clip_norm", r.clip_norm}, {"label_smoothing", r.label_smoothing},
          {"group_by_length", r.group_by_length}, {"eval_every", r.eval_every}, {"best", {{"metric", r.best.metric}, {"mode", r.best.mode}}},
          {"early_stopping", {{"patience", r.early_stopping.patience}, {"min_delta", r.early_stopping.min_delta}}},
          {"checkpoint", d::write_saving(r.checkpoint)}, {"workers", r.workers}, {"graphs", r.graphs}, {"seed", r.seed}};
  d::write_step(r, json);
  return json;
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
    const bool data = place == &recipe && path.starts_with("data.");
    place = &(*place)[path.substr(0, dot)];
    if (data && place->is_string()) *place = Json{{"path", *place}};  // the short form of the same
    if (!place->is_null() && !place->is_object()) {
      throw UsageError("--set " + assignment.substr(0, 80) + ": '" + path.substr(0, dot) + "' is not an object, so it has no keys");
    }
  }
  (*place)[path] = std::move(parsed);
}

}  // namespace zoo::app
