#include "app/workers.h"

#include <ATen/Parallel.h>
#include <ATen/ThreadLocalState.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace zoo::app {

void side_by_side(int64_t workers, int64_t count, const std::function<void(int64_t)>& work) {
  workers = std::min(workers, count);
  if (workers <= 1) {
    for (int64_t i = 0; i < count; ++i) work(i);
    return;
  }
  const int threads = at::get_num_threads();
  const int share = std::max<int>(1, threads / static_cast<int>(workers));
  const at::ThreadLocalState state;
  std::atomic<int64_t> next{0};
  std::mutex mutex;
  std::exception_ptr failure;
  const auto run = [&] {
    const at::ThreadLocalStateGuard guard(state);
    at::set_num_threads(share);
    try {
      for (int64_t i = next++; i < count; i = next++) work(i);
    } catch (...) {
      next = count;
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> all;
    for (int64_t i = 0; i < workers; ++i) all.emplace_back(run);
  }
  at::set_num_threads(threads);  // the number is that of threads to come, too
  if (failure) std::rethrow_exception(failure);
}

int64_t workers_for(int64_t wanted, bool on_cpu) {
  if (wanted > 0) return wanted;
  return on_cpu ? at::get_num_threads() : 1;
}

}  // namespace zoo::app
