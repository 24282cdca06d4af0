#include "data/npy.h"

#include <stdexcept>

namespace zoo::data {

std::string npy_bytes(const at::Tensor& tensor) {
  std::string type;
  if (tensor.scalar_type() == at::kFloat) type = "<f4";
  if (tensor.scalar_type() == at::kDouble) type = "<f8";
  if (tensor.scalar_type() == at::kLong) type = "<i8";
  if (type.empty()) throw std::invalid_argument(std::string("npy: element type ") + c10::toString(tensor.scalar_type()) + "; float32, float64 or int64 is expected");
  std::string shape;
  for (const int64_t size : tensor.sizes()) shape += std::to_string(size) + ", ";
  std::string header = "{'descr': '" + type + "', 'fortran_order': False, 'shape': (" + shape + "), }";
  constexpr size_t kPreamble = 10, kAlignment = 64;  // magic, version, length; the data begins at a multiple of 64
  header.append((kAlignment - (kPreamble + header.size() + 1) % kAlignment) % kAlignment, ' ');
  header += '\n';
  std::string bytes("\x93NUMPY\x01\x00", 8);
  bytes += char(header.size() & 0xFF);
  bytes += char(header.size() >> 8);
  bytes += header;
  const auto dense = tensor.cpu().contiguous();
  return bytes.append(static_cast<const char*>(dense.const_data_ptr()), dense.nbytes());
}

}  // namespace zoo::data
