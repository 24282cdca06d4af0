#include "app/engine/fixed_inputs.h"

#include <algorithm>

namespace zoo::app {

bool on_gpu(const Tensors& tensors) {
  return !tensors.empty() && std::all_of(tensors.begin(), tensors.end(), [](const auto& item) { return item.second.is_cuda(); });
}

std::string layout_of(const Tensors& tensors) {
  std::string layout;
  for (const auto& [name, tensor] : tensors) {
    layout += name + ' ' + c10::toString(tensor.scalar_type());
    for (const int64_t size : tensor.sizes()) layout += ' ' + std::to_string(size);
    layout += tensor.is_contiguous(at::MemoryFormat::ChannelsLast) && !tensor.is_contiguous() ? " last;" : ";";
  }
  return layout;
}

Tensors copies(const Tensors& tensors) {
  Tensors copied;
  for (const auto& [name, tensor] : tensors) copied[name] = tensor.defined() ? tensor.clone() : tensor;
  return copied;
}

void copy_into(Tensors& fixed, const Tensors& values) {
  for (const auto& [name, tensor] : values) fixed.at(name).copy_(tensor, /*non_blocking=*/true);
}

}  // namespace zoo::app
