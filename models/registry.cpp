#include "models/registry.h"

#include <stdexcept>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "models/names.h"

namespace zoo {

std::vector<std::pair<std::string_view, std::string_view>> embedded_cards();  // generated from models/**/*.json

// One line per network here and one in registry(); a test compares both with the folder.
namespace albert { Entry entry(); }
namespace aquacast { Entry entry(); }
namespace bart { Entry entry(); }
namespace bert { Entry entry(); }
namespace cct { Entry entry(); }
namespace encoder_decoder { Entry entry(); }
namespace gpt2 { Entry entry(); }
namespace informer { Entry entry(); }
namespace informer_for_prediction { Entry entry(); }
namespace itransformer { Entry entry(); }
namespace mpnet { Entry entry(); }
namespace performer_bilstm { Entry entry(); }
namespace resnet { Entry entry(); }
namespace roberta { Entry entry(); }
namespace swin { Entry entry(); }
namespace t5 { Entry entry(); }
namespace timexer { Entry entry(); }
namespace tsfm_scaling_laws { Entry entry(); }
namespace vit { Entry entry(); }
namespace zecoler { Entry entry(); }

const std::vector<Entry>& registry() {
  static const std::vector<Entry> entries = {
      albert::entry(),
      aquacast::entry(),
      bart::entry(),
      bert::entry(),
      cct::entry(),
      encoder_decoder::entry(),
      gpt2::entry(),
      informer::entry(),
      informer_for_prediction::entry(),
      itransformer::entry(),
      mpnet::entry(),
      performer_bilstm::entry(),
      resnet::entry(),
      roberta::entry(),
      swin::entry(),
      t5::entry(),
      timexer::entry(),
      tsfm_scaling_laws::entry(),
      vit::entry(),
      zecoler::entry(),
  };
  return entries;
}

namespace {

const std::map<std::string, Json>& cards() {
  static const std::map<std::string, Json> parsed = [] {
    std::map<std::string, Json> all;
    for (const auto& [name, text] : embedded_cards()) all.emplace(name, Json::parse(text));
    return all;
  }();
  return parsed;
}

bool lists(const Json& card, const char* key, const std::string& name) {
  const auto found = card.find(key);
  return found != card.end() && std::find(found->begin(), found->end(), Json(name)) != found->end();
}

std::string text_or_empty(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::string first_architecture(const Json& config) {
  const auto found = config.find("architectures");
  const bool named = found != config.end() && found->is_array() && !found->empty() && found->front().is_string();
  return named ? found->front().get<std::string>() : std::string();
}

size_t shared_start(const std::string& a, const std::string& b) {
  size_t n = 0;
  while (n < a.size() && n < b.size() && a[n] == b[n]) ++n;
  return n;
}

}  // namespace

const Json& card(const std::string& name) {
  const auto found = cards().find(name);
  if (found == cards().end()) throw std::logic_error("network '" + name + "' has no JSON card beside its source");
  return found->second;
}

const Entry& find_entry(const std::string& name) {
  std::vector<std::string> known;
  for (const auto& entry : registry()) {
    if (entry.name == name || lists(card(entry.name), "aliases", name)) return entry;
    known.push_back(entry.name);
    for (const auto& alias : card(entry.name).value("aliases", Json::array())) known.push_back(alias.get<std::string>());
  }
  throw std::invalid_argument("unknown network '" + name.substr(0, 80) + "'; nearest: " + join(nearest(name, known)) +
                              " (zoo list shows all)");
}

const Entry& entry_for_config(const Json& config) {
  if (!config.is_object()) throw std::invalid_argument("config.json is not a JSON object");
  const std::string architecture = first_architecture(config);
  const std::string type = text_or_empty(config, "model_type");
  std::vector<std::string> known;
  for (const auto& entry : registry()) {
    const auto& architectures = card(entry.name).at("architectures");
    if (architectures.contains(architecture)) return entry;
    for (const auto& [name, task] : architectures.items()) known.push_back(name);
  }
  for (const auto& entry : registry()) {
    if (architecture.empty() && lists(card(entry.name), "model_types", type)) return entry;
  }
  if (architecture.empty() && type.empty()) {
    throw std::invalid_argument("config.json names neither \"architectures\" nor \"model_type\"; known architectures: " + join(known));
  }
  const std::string name = architecture.empty() ? type : architecture;
  throw std::invalid_argument("config.json asks for '" + name.substr(0, 80) + "', which zoo does not implement; nearest: " +
                              join(nearest(name, known)) + " (zoo list shows all)");
}

std::vector<std::string> variants(const std::string& name) {
  std::vector<std::string> names;
  for (const auto& [variant, config] : card(name).at("variants").items()) names.push_back(variant);
  return names;
}

Json variant_config(const Entry& entry, const std::string& variant) {
  const auto& known = card(entry.name).at("variants");
  const std::string chosen = variant.empty() ? known.begin().key() : variant;
  if (!known.contains(chosen)) {
    throw std::invalid_argument(entry.name + ": unknown variant '" + chosen.substr(0, 80) + "'; nearest: " +
                                join(nearest(chosen, variants(entry.name))) + " (known: " + join(variants(entry.name)) + ")");
  }
  Json config = known.at(chosen);
  const auto& card_json = card(entry.name);
  if (!config.contains("architectures")) config["architectures"] = {card_json.at("architectures").begin().key()};
  if (!config.contains("model_type")) config["model_type"] = card_json.at("model_types").front();
  return config;
}

std::string task_of(const Entry& entry, const Json& config) {
  const auto& architectures = card(entry.name).at("architectures");
  const std::string name = first_architecture(config);
  if (architectures.contains(name)) return architectures.at(name).get<std::string>();
  return architectures.begin().value().get<std::string>();
}

std::string base_prefix_of(const Entry& entry, const Json& config) {
  const Json& known = card(entry.name);
  const Json single = known.value("base_prefixes", Json::object());
  const auto found = single.find(first_architecture(config));
  return found != single.end() ? found->get<std::string>() : known.value("base_prefix", "");
}

std::vector<std::string> tasks_of(const Entry& entry) {
  std::vector<std::string> tasks;
  for (const auto& [name, task] : card(entry.name).at("architectures").items()) {
    if (std::find(tasks.begin(), tasks.end(), task.get<std::string>()) == tasks.end()) tasks.push_back(task.get<std::string>());
  }
  return tasks;
}

Json config_for_task(const Entry& entry, Json config, const std::string& task) {
  if (task_of(entry, config) == task) return config;
  const std::string present = first_architecture(config);
  std::string chosen;
  for (const auto& [name, served] : card(entry.name).at("architectures").items()) {
    if (served == task && (chosen.empty() || shared_start(name, present) > shared_start(chosen, present))) chosen = name;
  }
  if (!chosen.empty()) {
    config["architectures"] = {chosen};
    return config;
  }
  throw std::invalid_argument(entry.name + ": has no head for task '" + task + "'; it serves " + join(tasks_of(entry)));
}

std::shared_ptr<Model> make(const std::string& name_and_variant) {
  const auto colon = name_and_variant.find(':');
  const std::string name = name_and_variant.substr(0, colon);
  const auto& entry = find_entry(name);
  const auto variant = colon == std::string::npos ? "" : name_and_variant.substr(colon + 1);
  auto model = entry.make(variant_config(entry, variant));
  model->init_weights();
  return model;
}

std::shared_ptr<Model> make_from_config(const Json& config) { return entry_for_config(config).make(config); }

int64_t parameter_count(const torch::nn::Module& module) {
  std::unordered_set<const void*> seen;
  int64_t count = 0;
  for (const auto& parameter : module.parameters()) {
    if (seen.insert(parameter.unsafeGetTensorImpl()).second) count += parameter.numel();
  }
  return count;
}

}  // namespace zoo
