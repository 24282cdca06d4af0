// Adapters in the folder layout of Python's peft (read and written as 0.21 does): adapter_config.json and
// adapter_model.safetensors. What fits a network is not known here.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace zoo::weights {

// Which modules are meant, by their dotted paths: a list of names, each of which a path equals or ends in (after a dot), or
// a regular expression for whole paths.
class ModulePattern {
 public:
  ModulePattern() = default;
  explicit ModulePattern(std::vector<std::string> names) : names_(std::move(names)) {}
  // Throws std::invalid_argument for a pattern that ECMAScript's expressions do not know.
  explicit ModulePattern(std::string expression);

  bool matches(const std::string& path) const;
  bool empty() const { return names_.empty() && expression_.empty(); }
  const std::vector<std::string>& names() const { return names_; }
  const std::string& expression() const { return expression_; }

 private:
  std::vector<std::string> names_;
  std::string expression_;
};

// A text or a list of texts, as target_modules; an empty pattern for null. `key` is for messages.
ModulePattern module_pattern(const nlohmann::json& json, const std::string& key);

// What peft calls a pattern that matches nothing on purpose: adapters of biases and heads alone.
constexpr const char* kNoTargets = "dummy-target-modules";
constexpr const char* kAllLinear = "all-linear";

// The keys of adapter_config.json that decide numbers, under peft's names.
struct AdapterConfig {
  int64_t r = 8;
  double lora_alpha = 8.0, lora_dropout = 0.0;
  bool use_rslora = false, use_dora = false, lora_bias = false, fan_in_fan_out = false;
  ModulePattern target_modules, exclude_modules;
  std::vector<int64_t> layers_to_transform;
  std::vector<std::string> layers_pattern;
  std::vector<std::pair<std::string, int64_t>> rank_pattern;  // expression for the end of a path -> rank
  std::vector<std::pair<std::string, double>> alpha_pattern;
  std::vector<std::string> modules_to_save;  // ends of paths of modules that are kept whole
  std::string bias = "none";                 // none, all, lora_only
  nlohmann::json init_lora_weights = true;
  std::string base_model_name_or_path, task_type;
  std::string base_class;  // auto_mapping.base_model_class

  bool targets(const std::string& path) const;  // whether the module of this path gets a low-rank term
  bool saves(const std::string& path) const;    // whether the module of this path is kept whole
  int64_t rank(const std::string& path) const;
  double scaling(const std::string& path) const;  // alpha / r, with rsLoRA alpha / sqrt(r)

  // Throws std::invalid_argument for wrong types, values out of range, and for settings that change the result in a way
  // that zoo does not compute (their names are in the message).
  static AdapterConfig from_json(const nlohmann::json& json);
  nlohmann::ordered_json to_json() const;
};

// The low-rank tensors of one layer; those that the adapter does not have are undefined.
struct LowRank {
  at::Tensor a, b, b_bias, magnitude;  // [r, in, ...], [out, r, 1 ...], [out], [out]
};

struct Adapter {
  std::filesystem::path folder;
  AdapterConfig config;
  std::map<std::string, LowRank> layers;      // by path in the network that it was made for
  std::map<std::string, at::Tensor> values;   // whole tensors by their key there: kept modules and biases

  int64_t parameters() const;
};

bool is_adapter_folder(const std::filesystem::path& folder);  // holds adapter_config.json

AdapterConfig read_adapter_config(const std::filesystem::path& folder);

// Without copying tensors. Throws std::runtime_error that names the file and the tensor: keys of another kind than those
// above, shapes that contradict each other or the rank that the config says.
Adapter load_adapter(const std::filesystem::path& folder);

// Each of the two files appears complete or not at all; the config comes last.
void save_adapter(const std::filesystem::path& folder, const Adapter& adapter);

}  // namespace zoo::weights
