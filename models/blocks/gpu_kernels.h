// Kernels of our own on a GPU: compiled by NVRTC, which LibTorch brings, at their first use, and started on LibTorch's stream.
#pragma once
#include <ATen/ATen.h>

#include <array>

namespace zoo::gpu_kernels {

constexpr int64_t kWarps = 8;         // of every kernel's block
constexpr int64_t kVectorBytes = 16;  // that a thread reads or writes at once

using Kernel = void*;

// Whether there can be kernels for this tensor's device and type. Not in a build without CUDA's headers.
bool possible(const at::Tensor& x);

// The kernel `name` of gpu_kernels_source.h with `what` defined as `number`, made at its first use on a device; null where that failed.
Kernel kernel(const char* name, const char* what, int64_t number, at::ScalarType type, c10::DeviceIndex device);

// Throws c10::Error. `arguments` are pointers to the kernel's arguments.
void launch(Kernel kernel, std::array<int64_t, 2> blocks, int64_t shared_bytes, void** arguments, c10::DeviceIndex device);

// Dense, of x's type, on its device.
inline bool alike(const at::Tensor& t, const at::Tensor& x) { return t.scalar_type() == x.scalar_type() && t.device() == x.device() && t.is_contiguous(); }
inline bool aligned(const at::Tensor& t) { return reinterpret_cast<uintptr_t>(t.const_data_ptr()) % kVectorBytes == 0; }

// How many vectors each lane of a warp takes of a row of `width` numbers like x's.
inline int64_t vectors_of_lane(const at::Tensor& x, int64_t width) { return (width * x.element_size() / kVectorBytes + 31) / 32; }

}  // namespace zoo::gpu_kernels
