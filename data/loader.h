// Loader: makes batches ahead of their use on threads of its own, and hands them out in order.
#pragma once
#include <ATen/ATen.h>

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace zoo::data {

using Batch = std::map<std::string, at::Tensor>;

// Batch number i is always make(i), whatever the number of workers: make must draw its random numbers from i alone, and
// be safe to call from several threads. With no workers make runs inside next(). At most workers x prefetch_per_worker
// batches exist ahead of the one that was handed out last. `pin`: their tensors lie in page-locked memory, from which a
// copy to a CUDA device runs beside the computation (needs such a device).
class Loader {
 public:
  Loader(int64_t batches, std::function<Batch(int64_t)> make, int workers, int prefetch_per_worker = 2, bool pin = false);
  ~Loader();  // stops the workers
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  // The next batch in order, or nothing after the last. Throws what make threw for this batch.
  std::optional<Batch> next();
  int64_t batches() const { return batches_; }

 private:
  struct Slot {
    Batch batch;
    std::exception_ptr error;
  };
  void work();
  void stop();  // and wait for the workers
  Batch make(int64_t number) const;

  const int64_t batches_, ahead_;
  const std::function<Batch(int64_t)> make_;
  std::mutex mutex_;
  std::condition_variable made_, taken_;
  std::map<int64_t, Slot> ready_;
  int64_t started_ = 0, delivered_ = 0;
  const bool pin_;
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace zoo::data
