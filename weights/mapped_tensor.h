// Element types by their safetensors names, and tensors described as a strided range of a mapped file.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "weights/files.h"

namespace zoo::weights {

// "F32" -> at::kFloat. Throws std::runtime_error for a name that LibTorch has no element type for.
at::ScalarType dtype_from_name(const std::string& name);

// at::kFloat -> "F32". Throws std::invalid_argument for types that safetensors cannot hold (quantised ...).
std::string dtype_name(at::ScalarType type);

// "[2, 3]", the way shapes appear in messages.
std::string shape_text(at::IntArrayRef shape);

// Number of elements. Throws std::runtime_error for negative sizes, more than 64 dimensions, or a product
// that does not fit 63 bits (zero sizes count as one there, so that no stride can overflow either).
int64_t checked_elements(at::IntArrayRef shape);

// A tensor that still lies in its file.
struct MappedTensor {
  std::shared_ptr<const MappedFile> file;
  uint64_t offset = 0;           // of element 0, in bytes from the start of the file
  at::ScalarType dtype = at::kFloat;
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;  // in elements, never negative

  // Zero-copy view that keeps the mapping alive; a copy where the bytes are not aligned to the element size.
  at::Tensor view() const;
  uint64_t elements_spanned() const;  // from element 0 to the last one that the strides reach
};

struct NamedTensor {
  std::string name;
  MappedTensor tensor;
};

// What one file of weights holds.
struct TensorFile {
  std::vector<NamedTensor> tensors;  // in file order
  std::map<std::string, std::string> metadata;
};

// Longer names do not occur; the limit keeps regular expressions on names from untrusted files within the
// stack.
constexpr size_t kMaxNameBytes = 1024;

}  // namespace zoo::weights
