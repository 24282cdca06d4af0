#include "models/trace.h"

#include <stdexcept>

namespace zoo {

thread_local Trace* Trace::current_ = nullptr;

Trace::Trace(const torch::nn::Module& root) {
  if (current_) throw std::logic_error("trace: another trace is active on this thread");
  for (const auto& item : root.named_modules()) paths_.emplace(item.value().get(), item.key());
  current_ = this;
}

Trace::~Trace() { current_ = nullptr; }

void Trace::record(const torch::nn::Module* module, const at::Tensor& value) {
  const auto found = current_->paths_.find(module);
  if (found != current_->paths_.end() && value.defined()) current_->steps_.push_back({found->second, value});
}

}  // namespace zoo
