// The machine the program runs on: cores, CPU features, memory.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace zoo::app {

int logical_cores();   // that this process may use (affinity)
int physical_cores();  // of those, without hyper-threads, and no more than a container's CPU quota allows; at least 1
std::string cpu_name();
// Of avx2, fma, avx512f, avx512_vnni, avx512_bf16, avx_vnni, amx_tile, amx_bf16, amx_int8: those this CPU has.
std::vector<std::string> cpu_features();

struct Memory {
  uint64_t total = 0, available = 0;  // bytes; total is the container's limit where there is one
};
Memory memory();
uint64_t resident_bytes();        // of this process, now
uint64_t peak_resident_bytes();   // of this process, since its start or the last reset
void reset_peak_resident_bytes();  // does nothing where the kernel does not allow it

// Memory that is given back stays with the process for the next tensor, large as it may be: else the kernel clears every page of every
// large result anew (a third of the time of a short generation, a twentieth of Swin's batches). At most 256 MB are kept at the end of the heap.
void keep_freed_memory();

// All of it, for training: a step frees and allocates the same large tensors again, and handed back to the system each would be
// paid for in page faults (a tenth of a step's time).
void keep_all_freed_memory();

// Unmaps what lies there, or a little around it, and can be read again from its file. The contents never change, pages that were written to stay, and the
// system keeps the file in its cache. Does nothing where /proc/self/pagemap is not to be read.
void release_pages(const void* begin, size_t bytes);
// Model names of the NVIDIA devices that the driver knows, in its order.
std::vector<std::string> nvidia_device_names();
// Paths of the shared libraries in this process, in alphabetical order.
std::vector<std::string> loaded_libraries();

}  // namespace zoo::app
