// Adapters on a network: LoRA, DoRA, trained biases and trained heads, in the layout of Python's peft (weights/adapter.h).
#pragma once
#include <set>
#include <string>
#include <vector>

#include "app/bundle.h"
#include "weights/adapter.h"

namespace zoo::app {

// What a recipe's "peft" says. Methods: "lora", "dora", "bias" (every bias, and the head), "head" (the head alone); empty:
// the whole network is trained.
struct PeftOptions {
  std::string method;
  weights::AdapterConfig config;
  bool head = true;  // no modules_to_save in the recipe: the head is kept whole, as peft does for classifiers

  bool active() const { return !method.empty(); }
};

const std::vector<std::string>& peft_methods();
// Throws std::invalid_argument for a method or a setting that is wrong. `json` has peft's own names of settings, and the
// short ones "alpha", "dropout" and "method".
PeftOptions read_peft(const Json& json);
Json write_peft(const PeftOptions& options);  // null when not active

// Freezes the network and puts a fresh adapter on it: gradients are left on for the adapter alone. Tensors that the
// checkpoint lacked are always kept whole. A bundle that came with an adapter must have one of the same settings.
// Throws UsageError for patterns that match no layer, and for a network without a checkpoint: its weights would be lost.
void start_adapter(Bundle& bundle, const PeftOptions& options);

// Puts a read adapter on the network; its term is multiplied by `weight` (kept modules and biases are not). With
// `trained`, gradients are left on for the adapter alone. Throws std::runtime_error, with the network unchanged, that
// names the first tensors that do not fit and the base that the adapter was made for.
void attach_adapter(Bundle& bundle, const weights::Adapter& adapter, double weight, bool trained);

// The keys of the network that the adapter holds whole.
std::set<std::string> kept_keys(const Bundle& bundle, const weights::Adapter& adapter);

// The trained adapter with its present values, under the network's own names.
weights::Adapter current_adapter(const Bundle& bundle);

// Copies the values of a saved adapter into the trained one. Throws std::runtime_error unless both have the same tensors.
void restore_adapter(Bundle& bundle, const weights::Adapter& saved);

// Folds all adapters into the weights: the bundle is an ordinary network afterwards.
void merge_adapters(Bundle& bundle);

}  // namespace zoo::app
