// Ranks: the processes that train or evaluate together, over c10d (Gloo between CPUs, NCCL between CUDA devices).
// A program of one process is Ranks(): every call is then a no-op that costs nothing, so that callers need no second path.
#pragma once
#include <ATen/ATen.h>

#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "app/engine/place.h"
#include "models/model.h"

namespace zoo::app {

// Another process died, stopped or cannot be reached; what() names it.
struct RankFailure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Collective calls (all but rank(), size(), ... and leave) must be made by all ranks in the same order. Where another rank
// has died they throw RankFailure within a minute: at once when its connections close, else when its heartbeat has been
// missing for 30 s; a rank that does not come out of its calls by itself then ends with exit code 1.
class Ranks {
 public:
  Ranks();                                   // one process
  // Meets the others; gives up after two minutes with a message that names the missing ones. Throws RankFailure;
  // std::runtime_error in a build without Gloo.
  explicit Ranks(const Place& place);
  ~Ranks();                                  // waits (at most a minute) until the others are done too
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;

  int rank() const { return place_.rank; }
  int size() const { return place_.size; }
  int local_rank() const { return place_.local_rank; }
  const Place& place() const { return place_; }
  bool first() const { return place_.rank == 0; }    // the one that writes files and talks
  // "cuda" of several processes on one machine: the device with the number of the local rank. Throws UsageError when there
  // are fewer devices than processes.
  at::Device device(at::Device chosen) const;

  void all_reduce_sum(at::Tensor& tensor) const;                  // in place; contiguous, CPU or CUDA
  void all_reduce_sum(std::span<double> values) const;
  bool any(bool here) const;                                      // true on all when true on one
  void broadcast(std::span<const at::Tensor> tensors, int from = 0) const;  // in place
  std::string broadcast(const std::string& bytes, int from = 0) const;
  std::vector<std::string> gather(const std::string& bytes) const;  // on rank 0 one per rank; on the others empty
  void barrier() const;
  // Throws UsageError on all ranks that differ from rank 0: "recipe", its text.
  void require_same(const std::string& what, const std::string& text) const;

  // Tells the others why this one stops (they name it); call it from a catch block before the exception leaves the training.
  void leave(const std::string& reason) const;

  // For the gradient reducer, the only other file that knows c10d.
  struct Group;
  Group* group() const { return group_.get(); }
  // Turns an error of a communication into RankFailure where another rank is to blame, else throws it again.
  [[noreturn]] void blame(const char* doing) const;

 private:
  Place place_;
  std::unique_ptr<Group> group_;
};

// "gloo", "gloo, nccl" or "none (built without gloo's headers)": for `zoo doctor`.
std::string distributed_backends();
bool distributed_available();

// The meeting point of `zoo train --processes`, kept by the process that starts the others.
class StoreHost {
 public:
  StoreHost();
  ~StoreHost();
  uint16_t port() const;

 private:
  struct Server;
  std::unique_ptr<Server> server_;
};

}  // namespace zoo::app
