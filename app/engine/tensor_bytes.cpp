#include "app/engine/tensor_bytes.h"

#include <cstring>
#include <stdexcept>

namespace zoo::app {

std::string tensors_to_bytes(const Tensors& tensors) {
  Json header = Json::array();
  std::string data;
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor dense = tensor.detach().cpu().contiguous();
    header.push_back({{"name", name}, {"dtype", static_cast<int>(dense.scalar_type())}, {"shape", dense.sizes().vec()}});
    if (dense.numel() > 0) data.append(static_cast<const char*>(dense.data_ptr()), dense.nbytes());
  }
  const std::string text = header.dump();
  const uint64_t length = text.size();
  std::string bytes(reinterpret_cast<const char*>(&length), sizeof length);
  return bytes + text + data;
}

Tensors tensors_from_bytes(const std::string& bytes) {
  uint64_t length = 0;
  if (bytes.size() < sizeof length) throw std::runtime_error("tensors of another rank: cut short");
  std::memcpy(&length, bytes.data(), sizeof length);
  if (length > bytes.size() - sizeof length) throw std::runtime_error("tensors of another rank: cut short");
  const Json header = Json::parse(bytes.substr(sizeof length, length));
  size_t at = sizeof length + length;
  Tensors tensors;
  for (const auto& item : header) {
    at::Tensor tensor = at::empty(item.at("shape").get<std::vector<int64_t>>(), at::TensorOptions(static_cast<at::ScalarType>(item.at("dtype").get<int>())));
    if (tensor.nbytes() > bytes.size() - at) throw std::runtime_error("tensors of another rank: cut short");
    if (tensor.numel() > 0) std::memcpy(tensor.data_ptr(), bytes.data() + at, tensor.nbytes());
    at += tensor.nbytes();
    tensors[item.at("name").get<std::string>()] = tensor;
  }
  return tensors;
}

}  // namespace zoo::app
