// NumPy's .npy files (numpy.lib.format, versions 1 to 3), little-endian.
#pragma once

#include <ATen/ATen.h>

#include <filesystem>

namespace zoo::weights {

// Writes one tensor atomically; bfloat16 and the 8-bit floats, which NumPy lacks, become float32. Throws
// std::invalid_argument for other element types NumPy lacks, std::runtime_error when writing fails.
void save_npy(const std::filesystem::path& path, const at::Tensor& tensor);

// Reads one tensor into memory of its own, row-major. Throws std::runtime_error for anything but a complete
// array of little-endian numbers or booleans (object arrays are pickles and are refused).
at::Tensor load_npy(const std::filesystem::path& path);

}  // namespace zoo::weights
