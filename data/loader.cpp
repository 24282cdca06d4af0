#include "data/loader.h"

#include <algorithm>

namespace zoo::data {

Loader::Loader(int64_t batches, std::function<Batch(int64_t)> make, int workers, int prefetch_per_worker, bool pin)
    : batches_(batches), ahead_(int64_t{std::max(workers, 1)} * std::max(prefetch_per_worker, 1)), make_(std::move(make)), pin_(pin) {
  try {
    for (int i = 0; i < workers; ++i) threads_.emplace_back([this] { work(); });
  } catch (...) {  // no more threads to be had: those that run must end before they are destroyed
    stop();
    throw;
  }
}

Loader::~Loader() { stop(); }

void Loader::stop() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  taken_.notify_all();
  for (auto& thread : threads_) thread.join();
}

Batch Loader::make(int64_t number) const {
  Batch batch = make_(number);
  if (pin_) {
    for (auto& [name, tensor] : batch) tensor = tensor.pin_memory();
  }
  return batch;
}

void Loader::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    taken_.wait(lock, [this] { return stop_ || started_ >= batches_ || started_ < delivered_ + ahead_; });
    if (stop_ || started_ >= batches_) return;
    const int64_t number = started_++;
    lock.unlock();
    Slot slot;
    try {
      slot.batch = make(number);
    } catch (...) {
      slot.error = std::current_exception();
    }
    lock.lock();
    ready_.emplace(number, std::move(slot));
    made_.notify_all();
  }
}

std::optional<Batch> Loader::next() {
  if (delivered_ >= batches_) return std::nullopt;
  if (threads_.empty()) return make(delivered_++);
  std::unique_lock lock(mutex_);
  made_.wait(lock, [this] { return ready_.contains(delivered_); });
  Slot slot = std::move(ready_.extract(delivered_).mapped());
  ++delivered_;
  lock.unlock();
  taken_.notify_all();
  if (slot.error) std::rethrow_exception(slot.error);
  return std::move(slot.batch);
}

}  // namespace zoo::data
