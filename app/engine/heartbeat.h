// Heartbeat: every process tells the others through the store, once a second, that it lives, and watches them.
#pragma once
#include <torch/csrc/distributed/c10d/Store.hpp>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "app/engine/place.h"

namespace zoo::app {

class Heartbeat {
 public:
  static constexpr std::chrono::seconds kBeat{1}, kSilence{30}, kMercy{15};

  // `store`: a connection that nobody else uses. When another rank has been silent for kSilence, this process gets kMercy to
  // notice by itself (its collective fails); then the thread says who is dead and ends the process with exit code 1.
  Heartbeat(c10::intrusive_ptr<c10d::Store> store, const Place& place);
  ~Heartbeat();

  // Waits up to `patience` for a rank that left or whose beats stopped, and describes it: "rank 1 has died (...)"; "" if all live.
  std::string culprit(std::chrono::seconds patience);
  // Says goodbye: `reason` empty is a good end; `second_hand`: the reason is another rank's failure.
  void leave(const std::string& reason, bool second_hand);
  // Whether this rank has left for a reason.
  bool failed() const;
  // Waits until all others have said goodbye or are silent.
  void wait_for_others(std::chrono::seconds patience);
  // The last use of the store: the rank that keeps it waits a little until the others need it no more, so that none of them meets a
  // closed connection.
  void part();

 private:
  struct Other {
    int64_t beat = -1;
    std::chrono::steady_clock::time_point heard = std::chrono::steady_clock::now();
    bool left = false;
    std::string reason;  // "!..." at first hand, "?..." at second hand
  };
  void run();
  void stop();
  void exchange();  // one beat out, everybody's in
  void judge();
  std::string silent(std::chrono::steady_clock::duration limit) const;  // with mutex_ held
  std::string departed() const;                                         // with mutex_ held
  std::string name(int rank) const;

  const c10::intrusive_ptr<c10d::Store> store_;
  const Place place_;
  mutable std::mutex mutex_;
  std::mutex store_mutex_;
  std::condition_variable wake_;
  std::vector<Other> others_;
  int64_t beat_ = 0;
  std::atomic<int> store_failures_{0};  // in a row
  std::string last_word_;  // of this rank, once it leaves
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace zoo::app
