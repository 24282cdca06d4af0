#include "weights/fill.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <map>

#include "weights/mapped_tensor.h"

namespace zoo::weights {

namespace fill_detail {

constexpr std::array<std::string_view, 4> kOneLike{"weight", "gamma", "scale", "alpha"};

uint64_t splitmix64(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

bool is_statistic(std::string_view key) {
  return key.ends_with("running_mean") || key.ends_with("running_var");
}

template <class Map>
at::Tensor mapped(const std::string& key, at::IntArrayRef shape, int64_t seed, Map map) {
  std::vector<double> values = uniform(key, checked_elements(shape), seed);
  std::transform(values.begin(), values.end(), values.begin(), map);
  return at::tensor(values, at::kDouble).reshape(shape);
}

}  // namespace fill_detail

uint64_t fnv1a64(std::string_view text) {
  uint64_t hash = 0xCBF29CE484222325;
  for (unsigned char byte : text) hash = (hash ^ byte) * 0x100000001B3;
  return hash;
}

std::vector<double> uniform(const std::string& key, int64_t count, int64_t seed) {
  const uint64_t start = fnv1a64(std::to_string(seed) + ":" + key);
  std::vector<double> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<double>(fill_detail::splitmix64(start + i * 0x9E3779B97F4A7C15) >> 11) * 0x1p-53;
  }
  return values;
}

at::Tensor fill_values(const std::string& key, at::IntArrayRef shape, int64_t seed) {
  const std::string_view name = key;
  double scale = 0.1, centre = 0;
  if (name.ends_with("running_var")) {
    return fill_detail::mapped(key, shape, seed, [](double u) { return 1.0 + 0.25 * u; });
  }
  if (!name.ends_with("running_mean")) {
    const bool one_like = std::any_of(fill_detail::kOneLike.begin(), fill_detail::kOneLike.end(),
                                      [&](std::string_view suffix) { return name.ends_with(suffix); });
    if (shape.size() >= 2)
      scale = std::sqrt(3.0 / static_cast<double>(std::max<int64_t>(1, checked_elements(shape.slice(1)))));
    else if (shape.size() == 1 && one_like) centre = 1;
  }
  return fill_detail::mapped(key, shape, seed, [=](double u) { return centre + scale * (2.0 * u - 1.0); });
}

at::Tensor fill_inputs(const std::string& name, at::IntArrayRef shape, int64_t seed, double low,
                       double high) {
  return fill_detail::mapped("input:" + name, shape, seed, [=](double u) { return low + (high - low) * u; })
      .to(at::kFloat);
}

at::Tensor fill_tokens(const std::string& name, at::IntArrayRef shape, int64_t seed, int64_t low,
                       int64_t high) {
  const double first = static_cast<double>(low), range = static_cast<double>(high - low);
  return fill_detail::mapped("input:" + name, shape, seed,
                             [=](double u) { return std::floor(first + range * u); })
      .to(at::kLong);
}

std::vector<std::pair<std::string, std::vector<int64_t>>> fill_module(
    torch::nn::Module& module, int64_t seed, const std::set<std::string>& canonical) {
  at::NoGradGuard no_grad;
  std::vector<std::pair<std::string, at::Tensor>> named;
  for (const auto& item : module.named_parameters()) named.emplace_back(item.key(), item.value());
  for (const auto& item : module.named_buffers()) {
    if (fill_detail::is_statistic(item.key())) named.emplace_back(item.key(), item.value());
  }
  std::map<const void*, std::string> key_of;  // by tensor object: two keys of one tensor share it
  for (const auto& [key, tensor] : named) {
    const auto [place, fresh] = key_of.emplace(tensor.unsafeGetTensorImpl(), key);
    if (!fresh && !canonical.count(place->second) && canonical.count(key)) place->second = key;
  }
  std::vector<std::pair<std::string, std::vector<int64_t>>> filled;
  for (const auto& [key, tensor] : named) {
    if (!tensor.is_floating_point() || key_of.at(tensor.unsafeGetTensorImpl()) != key) continue;
    tensor.copy_(fill_values(key, tensor.sizes(), seed));
    filled.emplace_back(key, tensor.sizes().vec());
  }
  return filled;
}

}  // namespace zoo::weights
