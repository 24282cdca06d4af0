// adapter_config.json: the half of weights/adapter.h that knows peft's keys.
#include <algorithm>
#include <cmath>
#include <optional>
#include <regex>
#include <stdexcept>

#include "weights/adapter.h"
#include "weights/nearest.h"

namespace zoo::weights {
namespace adapter_config_detail {

using Json = nlohmann::json;
constexpr size_t kMaxPattern = 1024;  // bounds the depth of the expression compiler
constexpr int64_t kMaxRank = 1 << 16;

std::string shown(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace).substr(0, 80);
}

[[noreturn]] void wrong(const std::string& key, const Json& seen, const std::string& expected) {
  throw std::invalid_argument("'" + key + "' is " + shown(seen) + "; expected " + expected);
}

// The expressions come from files that may be hostile: gcc's second matcher never backtracks, so none can take for ever.
const auto kSyntax = std::regex::ECMAScript | std::regex_constants::__polynomial;

std::regex compile(const std::string& expression, const std::string& key) {
  try {
    if (expression.size() <= kMaxPattern) return std::regex(expression, kSyntax);
  } catch (const std::regex_error& error) {
    throw std::invalid_argument("'" + key + "': '" + expression.substr(0, 80) + "' is no regular expression that zoo reads (" +
                                error.what() + "); name the modules in a list instead");
  }
  throw std::invalid_argument("'" + key + "' is an expression of " + std::to_string(expression.size()) + " bytes; at most " +
                              std::to_string(kMaxPattern));
}

bool ends_in(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

const Json* find(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found == json.end() || found->is_null() ? nullptr : &*found;
}

void read_flag(const Json& json, const char* key, bool& value) {
  const Json* found = find(json, key);
  if (!found) return;
  if (!found->is_boolean()) wrong(key, *found, "true or false");
  value = found->get<bool>();
}

void read_text(const Json& json, const char* key, std::string& value) {
  const Json* found = find(json, key);
  if (!found) return;
  if (!found->is_string()) wrong(key, *found, "a text");
  value = found->get<std::string>();
}

int64_t rank_from(const Json& value, const std::string& key) {
  const bool good = value.is_number_integer() && value.get<double>() >= 1 && value.get<double>() <= double(kMaxRank);
  if (!good) wrong(key, value, "a whole number from 1 to " + std::to_string(kMaxRank));
  return value.get<int64_t>();
}

double finite_from(const Json& value, const std::string& key) {
  if (!value.is_number() || !std::isfinite(value.get<double>()) || std::abs(value.get<double>()) > 1e9) {
    wrong(key, value, "a number of at most 10^9");
  }
  return value.get<double>();
}

std::vector<std::string> texts_from(const Json& json, const char* key) {
  const Json* found = find(json, key);
  if (!found) return {};
  if (found->is_string()) return {found->get<std::string>()};
  if (!found->is_array() || found->size() > 100000) wrong(key, *found, "a list of names");
  std::vector<std::string> names;
  for (const Json& item : *found) {
    if (!item.is_string() || item.get_ref<const std::string&>().size() > kMaxPattern) wrong(key, item, "a name");
    names.push_back(item.get<std::string>());
  }
  return names;
}

// {"expression": value}, in the order of the file, which decides where several match.
template <class Value, class Read>
void read_pattern(const Json& json, const char* key, std::vector<std::pair<std::string, Value>>& to, Read read) {
  const Json* found = find(json, key);
  if (!found) return;
  if (!found->is_object() || found->size() > 100000) wrong(key, *found, "an object of module -> number");
  for (const auto& [name, value] : found->items()) {
    compile("(?:.*\\.)?(?:" + name + ")", key);
    to.emplace_back(name, read(value, key));
  }
}

template <class Value>
const Value* pattern_value(const std::vector<std::pair<std::string, Value>>& patterns, const std::string& path) {
  for (const auto& [name, value] : patterns) {
    if (std::regex_match(path, std::regex("(?:.*\\.)?(?:" + name + ")", kSyntax))) return &value;
  }
  return nullptr;
}

// The number of a path's layer: "encoder.layer.3.attention" -> 3, the first one that stands behind a name.
std::optional<int64_t> layer_of(const std::string& path, const std::vector<std::string>& patterns) {
  const auto number = [&](const std::string& expression) -> std::optional<int64_t> {
    std::smatch match;
    if (!std::regex_search(path, match, compile(expression, "layers_pattern"), std::regex_constants::match_continuous)) return std::nullopt;
    return match[1].length() > 9 ? std::nullopt : std::optional<int64_t>(std::stoll(match[1].str()));
  };
  if (patterns.empty()) return number(R"(.*?\.[^.]*\.(\d+)\.)");
  for (const auto& pattern : patterns) {
    if (const auto found = number("(?:|.*?\\.)(?:" + pattern + ")\\.(\\d+)\\.")) return found;
  }
  return std::nullopt;
}

bool empty_value(const Json& value) {
  return value.is_null() || (value.is_boolean() && !value.get<bool>()) || ((value.is_object() || value.is_array() || value.is_string()) && value.empty());
}

// Keys that do not change what a trained adapter computes.
const std::vector<std::string>& silent_keys() {
  static const std::vector<std::string> keys = {"peft_type", "peft_version", "auto_mapping", "revision", "inference_mode",
      "megatron_config", "megatron_core", "loftq_config", "eva_config", "corda_config", "lora_ga_config", "qalora_group_size",
      "runtime_config", "task_type", "base_model_name_or_path", "ephemeral_gpu_offload"};
  return keys;
}

const std::vector<std::string>& read_keys() {
  static const std::vector<std::string> keys = {"r", "lora_alpha", "lora_dropout", "use_rslora", "use_dora", "lora_bias",
      "fan_in_fan_out", "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "rank_pattern",
      "alpha_pattern", "modules_to_save", "bias", "init_lora_weights"};
  return keys;
}

void refuse_unknown(const Json& json) {
  std::string type = "LORA";
  read_text(json, "peft_type", type);
  if (type != "LORA") wrong("peft_type", type, "LORA (with use_rslora, use_dora, bias or modules_to_save): zoo has no other kind");
  for (const auto& [key, value] : json.items()) {
    const auto among = [&](const std::vector<std::string>& keys) { return std::find(keys.begin(), keys.end(), key) != keys.end(); };
    if (among(read_keys()) || among(silent_keys()) || empty_value(value)) continue;
    throw std::invalid_argument("'" + key.substr(0, 80) + "' is " + shown(value) + "; zoo does not know what it does to the numbers" +
                                nearest_names(key, read_keys()));
  }
}

// These begin by changing the base's weights, so that the adapter does not fit the published ones.
void check_init(const Json& init) {
  if (init.is_boolean()) return;
  const std::string name = init.is_string() ? init.get<std::string>() : "";
  for (const char* harmless : {"gaussian", "eva", "orthogonal", "mica"}) {
    if (name == harmless) return;
  }
  wrong("init_lora_weights", init, "true, false, gaussian, eva, mica or orthogonal; other ways change the base's own weights: save the "
        "adapter again by peft's save_pretrained(..., path_initial_model_for_weight_conversion=...)");
}

void read_layers(const Json& json, AdapterConfig& config) {
  if (const Json* layers = find(json, "layers_to_transform")) {
    const Json list = layers->is_array() ? *layers : Json::array({*layers});
    for (const Json& item : list) {
      if (!item.is_number_integer()) wrong("layers_to_transform", item, "whole numbers");
      config.layers_to_transform.push_back(item.get<int64_t>());
    }
  }
  config.layers_pattern = texts_from(json, "layers_pattern");
}

nlohmann::ordered_json to_json(const ModulePattern& pattern) {
  if (!pattern.expression().empty()) return pattern.expression();
  if (pattern.names().empty()) return nullptr;
  return pattern.names();
}

template <class List>
nlohmann::ordered_json list_or_null(const List& list) {
  return list.empty() ? nlohmann::ordered_json(nullptr) : nlohmann::ordered_json(list);
}

template <class Value>
nlohmann::ordered_json object_of(const std::vector<std::pair<std::string, Value>>& pairs) {
  auto object = nlohmann::ordered_json::object();
  for (const auto& [name, value] : pairs) object[name] = value;
  return object;
}

nlohmann::ordered_json whole_if_possible(double value) {
  if (value == std::floor(value)) return static_cast<int64_t>(value);
  return value;
}

}  // namespace adapter_config_detail

ModulePattern::ModulePattern(std::string expression) : expression_(std::move(expression)) {
  adapter_config_detail::compile(expression_, "target_modules");
}

bool ModulePattern::matches(const std::string& path) const {
  if (!expression_.empty()) return std::regex_match(path, std::regex(expression_, adapter_config_detail::kSyntax));
  for (const auto& name : names_) {
    if (path == name || adapter_config_detail::ends_in(path, "." + name)) return true;
  }
  return false;
}

ModulePattern module_pattern(const nlohmann::json& json, const std::string& key) {
  if (json.is_null()) return {};
  if (json.is_string()) return ModulePattern(json.get<std::string>());
  return ModulePattern(adapter_config_detail::texts_from({{key, json}}, key.c_str()));
}

bool AdapterConfig::saves(const std::string& path) const {
  for (const auto& name : modules_to_save) {
    if (adapter_config_detail::ends_in(path, name)) return true;  // as the reference: not only after a dot
  }
  return false;
}

bool AdapterConfig::targets(const std::string& path) const {
  if (exclude_modules.matches(path)) return false;
  // Nothing inside a module that is kept whole gets a term beside.
  for (size_t end = path.size(); end != std::string::npos; end = path.rfind('.', end - 1)) {
    const std::string module = path.substr(0, end);
    for (const auto& name : modules_to_save) {
      if (module == name || adapter_config_detail::ends_in(module, "." + name)) return false;
    }
    if (end == 0) break;
  }
  if (!target_modules.matches(path)) return false;
  if (layers_to_transform.empty()) return true;
  const auto layer = adapter_config_detail::layer_of(path, layers_pattern);
  return layer && std::find(layers_to_transform.begin(), layers_to_transform.end(), *layer) != layers_to_transform.end();
}

int64_t AdapterConfig::rank(const std::string& path) const {
  const int64_t* own = adapter_config_detail::pattern_value(rank_pattern, path);
  return own ? *own : r;
}

double AdapterConfig::scaling(const std::string& path) const {
  const double* own = adapter_config_detail::pattern_value(alpha_pattern, path);
  const double alpha = own ? *own : lora_alpha, ranks = static_cast<double>(rank(path));
  return alpha / (use_rslora ? std::sqrt(ranks) : ranks);
}

AdapterConfig AdapterConfig::from_json(const nlohmann::json& json) {
  namespace d = adapter_config_detail;
  if (!json.is_object()) throw std::invalid_argument("is not a JSON object");
  d::refuse_unknown(json);
  AdapterConfig config;
  if (const auto* r = d::find(json, "r")) config.r = d::rank_from(*r, "r");
  if (const auto* alpha = d::find(json, "lora_alpha")) config.lora_alpha = d::finite_from(*alpha, "lora_alpha");
  if (const auto* dropout = d::find(json, "lora_dropout")) {
    config.lora_dropout = d::finite_from(*dropout, "lora_dropout");
    if (config.lora_dropout < 0.0 || config.lora_dropout > 1.0) d::wrong("lora_dropout", *dropout, "a share from 0 to 1");
  }
  d::read_flag(json, "use_rslora", config.use_rslora);
  d::read_flag(json, "use_dora", config.use_dora);
  d::read_flag(json, "lora_bias", config.lora_bias);
  d::read_flag(json, "fan_in_fan_out", config.fan_in_fan_out);
  if (config.use_dora && config.lora_bias) throw std::invalid_argument("'lora_bias' together with 'use_dora' is not defined");
  if (const auto* targets = d::find(json, "target_modules")) config.target_modules = module_pattern(*targets, "target_modules");
  if (const auto* excluded = d::find(json, "exclude_modules")) config.exclude_modules = module_pattern(*excluded, "exclude_modules");
  d::read_layers(json, config);
  d::read_pattern(json, "rank_pattern", config.rank_pattern, d::rank_from);
  d::read_pattern(json, "alpha_pattern", config.alpha_pattern, d::finite_from);
  config.modules_to_save = d::texts_from(json, "modules_to_save");
  d::read_text(json, "bias", config.bias);
  if (config.bias != "none" && config.bias != "all" && config.bias != "lora_only") d::wrong("bias", config.bias, "none, all or lora_only");
  if (const auto* init = d::find(json, "init_lora_weights")) config.init_lora_weights = *init;
  d::check_init(config.init_lora_weights);
  d::read_text(json, "base_model_name_or_path", config.base_model_name_or_path);
  d::read_text(json, "task_type", config.task_type);
  if (const auto* mapping = d::find(json, "auto_mapping"); mapping && mapping->is_object()) d::read_text(*mapping, "base_model_class", config.base_class);
  return config;
}

nlohmann::ordered_json AdapterConfig::to_json() const {
  namespace d = adapter_config_detail;
  const auto text_or_null = [](const std::string& text) { return text.empty() ? nlohmann::ordered_json(nullptr) : nlohmann::ordered_json(text); };
  return {{"peft_type", "LORA"}, {"task_type", text_or_null(task_type)},
          {"auto_mapping", base_class.empty() ? nlohmann::ordered_json(nullptr) : nlohmann::ordered_json{{"base_model_class", base_class}}},
          {"base_model_name_or_path", text_or_null(base_model_name_or_path)}, {"revision", nullptr}, {"inference_mode", true},
          {"r", r}, {"lora_alpha", d::whole_if_possible(lora_alpha)}, {"lora_dropout", lora_dropout},
          {"target_modules", d::to_json(target_modules)}, {"exclude_modules", d::to_json(exclude_modules)},
          {"layers_to_transform", d::list_or_null(layers_to_transform)}, {"layers_pattern", d::list_or_null(layers_pattern)},
          {"rank_pattern", d::object_of(rank_pattern)}, {"alpha_pattern", d::object_of(alpha_pattern)},
          {"modules_to_save", d::list_or_null(modules_to_save)}, {"bias", bias}, {"use_rslora", use_rslora}, {"use_dora", use_dora},
          {"lora_bias", lora_bias}, {"fan_in_fan_out", fan_in_fan_out}, {"init_lora_weights", init_lora_weights}};
}

}  // namespace zoo::weights
