#include "app/report/memory.h"

#include <c10/core/CachingDeviceAllocator.h>

#include "app/machine.h"
#include "app/report/table.h"

namespace zoo::app {

DeviceMemory device_memory(at::Device device) {
  if (!device.is_cuda()) return {};
  const auto stats = at::getDeviceAllocator(at::kCUDA)->getDeviceStats(device.index());
  return {static_cast<uint64_t>(stats.allocated_bytes[0].current), static_cast<uint64_t>(stats.allocated_bytes[0].peak)};
}

std::string memory_text(at::Device device) {
  std::string text = "memory " + bytes_text(resident_bytes());
  if (device.is_cuda()) text += "  cuda " + bytes_text(device_memory(device).now);
  return text;
}

std::string peak_memory_text(at::Device device) {
  std::string text = bytes_text(peak_resident_bytes()) + " resident";
  if (device.is_cuda()) text += ", " + bytes_text(device_memory(device).peak) + " on " + device.str();
  return text;
}

}  // namespace zoo::app
