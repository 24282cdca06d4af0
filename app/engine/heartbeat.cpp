#include "app/engine/heartbeat.h"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cstdlib>

namespace zoo::app {
namespace heartbeat_detail {

std::vector<uint8_t> bytes(const std::string& text) { return {text.begin(), text.end()}; }
std::string key(int rank) { return "zoo/beat/" + std::to_string(rank); }

}  // namespace heartbeat_detail

using Clock = std::chrono::steady_clock;

Heartbeat::Heartbeat(c10::intrusive_ptr<c10d::Store> store, const Place& place)
    : store_(std::move(store)), place_(place), others_(static_cast<size_t>(place.size)) {
  thread_ = std::thread([this] { run(); });
}

Heartbeat::~Heartbeat() { stop(); }

void Heartbeat::stop() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

// A beat is "<number> <last word>": one key for each rank, so that one request fetches everything.
void Heartbeat::exchange() {
  const std::lock_guard lock(store_mutex_);
  std::string mine;
  {
    const std::lock_guard inner(mutex_);
    mine = std::to_string(++beat_) + " " + last_word_;
  }
  store_->set(heartbeat_detail::key(place_.rank), heartbeat_detail::bytes(mine));
  for (int rank = 0; rank < place_.size; ++rank) {
    if (rank == place_.rank || !store_->check({heartbeat_detail::key(rank)})) continue;
    const auto value = store_->get(heartbeat_detail::key(rank));
    const std::string text(value.begin(), value.end());
    const auto space = text.find(' ');
    const std::lock_guard inner(mutex_);
    Other& other = others_[static_cast<size_t>(rank)];
    const int64_t beat = std::atoll(text.c_str());
    if (beat != other.beat) other.heard = Clock::now();
    other.beat = beat;
    other.reason = space == std::string::npos ? "" : text.substr(space + 1);
    other.left = !other.reason.empty();
  }
  store_failures_ = 0;
}

void Heartbeat::run() {
  std::unique_lock lock(mutex_);
  while (!stop_) {
    lock.unlock();
    try {
      exchange();
    } catch (const std::exception&) {
      ++store_failures_;
    }
    judge();
    lock.lock();
    wake_.wait_for(lock, kBeat, [this] { return stop_; });
  }
}

std::string Heartbeat::name(int rank) const {
  return "rank " + std::to_string(rank) + " of " + std::to_string(place_.size);
}

std::string Heartbeat::silent(Clock::duration limit) const {
  if (store_failures_.load() * kBeat > limit) {
    return (place_.store_is_hosted ? "the launcher" : place_.rank == 0 ? "the store of this process" : name(0)) + std::string(" (which keeps the meeting point) has died");
  }
  for (int rank = 0; rank < place_.size; ++rank) {
    const Other& other = others_[static_cast<size_t>(rank)];
    if (rank != place_.rank && !other.left && Clock::now() - other.heard > limit) {
      const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(Clock::now() - other.heard).count();
      return name(rank) + " has died: no sign of life for " + std::to_string(seconds) + " s";
    }
  }
  return "";
}

// First hand before second hand: the others only repeat what happened to the first.
std::string Heartbeat::departed() const {
  for (const char kind : {'!', '?'}) {
    for (int rank = 0; rank < place_.size; ++rank) {
      const Other& other = others_[static_cast<size_t>(rank)];
      if (rank == place_.rank || !other.left || other.reason[0] != kind) continue;
      return kind == '!' ? name(rank) + " stopped: " + other.reason.substr(1) : other.reason.substr(1);
    }
  }
  return "";
}

void Heartbeat::judge() {
  std::string dead;
  {
    const std::lock_guard lock(mutex_);
    if (stop_ || !last_word_.empty()) return;
    dead = silent(kSilence);
    if (dead.empty()) return;
  }
  std::unique_lock lock(mutex_);
  if (wake_.wait_for(lock, kMercy, [this] { return stop_ || !last_word_.empty(); })) return;
  if (silent(kSilence).empty()) return;
  spdlog::error("{}; this process waits for it in vain and stops (zoo train --resume goes on from the last checkpoint)", dead);
  std::_Exit(1);
}

std::string Heartbeat::culprit(std::chrono::seconds patience) {
  const auto end = Clock::now() + patience;
  while (true) {
    {
      const std::lock_guard lock(mutex_);
      std::string found = departed();
      if (found.empty()) found = silent(5 * kBeat);
      if (!found.empty() || Clock::now() > end) return found;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
}

void Heartbeat::leave(const std::string& reason, bool second_hand) {
  {
    const std::lock_guard lock(mutex_);
    if (!last_word_.empty()) return;
    last_word_ = reason.empty() ? "." : (second_hand ? "?" : "!") + reason.substr(0, 2000);
  }
  try {
    exchange();
  } catch (const std::exception&) {
    // The store is gone: there is nobody left to tell.
  }
}

bool Heartbeat::failed() const {
  const std::lock_guard lock(mutex_);
  return last_word_.size() > 1;  // "." is a leave in peace
}

void Heartbeat::part() {
  stop();
  if (place_.store_is_hosted || failed()) return;
  const auto key = [](int rank) { return "zoo/gone/" + std::to_string(rank); };
  try {
    if (place_.rank > 0) return store_->set(key(place_.rank), heartbeat_detail::bytes("."));
    const auto end = Clock::now() + std::chrono::seconds(2);
    for (int rank = 1; rank < place_.size; ++rank)
      while (others_[static_cast<size_t>(rank)].reason == "." && !store_->check({key(rank)}) && Clock::now() < end) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  } catch (const std::exception&) {
    // The store is gone: nobody is left who would need it.
  }
}

void Heartbeat::wait_for_others(std::chrono::seconds patience) {
  const auto end = Clock::now() + patience;
  while (Clock::now() < end) {
    {
      const std::lock_guard lock(mutex_);
      bool all = true;
      for (int rank = 0; rank < place_.size; ++rank) {
        const Other& other = others_[static_cast<size_t>(rank)];
        if (rank != place_.rank && !other.left && Clock::now() - other.heard < 5 * kBeat) all = false;
      }
      if (all || store_failures_ > 2) return;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    try {
      exchange();
    } catch (const std::exception&) {
      return;
    }
  }
}

}  // namespace zoo::app
