#include "models/blocks/adaptable.h"

namespace zoo {

void AdaptableLayer::attach(const std::string& name, const std::shared_ptr<LayerAdapter>& adapter) {
  register_module(name, adapter);
  adapters_.push_back(adapter);
  names_.push_back(name);
}

Tensor AdaptableLayer::add_adapters(Tensor y, const Tensor& x) {
  for (const auto& adapter : adapters_) y = adapter->add_to(y, x, *this);
  return y;
}

void AdaptableLayer::prepare_adapters() {
  for (const auto& adapter : adapters_) adapter->prepare(*this);
}

void AdaptableLayer::merge_adapters() {
  if (adapters_.empty()) return;
  at::NoGradGuard no_grad;
  const Tensor own = outputs_first().detach();
  const Tensor base = adapters_.size() > 1 ? own.clone() : own;
  for (const auto& adapter : adapters_) adapter->merge_into(*this, base);
  for (const auto& name : names_) unregister_module(name);
  adapters_.clear();
  names_.clear();
}

}  // namespace zoo
