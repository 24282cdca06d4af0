// NumPy's .npy files (format 1.0).
#pragma once
#include <ATen/ATen.h>

#include <string>

namespace zoo::data {

// The bytes of a .npy file that holds this tensor: float32, float64 or int64, C order, little endian. numpy.load reads it.
// Throws std::invalid_argument for other element types.
std::string npy_bytes(const at::Tensor& tensor);

}  // namespace zoo::data
