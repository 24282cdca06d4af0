// Which parameters are trained, and how fast: weight decay for matrices only, rates that fall with depth, rules by pattern.
#pragma once
#include <ATen/ATen.h>
#include <torch/nn/module.h>

#include <optional>
#include <string>
#include <vector>

namespace zoo::app {

// One rule of `optimizer.groups`: applies to every parameter in whose key the regular expression (ECMAScript) is found.
struct GroupRule {
  std::string pattern;
  double lr_scale = 1.0;               // times the schedule's rate (and times the layer's, where rates fall with depth)
  std::optional<double> weight_decay;  // instead of the usual one, on biases and norms too
  bool frozen = false;                 // not trained at all
};

struct GroupOptions {
  double weight_decay = 0.01;      // on tensors of two or more axes: biases and norms keep theirs
  double layer_decay = 1.0;        // below 1: see layer_scales
  std::vector<GroupRule> rules = {};  // where several match a parameter, the last decides
};

// Parameters that share a rate, a decay and an element type. Element i of both lists belongs together.
struct ParameterGroup {
  double lr_scale = 1.0, weight_decay = 0.0;
  std::vector<std::string> names;  // keys as in the checkpoint; of tied parameters the first
  std::vector<at::Tensor> parameters;
};

// Sorts the trained parameters into groups; switches requires_grad off for the frozen ones. Throws std::invalid_argument
// for a pattern that is no regular expression or matches no parameter (with the nearest names), and when nothing is left.
std::vector<ParameterGroup> parameter_groups(const GroupOptions& options, const torch::nn::Module& network);

// Layer-wise decay as BEiT has it (Bao et al., 2022): layer i of n takes decay^(n - i), what comes before the layers
// decay^(n + 1), what comes after them 1. A layer is known by its number behind "layer", "layers", "block", "blocks",
// "attn_layers" or "h" in the key; "before" is what is registered earlier than the first layer, or has "embed" in its key.
// Several stacks (encoder, decoder) count for themselves. Throws std::invalid_argument when no key has a layer number.
std::vector<double> layer_scales(const std::vector<std::string>& names, double decay);

}  // namespace zoo::app
