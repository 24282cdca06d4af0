#include "app/engine/sharing.h"

#include "app/engine/tensor_bytes.h"

namespace zoo::app {
namespace sharing_detail {

constexpr const char* kOutput = "o.";
constexpr const char* kBatch = "b.";
constexpr const char* kIndices = "i";

Tensors pack(const Tensors& outputs, const Tensors& batch, std::span<const int64_t> indices) {
  Tensors all;
  for (const auto& [name, tensor] : outputs) all[kOutput + name] = tensor;
  for (const auto& [name, tensor] : batch) all[kBatch + name] = tensor;
  all[kIndices] = at::tensor(at::ArrayRef<int64_t>(indices.data(), indices.size()), at::kLong);
  return all;
}

Tensors with_prefix(const Tensors& all, const std::string& prefix) {
  Tensors part;
  for (const auto& [name, tensor] : all) {
    if (name.starts_with(prefix)) part[name.substr(prefix.size())] = tensor;
  }
  return part;
}

// Where the other ranks' tensors arrive.
Tensors on_cpu(const Tensors& tensors) {
  Tensors moved;
  for (const auto& [name, tensor] : tensors) moved[name] = tensor.cpu();
  return moved;
}

}  // namespace sharing_detail

std::span<const int64_t> share_of(std::span<const int64_t> examples, const Ranks& ranks) {
  const auto count = static_cast<int64_t>(examples.size()), size = static_cast<int64_t>(ranks.size());
  const int64_t begin = count * ranks.rank() / size, end = count * (ranks.rank() + 1) / size;
  return examples.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
}

void MetricsGatherer::add(const Tensors& outputs, const Tensors& batch, std::span<const int64_t> indices) {
  namespace d = sharing_detail;
  if (ranks_.size() == 1) return metrics_.add(outputs, batch, indices);
  if (ranks_.first()) {
    if (!indices.empty()) metrics_.add(d::on_cpu(outputs), d::on_cpu(batch), indices);
    const auto all = ranks_.gather("");
    for (size_t rank = 1; rank < all.size(); ++rank) {
      if (all[rank].empty()) continue;
      const Tensors tensors = tensors_from_bytes(all[rank]);
      const at::Tensor numbers = tensors.at(d::kIndices);
      metrics_.add(d::with_prefix(tensors, d::kOutput), d::with_prefix(tensors, d::kBatch),
                   std::span(numbers.const_data_ptr<int64_t>(), static_cast<size_t>(numbers.numel())));
    }
    return;
  }
  ranks_.gather(indices.empty() ? "" : tensors_to_bytes(d::pack(outputs, batch, indices)));
}

}  // namespace zoo::app
