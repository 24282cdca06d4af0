#include "app/engine/peft_plan.h"

#include <algorithm>
#include <cmath>

#include "app/cli.h"
#include "app/files.h"
#include "app/head.h"
#include "models/names.h"
#include "models/registry.h"

namespace zoo::app {
namespace fs = std::filesystem;
namespace peft_plan_detail {

[[noreturn]] void no_base(const fs::path& adapter, const std::string& name) {
  const std::string hint = "; name it: zoo run BASE --adapter " + adapter.string();
  if (name.empty()) throw UsageError(adapter.string() + ": its adapter_config.json does not say which base it was made for" + hint);
  throw UsageError(adapter.string() + ": its base '" + name.substr(0, 200) + "' is no checkpoint folder here, nor is there one of that name beside the adapter" + hint);
}

// "runs/a:0.5" -> runs/a and 0.5; a folder of just that name comes first.
std::pair<std::string, double> parse_weight(const std::string& word) {
  const auto colon = word.rfind(':');
  if (colon == std::string::npos || on_disk(word)) return {word, 1.0};
  const std::string text = word.substr(colon + 1);
  char* end = nullptr;
  const double weight = std::strtod(text.c_str(), &end);
  if (text.empty() || *end || !std::isfinite(weight)) {
    throw UsageError("--adapter '" + word.substr(0, 200) + "': '" + text.substr(0, 40) + "' is no weight; expected DIR or DIR:number, such as runs/a:0.5");
  }
  return {word.substr(0, colon), weight};
}

std::string class_for_task_type(const Entry& entry, const std::string& type) {
  const std::map<std::string, std::string> tasks = {{"SEQ_CLS", "text_classification"}, {"TOKEN_CLS", "token_classification"},
                                                    {"QUESTION_ANS", "question_answering"}};
  const auto task = tasks.find(type);
  if (task == tasks.end()) return "";
  for (const auto& [architecture, serves] : card(entry.name).at("architectures").items()) {
    if (serves == task->second) return architecture;
  }
  return "";
}

// Rows of the head that the adapter keeps whole; 0 if it keeps none.
int64_t kept_classes(const Entry& entry, const weights::Adapter& adapter) {
  for (const auto& [key, tensor] : adapter.values) {
    for (const auto& prefix : head_prefixes(entry)) {
      if (key.compare(0, prefix.size(), prefix) == 0 && tensor.dim() >= 1) return tensor.size(0);
    }
  }
  return 0;
}

// An adapter of peft's own brings no config.json: its class and the shape of its head tell.
void put_head_of(const weights::Adapter& adapter, Json& config, bool named) {
  const Entry& entry = entry_for_config(config);
  std::string architecture = adapter.config.base_class;
  if (!card(entry.name).at("architectures").contains(architecture)) architecture = class_for_task_type(entry, adapter.config.task_type);
  if (!named && !architecture.empty()) config["architectures"] = {architecture};
  const int64_t classes = tells_classes(task_of(entry, config)) ? kept_classes(entry, adapter) : 0;
  if (classes > 0 && static_cast<int64_t>(configured_labels(config).size()) != classes) put_labels(config, numbered_labels(classes));
}

[[noreturn]] void other_network(const AdapterPlan& plan, const AdapterPlan::Item& item, const Entry& made_for, const Entry& base) {
  const std::string name = item.adapter.config.base_model_name_or_path;
  throw std::runtime_error("the adapter " + item.adapter.folder.string() + " was made for the network " + made_for.name + " (its config.json), but " + plan.base + " is " +
                           base.name + "; give it the base that it was made for" + (name.empty() ? "" : ", '" + name.substr(0, 200) + "'") + ", or another adapter");
}

void check_network(const AdapterPlan& plan, const AdapterPlan::Item& item, const Json& saved, const Json& base) {
  const Entry &made_for = entry_for_config(saved), &there = entry_for_config(base);
  if (made_for.name != there.name) other_network(plan, item, made_for, there);
}

void put_saved_head(const Json& saved, Json& config, bool named) {
  for (const char* key : {"architectures", "id2label", "label2id", "num_labels", "num_classes", "problem_type"}) {
    if (saved.contains(key) && !(named && std::string(key) == "architectures")) config[key] = saved[key];
  }
}

}  // namespace peft_plan_detail

fs::path AdapterPlan::folder_with(const std::string& file) const {
  return !own.empty() && on_disk(own / file) ? own : fs::path(base);
}

fs::path base_of_adapter(const fs::path& adapter) {
  const std::string name = weights::read_adapter_config(adapter).base_model_name_or_path;
  if (name.empty()) return {};
  const fs::path given(name), folder = adapter.has_filename() ? adapter : adapter.parent_path();  // "runs/lora/"
  for (const fs::path& place : {given, folder / given, folder.parent_path() / given.filename()}) {
    if (on_disk(place / "config.json") && !weights::is_adapter_folder(place)) return place;
  }
  return {};
}

AdapterPlan plan_adapters(const std::string& spec, const std::vector<std::string>& more) {
  AdapterPlan plan;
  plan.base = spec;
  if (weights::is_adapter_folder(spec)) {
    plan.own = spec;
    plan.items.push_back({weights::load_adapter(spec), 1.0});
    plan.base = base_of_adapter(plan.own).string();
    if (plan.base.empty()) peft_plan_detail::no_base(plan.own, plan.items.front().adapter.config.base_model_name_or_path);
  }
  for (const auto& word : more) {
    const auto [folder, weight] = peft_plan_detail::parse_weight(word);
    plan.items.push_back({weights::load_adapter(folder), weight});
  }
  return plan;
}

std::string other_sizes(const fs::path& adapter, const fs::path& base) {
  if (!on_disk(adapter / "config.json") || !on_disk(base / "config.json")) return "";
  const Json made_for = read_json(adapter / "config.json"), there = read_json(base / "config.json");
  std::string text;
  for (const auto& [key, value] : made_for.items()) {
    const auto other = there.find(key);
    const bool size = value.is_number_integer() && key.find("_token_id") == std::string::npos && key != "num_labels";
    if (size && other != there.end() && *other != value) text += "\n  " + key + ": " + value.dump() + " in the adapter's config.json, " + other->dump().substr(0, 80) + " in the base's";
  }
  return text.empty() ? "" : "\nit was made for a network of another size:" + text;
}

Json adapted_config(const AdapterPlan& plan, Json config, bool named) {
  const Json base = config;
  if (!plan.own.empty() && on_disk(plan.own / "config.json")) config = read_json(plan.own / "config.json");
  for (const auto& item : plan.items) {
    const fs::path saved = item.adapter.folder / "config.json";
    if (on_disk(saved)) peft_plan_detail::check_network(plan, item, read_json(saved), base);
    if (item.adapter.folder == plan.own && on_disk(saved)) continue;
    if (on_disk(saved)) peft_plan_detail::put_saved_head(read_json(saved), config, named);
    else peft_plan_detail::put_head_of(item.adapter, config, named);
  }
  return config;
}

}  // namespace zoo::app
