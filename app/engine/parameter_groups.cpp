#include "app/engine/parameter_groups.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <regex>
#include <stdexcept>
#include <tuple>
#include <unordered_set>

#include "models/names.h"

namespace zoo::app {
namespace parameter_groups_detail {

struct Named {
  std::string name;
  at::Tensor parameter;
  double lr_scale = 1.0, weight_decay = 0.0;
  bool frozen = false;
};

std::vector<Named> trained_parameters(const torch::nn::Module& network, double weight_decay) {
  std::vector<Named> found;
  std::unordered_set<const void*> seen;  // tied weights are registered more than once
  for (const auto& item : network.named_parameters()) {
    const at::Tensor& parameter = item.value();
    if (!parameter.requires_grad() || !seen.insert(parameter.unsafeGetTensorImpl()).second) continue;
    found.push_back({item.key(), parameter, 1.0, parameter.dim() >= 2 ? weight_decay : 0.0});
  }
  return found;
}

std::regex compile(const std::string& pattern) {
  try {
    return std::regex(pattern);
  } catch (const std::regex_error& error) {
    throw std::invalid_argument("optimizer.groups: the pattern '" + pattern.substr(0, 80) + "' is not a regular expression (" + error.what() + ")");
  }
}

void apply(const GroupRule& rule, std::vector<Named>& parameters) {
  const std::regex pattern = compile(rule.pattern);
  bool used = false;
  for (auto& p : parameters) {
    if (!std::regex_search(p.name, pattern)) continue;
    used = true;
    p.lr_scale *= rule.lr_scale;
    if (rule.weight_decay) p.weight_decay = *rule.weight_decay;
    p.frozen = rule.frozen;
  }
  if (used) return;
  std::vector<std::string> names;
  for (const auto& p : parameters) names.push_back(p.name);
  throw std::invalid_argument("optimizer.groups: the pattern '" + rule.pattern.substr(0, 80) +
                              "' matches none of the trained parameters; nearest: " + join(nearest(rule.pattern, names)));
}

// "encoder.layer.3.output.weight" -> ("encoder.layer", 3); no layer: number -1.
std::pair<std::string, int64_t> layer_of(const std::string& name) {
  static const std::regex numbered(R"(^((?:.*?\.)?(?:layers?|blocks?|attn_layers|h))\.(\d{1,6})\.)");
  std::smatch match;
  if (!std::regex_search(name, match, numbered)) return {"", -1};
  return {match[1].str(), std::stoll(match[2].str())};
}

}  // namespace parameter_groups_detail

std::vector<double> layer_scales(const std::vector<std::string>& names, double decay) {
  namespace d = parameter_groups_detail;
  std::map<std::string, int64_t> depth;  // layers of each stack
  int64_t deepest = 0;
  for (const auto& name : names) {
    const auto [stack, number] = d::layer_of(name);
    if (number >= 0) deepest = std::max(deepest, depth[stack] = std::max(depth[stack], number + 1));
  }
  if (depth.empty()) {
    throw std::invalid_argument("optimizer.layer_decay: no parameter's name has a layer number such as 'layers.3.'; the first is '" +
                                (names.empty() ? "" : names.front()) + "' (use optimizer.groups for this network)");
  }
  std::vector<double> scales;
  bool before = true;
  for (const auto& name : names) {
    const auto [stack, number] = d::layer_of(name);
    before = before && number < 0;
    if (number >= 0) scales.push_back(std::pow(decay, static_cast<double>(depth[stack] - number)));
    else scales.push_back(before || name.find("embed") != std::string::npos ? std::pow(decay, static_cast<double>(deepest + 1)) : 1.0);
  }
  return scales;
}

std::vector<ParameterGroup> parameter_groups(const GroupOptions& options, const torch::nn::Module& network) {
  namespace d = parameter_groups_detail;
  auto parameters = d::trained_parameters(network, options.weight_decay);
  if (parameters.empty()) throw std::invalid_argument("the network has no trained parameters");
  if (options.layer_decay != 1.0) {
    std::vector<std::string> names;
    for (const auto& p : parameters) names.push_back(p.name);
    const auto scales = layer_scales(names, options.layer_decay);
    for (size_t i = 0; i < scales.size(); ++i) parameters[i].lr_scale = scales[i];
  }
  for (const auto& rule : options.rules) d::apply(rule, parameters);
  std::vector<ParameterGroup> groups;
  std::map<std::tuple<double, double, at::ScalarType>, size_t> places;
  for (const auto& p : parameters) {
    if (p.frozen) {
      p.parameter.set_requires_grad(false);
      continue;
    }
    const auto [place, fresh] = places.try_emplace({p.lr_scale, p.weight_decay, p.parameter.scalar_type()}, groups.size());
    if (fresh) groups.push_back({p.lr_scale, p.weight_decay, {}, {}});
    groups[place->second].names.push_back(p.name);
    groups[place->second].parameters.push_back(p.parameter);
  }
  if (groups.empty()) throw std::invalid_argument("optimizer.groups: every parameter is frozen; nothing is left to train");
  return groups;
}

}  // namespace zoo::app
