// The registry: every network by name, with its JSON card (paper, reference, licence, variants, foreign layouts).
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "models/model.h"

namespace zoo {

// All networks, in alphabetical order. The list is explicit (registry.cpp): self-registering objects would vanish from
// static libraries.
const std::vector<Entry>& registry();

// By name or by an alias of its card; throws std::invalid_argument that names the nearest three.
const Entry& find_entry(const std::string& name);
// The network that a checkpoint's config.json asks for, by "architectures" then "model_type".
const Entry& entry_for_config(const Json& config);

// The card of a network: models/**/<name>.json.
const Json& card(const std::string& name);
std::vector<std::string> variants(const std::string& name);
// The full config of a variant, ready for make() and for config.json; `variant` empty means the card's first.
Json variant_config(const Entry& entry, const std::string& variant);
// The task that a config's architecture serves, e.g. "image_classification".
std::string task_of(const Entry& entry, const Json& config);
// Every task that some architecture of the network serves, in the card's order.
std::vector<std::string> tasks_of(const Entry& entry);
// The name under which an architecture holds its base model ("bert"), empty: none. The card's "base_prefix", or for single
// architectures its "base_prefixes".
std::string base_prefix_of(const Entry& entry, const Json& config);
// The config with "architectures" set to the network's architecture for a task; throws when it has none. Of several, the one whose
// name begins most like the present one (XLMRobertaForMaskedLM -> XLMRobertaForTokenClassification).
Json config_for_task(const Entry& entry, Json config, const std::string& task);

// A network with fresh weights: make("bert:tiny") or make("vit"), seeded by LibTorch's default generator.
std::shared_ptr<Model> make(const std::string& name_and_variant);
// A network built from a config.json, with uninitialised weights: load a checkpoint into it or call init_weights().
std::shared_ptr<Model> make_from_config(const Json& config);

int64_t parameter_count(const torch::nn::Module& module);  // tied tensors count once

}  // namespace zoo
