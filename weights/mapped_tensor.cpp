#include "weights/mapped_tensor.h"

#include <algorithm>
#include <array>
#include <stdexcept>

namespace zoo::weights {

namespace dtype_detail {

struct Name {
  const char* text;
  at::ScalarType type;
};

constexpr std::array kNames{
    Name{"F64", at::kDouble},          Name{"F32", at::kFloat},
    Name{"F16", at::kHalf},            Name{"BF16", at::kBFloat16},
    Name{"I64", at::kLong},            Name{"I32", at::kInt},
    Name{"I16", at::kShort},           Name{"I8", at::kChar},
    Name{"U8", at::kByte},             Name{"BOOL", at::kBool},
    Name{"U16", at::kUInt16},          Name{"U32", at::kUInt32},
    Name{"U64", at::kUInt64},          Name{"F8_E4M3", at::kFloat8_e4m3fn},
    Name{"F8_E5M2", at::kFloat8_e5m2}, Name{"F8_E8M0", at::kFloat8_e8m0fnu},
    Name{"F8_E4M3FNUZ", at::kFloat8_e4m3fnuz}, Name{"F8_E5M2FNUZ", at::kFloat8_e5m2fnuz},
    Name{"C64", at::kComplexFloat},
};

}  // namespace dtype_detail

at::ScalarType dtype_from_name(const std::string& name) {
  std::string known;
  for (const auto& entry : dtype_detail::kNames) {
    if (name == entry.text) return entry.type;
    known += (known.empty() ? "" : ", ") + std::string(entry.text);
  }
  throw std::runtime_error("dtype \"" + name.substr(0, 40) + "\" is not supported (known: " + known + ")");
}

std::string dtype_name(at::ScalarType type) {
  for (const auto& entry : dtype_detail::kNames) {
    if (type == entry.type) return entry.text;
  }
  throw std::invalid_argument(std::string("safetensors cannot hold tensors of type ") + c10::toString(type));
}

std::string shape_text(at::IntArrayRef shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

int64_t checked_elements(at::IntArrayRef shape) {
  if (shape.size() > 64)
    throw std::runtime_error(std::to_string(shape.size()) + " dimensions; at most 64 are possible");
  int64_t bound = 1;
  bool empty = false;
  for (int64_t size : shape) {
    if (size < 0) throw std::runtime_error("shape " + shape_text(shape) + " has a negative size");
    empty = empty || size == 0;
    if (__builtin_mul_overflow(bound, std::max<int64_t>(size, 1), &bound)) {
      throw std::runtime_error("shape " + shape_text(shape) + " has more elements than 63 bits can count");
    }
  }
  return empty ? 0 : bound;
}

uint64_t MappedTensor::elements_spanned() const {
  uint64_t last = 0;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == 0) return 0;
    last += static_cast<uint64_t>(shape[i] - 1) * static_cast<uint64_t>(strides[i]);
  }
  return last + 1;
}

at::Tensor MappedTensor::view() const {
  const auto options = at::TensorOptions().dtype(dtype);
  const uint64_t span = elements_spanned();
  if (span == 0) return at::empty(shape, options);
  const size_t element = c10::elementSize(dtype);
  std::byte* data = file->at(offset);
  if (reinterpret_cast<uintptr_t>(data) % std::min<size_t>(element, alignof(std::max_align_t)) == 0) {
    return at::from_blob(data, shape, strides, [keep = file](void*) {}, options);
  }
  at::Tensor copy = at::empty({static_cast<int64_t>(span)}, options);
  file->read(offset, copy.data_ptr(), span * element);
  return copy.as_strided(shape, strides);
}

}  // namespace zoo::weights
