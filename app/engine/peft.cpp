#include "app/engine/peft.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>
#include <unordered_set>

#include "app/cli.h"
#include "app/engine/peft_plan.h"
#include "app/head.h"
#include "models/blocks/lora.h"
#include "models/blocks/transposed_linear.h"
#include "models/names.h"
#include "models/registry.h"
#include "weights/mapped_tensor.h"

namespace zoo::app {
namespace peft_detail {

using weights::shape_text;

struct LayerAt {
  std::string path;
  std::shared_ptr<AdaptableLayer> layer;
};

// Every layer that can be adapted, once, in the network's order.
std::vector<LayerAt> adaptable_layers(const Model& model) {
  std::vector<LayerAt> found;
  std::unordered_set<const void*> seen;
  for (const auto& item : model.named_modules("", /*include_self=*/false)) {
    auto layer = std::dynamic_pointer_cast<AdaptableLayer>(item.value());
    if (layer && seen.insert(layer.get()).second) found.push_back({item.key(), layer});
  }
  return found;
}

std::map<std::string, at::Tensor> tensors_of(const Model& model) {
  std::map<std::string, at::Tensor> tensors;
  for (const auto& item : model.named_parameters()) tensors.emplace(item.key(), item.value());
  for (const auto& item : model.named_buffers()) tensors.emplace(item.key(), item.value());
  return tensors;
}

std::string parent(const std::string& key) { return key.substr(0, key.rfind('.') == std::string::npos ? 0 : key.rfind('.')); }
bool ends_in(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}
// Batch norms go on counting in training, frozen or not.
bool is_statistic(const std::string& key) { return ends_in(key, ".running_mean") || ends_in(key, ".running_var"); }
bool is_bias(const std::string& key) { return key == "bias" || ends_in(key, ".bias"); }

// ---- names ----

// An adapter's names in the network: as they are, with or without the prefix of the base model, or through the card's
// layouts (an adapter that was made on other module names of the same network).
class Names {
 public:
  explicit Names(const Bundle& bundle) : layouts_(layouts_of(*bundle.entry)), prefix_(base_prefix_of(*bundle.entry, bundle.config)) {
    for (const auto& [key, tensor] : tensors_of(*bundle.model)) keys_.insert(key);
    if (!prefix_.empty()) prefix_ += '.';
  }

  // Empty when the network has no such tensor.
  std::string value(const std::string& key) const { return find(key, /*reshaping=*/false); }
  std::string layer(const std::string& path) const { return parent(find(path + ".weight", /*reshaping=*/true)); }

 private:
  std::string find(const std::string& key, bool reshaping) const {
    if (const std::string found = with_prefix(key); !found.empty()) return found;
    for (const auto& layout : layouts_) {
      // A whole tensor would have to be transposed or split too; low-rank factors are the same either way.
      if (!reshaping && (!layout.transpose.empty() || !layout.split.empty())) continue;
      if (const std::string found = with_prefix(layout.map_key(key)); !found.empty()) return found;
    }
    return "";
  }
  std::string with_prefix(const std::string& key) const {
    if (keys_.count(key)) return key;
    if (prefix_.empty()) return "";
    if (keys_.count(prefix_ + key)) return prefix_ + key;
    const bool inside = key.compare(0, prefix_.size(), prefix_) == 0;
    return inside && keys_.count(key.substr(prefix_.size())) ? key.substr(prefix_.size()) : "";
  }

  std::set<std::string> keys_;
  std::vector<weights::Layout> layouts_;
  std::string prefix_;
};

// ---- one layer ----

std::shared_ptr<LoraImpl> make_term(const weights::AdapterConfig& config, const std::string& path, const AdaptableLayer& layer, double weight) {
  const LoraShape shape{config.rank(path), config.scaling(path) * weight, config.lora_dropout, config.lora_bias};
  std::shared_ptr<LoraImpl> term;
  if (config.use_dora) term = std::make_shared<DoraImpl>(shape, layer);
  else term = std::make_shared<LoraImpl>(shape, layer);
  return term;
}

void to_layer(LoraImpl& term, const AdaptableLayer& layer) {
  term.to(layer.weight.device());
  term.train(layer.is_training());
}

// What peft writes as fan_in_fan_out. It goes by the layers whatever the file says, and so does zoo: there is nothing to choose.
bool stored_transposed(const AdaptableLayer& layer) { return dynamic_cast<const TransposedLinearImpl*>(&layer) != nullptr; }

// The first misfit of an adapter's tensors and a layer, or empty text.
std::string misfit(const weights::LowRank& read, const AdaptableLayer& layer) {
  const auto a = read.a.sizes(), b = read.b.sizes();
  const at::Tensor own = layer.outputs_first();
  const auto weight = own.sizes();
  if (a.size() == weight.size() && a.slice(1) == weight.slice(1) && b[0] == weight[0]) return "";
  return "lora_A " + shape_text(a) + ", lora_B " + shape_text(b) + "; the layer's weight is " + shape_text(weight);
}

void fill(at::Tensor& to, const at::Tensor& from) {
  if (to.defined()) to.copy_(from.view_as(to));
}

// ---- a read adapter against a network ----

class Attachment {
 public:
  Attachment(Bundle& bundle, const weights::Adapter& adapter) : bundle_(bundle), adapter_(adapter), names_(bundle) {
    for (auto& found : adaptable_layers(*bundle.model)) layers_.emplace(found.path, found.layer);
    tensors_ = tensors_of(*bundle.model);
  }

  void check() {
    for (const auto& [path, read] : adapter_.layers) check_layer(path, read);
    for (const auto& [key, read] : adapter_.values) check_value(key, read);
    for (const auto& [path, layer] : layers_) {
      if (adapter_.config.targets(path) && !terms_.count(path) && !misfits_.count(path)) problem(path, "adapter_config.json targets it, but the adapter has no tensors for it");
    }
    if (!problems_.empty()) fail();
  }

  void apply(double weight, bool trained) {
    at::NoGradGuard no_grad;
    AttachedAdapter attached;
    attached.config = own_config();
    if (trained) attached.config.base_model_name_or_path = std::filesystem::weakly_canonical(bundle_.folder).string();
    attached.source = adapter_.folder.string();
    attached.weight = weight;
    attached.name = "adapter" + std::to_string(bundle_.adapters.size());
    attached.trained = trained;
    for (const auto& [path, source] : terms_) {
      const auto& read = adapter_.layers.at(source);
      auto& layer = *layers_.at(path);
      auto term = make_term(adapter_.config, source, layer, weight);
      fill(term->a, read.a);
      fill(term->b, read.b);
      fill(term->b_bias, read.b_bias);
      if (auto* dora = dynamic_cast<DoraImpl*>(term.get())) fill(dora->magnitude, read.magnitude);
      to_layer(*term, layer);
      layer.attach(attached.name, term);
      attached.layers.push_back(path);
      attached.config.fan_in_fan_out = attached.config.fan_in_fan_out || stored_transposed(layer);
    }
    for (const auto& [key, source] : values_) {
      auto& tensor = tensors_.at(key);
      tensor.set_data(adapter_.values.at(source).to(tensor.device(), tensor.scalar_type()).contiguous());
      attached.values.push_back(key);
    }
    bundle_.adapters.push_back(std::move(attached));
  }

 private:
  void problem(const std::string& name, const std::string& what) { problems_.push_back(name + ": " + what); }

  void check_layer(const std::string& path, const weights::LowRank& read) {
    const std::string own = names_.layer(path);
    const auto found = layers_.find(own);
    if (own.empty()) return ++unknown_, problem(path, "the network has no such layer");
    if (found == layers_.end()) return problem(path, "is no layer that zoo adapts (linear layers and 2-D convolutions are)");
    const std::string text = misfit(read, *found->second);
    if (!text.empty()) {
      ++other_shapes_;
      misfits_.insert(own);
      return problem(path, text);
    }
    if (!terms_.emplace(own, path).second) problem(path, "is the layer " + own + ", for which the adapter has other tensors too");
  }

  void check_value(const std::string& key, const at::Tensor& read) {
    const std::string own = names_.value(key);
    if (own.empty()) return unknown_ += adapter_.layers.empty(), problem(key, "the network has no such tensor");
    const auto& tensor = tensors_.at(own);
    if (tensor.sizes() != read.sizes()) return other_shapes_ += adapter_.layers.empty(), problem(key, shape_text(read.sizes()) + "; the network's is " + shape_text(tensor.sizes()));
    for (const auto& earlier : bundle_.adapters) {
      const bool taken = std::find(earlier.values.begin(), earlier.values.end(), own) != earlier.values.end();
      if (taken && !at::equal(tensor.cpu().to(at::kFloat), read.to(at::kFloat))) return problem(key, earlier.source + " holds other values for it; only one adapter can replace a tensor");
    }
    values_.emplace(own, key);
  }

  // Whether it is another network, another size of the same one, or neither: by the layers where there are any.
  std::string verdict() const {
    const size_t layers = adapter_.layers.size(), all = layers > 0 ? layers : adapter_.values.size();
    const std::string counts = std::to_string(problems_.size()) + " misfits among its " + std::to_string(layers) + " layers and " +
                               std::to_string(adapter_.values.size()) + " whole tensors";
    if (unknown_ == all && !layers_.empty()) {
      const std::string example = layers > 0 ? adapter_.layers.begin()->first : adapter_.values.begin()->first;
      std::string own;  // the longest name says most
      for (const auto& [path, layer] : layers_)
        if (path.size() > own.size()) own = path;
      return "it was made for another network, where they are called such as '" + example.substr(0, 200) + "' (this one's: '" + own + "'): " + counts;
    }
    return (unknown_ == 0 && other_shapes_ > 0 ? "it was made for a network of another size: " : "") + counts;
  }

  [[noreturn]] void fail() const {
    constexpr size_t kShown = 5;
    const std::string base = adapter_.config.base_model_name_or_path, folder = adapter_.folder.string();
    std::string text = "the adapter " + folder + " does not fit the network " + bundle_.entry->name + " of " + bundle_.spec + ": " + verdict();
    for (size_t i = 0; i < std::min(kShown, problems_.size()); ++i) text += "\n  " + problems_[i];
    if (problems_.size() > kShown) text += "\n  ... and " + std::to_string(problems_.size() - kShown) + " more";
    text += other_sizes(adapter_.folder, bundle_.folder);
    text += base.empty() ? "\nits adapter_config.json does not name the base that it was made for" : "\nit was made for the base '" + base.substr(0, 200) + "'";
    throw std::runtime_error(text + "; give that network: zoo run BASE --adapter " + folder);
  }

  // Its settings in this network's names, for saving it again.
  weights::AdapterConfig own_config() const {
    auto config = adapter_.config;
    config.fan_in_fan_out = false;
    const bool renamed = std::any_of(terms_.begin(), terms_.end(), [](const auto& term) { return term.first != term.second; });
    if (!renamed) return config;
    std::vector<std::string> paths;
    config.rank_pattern.clear();
    config.alpha_pattern.clear();
    for (const auto& [path, source] : terms_) {
      const int64_t rank = adapter_.config.rank(source);
      const double ranks = static_cast<double>(rank);
      paths.push_back(path);
      config.rank_pattern.emplace_back(path, rank);
      config.alpha_pattern.emplace_back(path, adapter_.config.scaling(source) * (config.use_rslora ? std::sqrt(ranks) : ranks));
    }
    config.target_modules = weights::ModulePattern(paths);
    config.exclude_modules = {};
    config.layers_to_transform.clear();
    config.layers_pattern.clear();
    return config;
  }

  Bundle& bundle_;
  const weights::Adapter& adapter_;
  const Names names_;
  std::map<std::string, std::shared_ptr<AdaptableLayer>> layers_;
  std::map<std::string, at::Tensor> tensors_;
  std::map<std::string, std::string> terms_, values_;  // the network's name -> the adapter's
  std::vector<std::string> problems_;
  std::set<std::string> misfits_;           // layers of the network whose tensors were there, but did not fit
  size_t unknown_ = 0, other_shapes_ = 0;  // layers (without any: whole tensors) that are not there; that have other shapes
};

// Gradients for the trained adapter alone.
void leave_gradients_to(Bundle& bundle, const AttachedAdapter& adapter) {
  const std::set<std::string> whole(adapter.values.begin(), adapter.values.end());
  const std::string inside = "." + adapter.name + ".";
  for (auto& item : bundle.model->named_parameters()) {
    const bool trained = whole.count(item.key()) > 0 || item.key().find(inside) != std::string::npos;
    item.value().set_requires_grad(trained && item.value().is_floating_point());
  }
}

// ---- a fresh adapter ----

// Modules that hold the head, and those whose tensors the checkpoint did not have.
std::vector<std::string> modules_to_keep(const Bundle& bundle, bool head) {
  std::vector<std::string> modules;
  const auto add = [&](const std::string& key) {
    const std::string module = parent(key);
    if (module.empty()) throw UsageError("peft: '" + key + "' has no value in " + bundle.spec + " and belongs to no module that an adapter could keep; train the whole network instead");
    if (std::find(modules.begin(), modules.end(), module) == modules.end()) modules.push_back(module);
  };
  for (const auto& item : bundle.model->named_parameters()) {
    for (const auto& prefix : head_prefixes(*bundle.entry)) {
      if (head && item.key().compare(0, prefix.size(), prefix) == 0) add(item.key());
    }
  }
  for (const auto& key : bundle.report.missing) add(key);
  for (const auto& item : bundle.report.mismatched) add(item.key);
  return modules;
}

std::string task_type_of(const std::string& task) {
  const std::map<std::string, std::string> types = {{"text_classification", "SEQ_CLS"}, {"token_classification", "TOKEN_CLS"}, {"question_answering", "QUESTION_ANS"},
                                                    {"generate", "CAUSAL_LM"}, {"seq2seq", "SEQ_2_SEQ_LM"}, {"embedding", "FEATURE_EXTRACTION"}};
  const auto found = types.find(task);
  return found == types.end() ? "" : found->second;
}

weights::AdapterConfig fresh_config(const Bundle& bundle, const PeftOptions& options) {
  weights::AdapterConfig config = options.config;
  config.base_model_name_or_path = std::filesystem::weakly_canonical(bundle.folder).string();
  config.task_type = task_type_of(bundle.task);
  for (const auto& module : modules_to_keep(bundle, options.head)) {
    if (!config.saves(module)) config.modules_to_save.push_back(module);
  }
  if (config.target_modules.expression() != weights::kAllLinear) return config;
  std::vector<std::string> linear;
  config.target_modules = weights::ModulePattern(".*");
  for (const auto& [path, layer] : adaptable_layers(*bundle.model)) {
    // A weight without a gradient is one that the network itself never uses (modules that a reference only copies).
    const bool used = layer->weight.requires_grad();
    if (used && std::dynamic_pointer_cast<LinearLayer>(layer) && config.targets(path)) linear.push_back(path);
  }
  config.target_modules = linear.empty() ? weights::ModulePattern(weights::kAllLinear) : weights::ModulePattern(linear);
  return config;
}

[[noreturn]] void nothing_targeted(const Bundle& bundle, const weights::AdapterConfig& config) {
  std::set<std::string> names;  // the last parts of paths: what people write
  for (const auto& [path, layer] : adaptable_layers(*bundle.model)) names.insert(path.substr(path.rfind('.') + 1));
  const auto& pattern = config.target_modules;
  const std::string wanted = pattern.expression().empty() ? join(pattern.names()) : pattern.expression();
  throw UsageError("peft: target_modules '" + wanted.substr(0, 200) + "' matches no linear layer or 2-D convolution of " + bundle.entry->name + "; nearest: " +
                   join(nearest(pattern.names().empty() ? wanted : pattern.names().front(), {names.begin(), names.end()})) +
                   " (a name stands for all layers whose path ends in it)");
}

void attach_fresh(Bundle& bundle, AttachedAdapter& attached) {
  auto& config = attached.config;
  config.fan_in_fan_out = false;
  for (const auto& [path, layer] : adaptable_layers(*bundle.model)) {
    if (!config.targets(path)) continue;
    auto term = make_term(config, path, *layer, 1.0);
    term->to(layer->weight.device());
    if (config.init_lora_weights == "gaussian") term->init_gaussian();
    else term->init();
    if (auto* dora = dynamic_cast<DoraImpl*>(term.get())) dora->init_magnitude(*layer);
    to_layer(*term, *layer);
    layer->attach(attached.name, term);
    attached.layers.push_back(path);
    config.fan_in_fan_out = config.fan_in_fan_out || stored_transposed(*layer);
  }
}

// Keys of kept modules, of biases where they are trained, and of statistics.
std::vector<std::string> whole_keys(const Bundle& bundle, const AttachedAdapter& attached) {
  const auto& config = attached.config;
  const std::set<std::string> layers(attached.layers.begin(), attached.layers.end());
  const std::string inside = "." + attached.name + ".";
  std::vector<std::string> keys;
  for (const auto& [key, tensor] : tensors_of(*bundle.model)) {
    if (key.find(inside) != std::string::npos || !tensor.is_floating_point()) continue;
    bool kept = is_statistic(key);
    kept = kept || (is_bias(key) && (config.bias == "all" || (config.bias == "lora_only" && layers.count(parent(key)))));
    for (std::string module = parent(key); !kept && !module.empty(); module = parent(module)) kept = config.saves(module);
    if (kept) keys.push_back(key);
  }
  return keys;
}

void same_settings(const Bundle& bundle, const PeftOptions& options) {
  const auto& there = bundle.adapters.front().config;
  const Json wanted = Json(options.config.to_json()), seen = Json(there.to_json());
  for (const char* key : {"r", "lora_alpha", "lora_dropout", "use_rslora", "use_dora", "bias"}) {
    if (wanted.at(key) == seen.at(key)) continue;
    throw UsageError("recipe: peft: '" + std::string(key) + "' is " + wanted.at(key).dump() + ", but " + bundle.spec + " holds an adapter with " +
                     seen.at(key).dump() + "; leave 'peft' out to train that one on, or name its base as the model");
  }
}

}  // namespace peft_detail

void start_adapter(Bundle& bundle, const PeftOptions& options) {
  namespace d = peft_detail;
  if (!options.active()) return;
  if (!bundle.adapters.empty()) return d::same_settings(bundle, options);
  if (bundle.folder.empty()) {
    throw UsageError("peft: the model is " + bundle.spec + ", whose fresh weights an adapter does not keep; name a checkpoint folder");
  }
  AttachedAdapter attached;
  attached.config = d::fresh_config(bundle, options);
  attached.source = bundle.spec;
  attached.name = "adapter0";
  attached.trained = true;
  d::attach_fresh(bundle, attached);
  const bool targeted = attached.config.target_modules.expression() != weights::kNoTargets;
  if (targeted && attached.layers.empty()) d::nothing_targeted(bundle, attached.config);
  attached.values = d::whole_keys(bundle, attached);
  if (attached.layers.empty() && attached.values.empty()) {
    throw UsageError("peft: " + bundle.entry->name + " for " + bundle.task + " has no head to train; name modules in peft.modules_to_save, or use another method");
  }
  d::leave_gradients_to(bundle, attached);
  bundle.adapters.push_back(std::move(attached));
  const auto& made = bundle.adapters.back();
  spdlog::info("adapter: {} layers with low-rank terms, {} whole tensors, {} of {} parameters trained", made.layers.size(), made.values.size(),
               current_adapter(bundle).parameters(), parameter_count(*bundle.model));
}

void attach_adapter(Bundle& bundle, const weights::Adapter& adapter, double weight, bool trained) {
  peft_detail::Attachment attachment(bundle, adapter);
  attachment.check();
  attachment.apply(weight, trained);
  if (trained) peft_detail::leave_gradients_to(bundle, bundle.adapters.back());
}

std::set<std::string> kept_keys(const Bundle& bundle, const weights::Adapter& adapter) {
  const peft_detail::Names names(bundle);
  std::set<std::string> keys;
  for (const auto& [key, tensor] : adapter.values) keys.insert(names.value(key));
  keys.erase("");
  return keys;
}

weights::Adapter current_adapter(const Bundle& bundle) {
  const auto& attached = bundle.adapters.back();
  weights::Adapter adapter;
  adapter.config = attached.config;
  const auto tensors = peft_detail::tensors_of(*bundle.model);
  const auto find = [&](const std::string& key) {
    const auto found = tensors.find(key);
    return found == tensors.end() ? at::Tensor() : found->second.detach();
  };
  for (const auto& path : attached.layers) {
    const std::string term = path + "." + attached.name + ".";
    auto& layer = adapter.layers[path];
    layer = {find(term + "lora_A.weight"), find(term + "lora_B.weight"), find(term + "lora_B.bias"), find(term + "lora_magnitude_vector")};
  }
  for (const auto& key : attached.values) adapter.values.emplace(key, find(key));
  return adapter;
}

void restore_adapter(Bundle& bundle, const weights::Adapter& saved) {
  at::NoGradGuard no_grad;
  const auto differ = [&](const std::string& name) {
    return std::runtime_error(saved.folder.string() + ": '" + name + "' is not in the adapter of the recipe in this shape");
  };
  if (bundle.adapters.empty()) throw std::runtime_error(saved.folder.string() + ": holds an adapter, but the recipe trains the whole network");
  auto now = current_adapter(bundle);
  const auto copy = [&](at::Tensor to, const at::Tensor& from, const std::string& name) {
    if (to.defined() != from.defined() || (to.defined() && to.numel() != from.numel())) throw differ(name);
    if (to.defined()) to.copy_(from.view_as(to));
  };
  for (const auto& [path, layer] : saved.layers) {
    const auto found = now.layers.find(path);
    if (found == now.layers.end()) throw differ(path);
    copy(found->second.a, layer.a, path);
    copy(found->second.b, layer.b, path);
    copy(found->second.b_bias, layer.b_bias, path);
    copy(found->second.magnitude, layer.magnitude, path);
  }
  for (const auto& [key, tensor] : saved.values) {
    const auto found = now.values.find(key);
    if (found == now.values.end()) throw differ(key);
    copy(found->second, tensor, key);
  }
  if (saved.layers.size() != now.layers.size() || saved.values.size() != now.values.size()) {
    throw std::runtime_error(saved.folder.string() + ": holds fewer tensors than the adapter of the recipe");
  }
}

void merge_adapters(Bundle& bundle) {
  for (const auto& [path, layer] : peft_detail::adaptable_layers(*bundle.model)) layer->merge_adapters();
  bundle.adapters.clear();
}

const std::vector<std::string>& peft_methods() {
  static const std::vector<std::string> names = {"lora", "dora", "bias", "head"};
  return names;
}

PeftOptions read_peft(const Json& json) {
  PeftOptions options;
  Json settings = json;
  if (!settings.is_object()) throw std::invalid_argument("is not an object");
  if (settings.contains("method")) {
    if (!settings["method"].is_string()) throw std::invalid_argument("'method' is not a text; expected one of " + join(peft_methods()));
    options.method = settings["method"].get<std::string>();
    settings.erase("method");
  } else if (!settings.empty()) {
    throw std::invalid_argument("'method' is missing; expected one of " + join(peft_methods()));
  }
  if (options.method.empty() || options.method == "none") return PeftOptions();
  const auto& methods = peft_methods();
  if (std::find(methods.begin(), methods.end(), options.method) == methods.end()) {
    throw std::invalid_argument("'method' is '" + options.method.substr(0, 80) + "'; expected one of " + join(methods));
  }
  for (const auto& [brief, full] : {std::pair{"alpha", "lora_alpha"}, {"dropout", "lora_dropout"}}) {
    if (!settings.contains(brief)) continue;
    if (settings.contains(full)) throw std::invalid_argument("'" + std::string(brief) + "' and '" + full + "' are the same setting; give one");
    settings[full] = settings[brief];
    settings.erase(brief);
  }
  options.head = !settings.contains("modules_to_save") || settings["modules_to_save"].is_null();
  const bool low_rank = options.method == "lora" || options.method == "dora";
  if (!low_rank) settings["target_modules"] = weights::kNoTargets;
  else if (!settings.contains("target_modules") || settings["target_modules"].is_null()) settings["target_modules"] = weights::kAllLinear;
  if (options.method == "bias") settings["bias"] = "all";
  if (options.method == "dora") settings["use_dora"] = true;
  options.config = weights::AdapterConfig::from_json(nlohmann::json(settings));
  return options;
}

Json write_peft(const PeftOptions& options) {
  if (!options.active()) return nullptr;
  Json json = {{"method", options.method}};
  const Json all = Json(options.config.to_json());
  const bool low_rank = options.method == "lora" || options.method == "dora";
  for (const auto& [key, value] : all.items()) {
    const bool about_rank = key != "modules_to_save" && key != "bias";
    if ((about_rank && !low_rank) || key == "peft_type" || key == "inference_mode" || value.is_null()) continue;
    json[key == "lora_alpha" ? "alpha" : key == "lora_dropout" ? "dropout" : key] = value;
  }
  if (!options.head && !json.contains("modules_to_save")) json["modules_to_save"] = Json::array();
  return json;
}

}  // namespace zoo::app
