#include "models/model.h"

#include <set>
#include <stdexcept>

#include "models/blocks/conv_norm.h"
#include "models/blocks/linear.h"
#include "models/names.h"

namespace zoo {

at::Tensor optional_input(const Tensors& inputs, const char* name) {
  const auto found = inputs.find(name);
  return found == inputs.end() ? at::Tensor() : found->second;
}

void Model::init_modules() {
  for (const auto& module : modules(/*include_self=*/false)) {
    if (auto* layer = dynamic_cast<Module*>(module.get())) layer->init();
  }
}

void Model::prepare_for_inference(const std::function<void(const at::Tensor&)>& done, Precision precision) {
  for (const auto& module : modules(/*include_self=*/false)) {
    if (auto* layer = dynamic_cast<AdaptableLayer*>(module.get())) layer->prepare_adapters();
    const auto pack = [&](auto* layer) {
      if (layer && layer->pack(precision) && done) done(layer->weight);
    };
    pack(dynamic_cast<LinearLayer*>(module.get()));
    pack(dynamic_cast<TiedLinearImpl*>(module.get()));
    if (auto* layer = dynamic_cast<ConvNormImpl*>(module.get()); layer && layer->pack(precision) && done) done(layer->convolution->weight);
  }
}

namespace model_detail {

std::string shape_text(at::IntArrayRef sizes) {
  std::vector<std::string> words;
  for (const auto size : sizes) words.push_back(std::to_string(size));
  return "[" + join(words) + "]";
}

bool fits(const std::vector<std::string>& shape, at::IntArrayRef sizes) {
  if (shape.size() != sizes.size()) return false;
  for (size_t i = 0; i < shape.size(); ++i) {
    const bool fixed = shape[i].find_first_not_of("0123456789") == std::string::npos;
    if (fixed && shape[i] != std::to_string(sizes[i])) return false;
  }
  return true;
}

}  // namespace model_detail

void check_inputs(const std::string& model, const std::vector<InputSpec>& specs, const Tensors& inputs) {
  for (const auto& spec : specs) {
    const std::string wanted = "[" + join(spec.shape) + "] " + spec.dtype;
    const auto found = inputs.find(spec.name);
    if (found == inputs.end()) {
      static const std::set<std::string> may_lack = {"mask", "pair_mask", "token_types", "series_time", "future_time"};
      if (may_lack.count(spec.name)) continue;
      std::vector<std::string> given;
      for (const auto& [name, tensor] : inputs) given.push_back(name);
      throw std::invalid_argument(model + ": input '" + spec.name + "' is missing; expected " + wanted + ", given: " + join(given));
    }
    const auto& tensor = found->second;
    const auto type = spec.dtype == "int64" ? at::kLong : at::kBool;
    const bool right_type = spec.dtype == "float32" ? tensor.is_floating_point() : tensor.scalar_type() == type;
    if (!right_type || !model_detail::fits(spec.shape, tensor.sizes())) {
      throw std::invalid_argument(model + ": input '" + spec.name + "' is " + model_detail::shape_text(tensor.sizes()) + " " +
                                  c10::toString(tensor.scalar_type()) + "; expected " + wanted);
    }
  }
}

}  // namespace zoo
