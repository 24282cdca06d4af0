// Memory of a running program, in words.
#pragma once
#include <ATen/ATen.h>

#include <cstdint>
#include <string>

namespace zoo::app {

// What the allocator of a CUDA device holds for tensors, in bytes; 0 on the CPU.
struct DeviceMemory {
  uint64_t now = 0, peak = 0;
};
DeviceMemory device_memory(at::Device device);

std::string memory_text(at::Device device);       // "memory 512.0 MiB", on a CUDA device also "cuda 3.1 GiB"
std::string peak_memory_text(at::Device device);  // "612.0 MiB resident", also "3.4 GiB on cuda:0"

}  // namespace zoo::app
