// What the generic tests share: which networks to test, and inputs for them.
#pragma once
#include <string>
#include <vector>

#include "models/registry.h"
#include "weights/fill.h"

namespace zoo::test {

// All networks, or the one that ZOO_MODEL names: CTest has an entry for each. An unknown name is an error, so that a
// misspelt selection cannot pass by testing nothing.
inline std::vector<Entry> chosen_networks() {
  const char* wanted = std::getenv("ZOO_MODEL");
  if (!wanted) return registry();
  return {find_entry(wanted)};
}

struct Case {
  std::string name;  // bert:tiny BertForMaskedLM
  Entry entry;
  Json config;
};

// Every tiny variant with every architecture that its configuration can build.
inline std::vector<Case> tiny_cases() {
  std::vector<Case> cases;
  for (const auto& entry : chosen_networks()) {
    for (const auto& variant : variants(entry.name)) {
      if (variant.rfind("tiny", 0) != 0) continue;
      const Json fixed = card(entry.name).at("variants").at(variant);
      for (const auto& [architecture, task] : card(entry.name).at("architectures").items()) {
        if (fixed.contains("architectures") && fixed["architectures"][0] != architecture) continue;
        Json config = variant_config(entry, variant);
        config["architectures"] = {architecture};
        cases.push_back({entry.name + ":" + variant + " " + architecture, entry, config});
      }
    }
  }
  return cases;
}

// What a symbol of a declared shape stands for: B = batch, T = length, U = a decoder's, F = four calendar features, H and W = a picture's sides, else a number or a config key.
inline int64_t dimension(const std::string& symbol, const Case& c, int64_t batch, int64_t length) {
  if (symbol == "B") return batch;
  if (symbol == "T") return length;
  if (symbol == "U") return length + 2;
  if (symbol == "F") return 4;
  if (symbol == "H" || symbol == "W") return 32;
  return std::isdigit(static_cast<unsigned char>(symbol.front())) ? std::stoll(symbol) : c.config.at(symbol).get<int64_t>();
}

// Inputs of the declared shapes and ranges.
inline Tensors make_inputs(const Case& c, int64_t batch, int64_t length, uint64_t seed = 0) {
  Tensors inputs;
  for (const auto& spec : c.entry.inputs(c.config)) {
    std::vector<int64_t> shape;
    for (const auto& symbol : spec.shape) shape.push_back(dimension(symbol, c, batch, length));
    if (spec.dtype == "float32") inputs[spec.name] = weights::fill_inputs(spec.name, shape, seed, spec.low, spec.high);
    else if (spec.dtype == "int64") inputs[spec.name] = weights::fill_tokens(spec.name, shape, seed, int64_t(spec.low), int64_t(spec.high));
    else inputs[spec.name] = at::ones(shape, at::kBool);
  }
  return inputs;
}

inline std::shared_ptr<Model> fresh(const Case& c, bool training = false) {
  at::manual_seed(1);
  auto model = c.entry.make(c.config);
  model->init_weights();
  model->train(training);
  return model;
}

}  // namespace zoo::test
