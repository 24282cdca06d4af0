// Pieces of work side by side on a CPU. Small ones are done sooner so than one after the other on all threads: where a product takes a tenth of a
// millisecond, threads that share it wait for each other most of the time.
#pragma once
#include <cstdint>
#include <functional>

namespace zoo::app {

// Calls work(i) once for every i below `count`, in no certain order, from up to `workers` threads at once, each with its share of the threads that LibTorch
// uses. What the caller's thread has set (inference mode, gradients) holds there too. The first exception ends the rest and is thrown here. One worker: the
// calling thread, in order.
void side_by_side(int64_t workers, int64_t count, const std::function<void(int64_t)>& work);

// So many workers as LibTorch has threads, on a CPU; else one. `wanted` goes before if it is not 0.
int64_t workers_for(int64_t wanted, bool on_cpu);

}  // namespace zoo::app
