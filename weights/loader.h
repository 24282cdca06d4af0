// Strict loading of a checkpoint into a module, with a report of everything that does not fit.
#pragma once

#include <ATen/ATen.h>
#include <torch/nn/module.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "weights/checkpoint.h"
#include "weights/layout.h"
#include "weights/safetensors.h"

namespace zoo::weights {

struct LoadOptions {
  std::vector<Layout> layouts;
  // The name under which a model with a head holds its base model, "bert" say. A key that fits only with
  // "bert." in front, or only without it, is taken so: base checkpoints load into models with a head, and the
  // reverse.
  std::string base_prefix;
  bool allow_missing = false;      // tensors that the file lacks keep the values they have
  bool allow_unexpected = false;   // tensors of the file that the model lacks are left out
  bool reinit_mismatched = false;  // tensors of another shape keep the values they have
  // Called for a tensor of another shape, to resize a table of positions for example. Returns a tensor of the
  // wanted shape, or an undefined one when it cannot.
  using Adapt = std::function<at::Tensor(const std::string& key, const at::Tensor& from_file, at::IntArrayRef wanted)>;
  Adapt adapt;
  std::optional<at::ScalarType> dtype;  // of floating-point parameters and buffers; default: the module's own
};

struct LoadReport {
  struct Mismatch {
    std::string key;
    std::vector<int64_t> in_file, in_model;
  };

  std::string source;
  int64_t loaded = 0, total = 0;         // distinct tensors of the model: filled from the file, and all
  std::vector<std::string> missing;      // keys of the model, in its order
  std::vector<std::string> unexpected;   // keys of the file, in its order
  std::vector<std::string> ignored;      // keys of the file that a layout leaves out on purpose
  std::vector<std::string> adapted;      // keys whose tensor was resized
  std::vector<std::string> tied;         // "alias = key": the file holds only the key
  std::vector<std::string> tied_differ;  // "alias = key": one tensor in the model, two values in the file
  std::vector<Mismatch> mismatched;
  std::string layout;                    // names of the layouts that applied
  std::string prefix;                    // options.base_prefix
  bool prefix_added = false, prefix_stripped = false;

  bool ok(const LoadOptions& options) const;
  // Several lines; repeated layers merged, and for each kind of misfit the flag of the command line that
  // accepts it.
  std::string text() const;
  nlohmann::json json() const;
};

// what() is the report's text.
struct LoadError : std::runtime_error {
  explicit LoadError(LoadReport full_report);
  LoadReport report;
};

// Fills parameters and buffers by their full dotted names. Nothing is copied where type and device agree: the
// parameter becomes a private view of the file, which may be trained in place without touching the file. Tied
// parameters stay tied, and the file may hold one name or all. Throws LoadError, with the module unchanged,
// unless report.ok(options).
LoadReport load(torch::nn::Module& module, const Checkpoint& checkpoint, const LoadOptions& options = {});

// All parameters and buffers with their names, for saving: detached, sharing memory with the module. A tensor
// registered under several names comes once, under its first, unless with_aliases.
NamedTensors state_dict(const torch::nn::Module& module, bool with_aliases = true);

}  // namespace zoo::weights
