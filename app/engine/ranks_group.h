// What Ranks hides: c10d's types. Included by ranks.cpp, heartbeat.cpp and gradient_reducer.cpp only.
#pragma once
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include "app/engine/heartbeat.h"
#include "app/engine/ranks.h"

namespace zoo::app {

struct Ranks::Group {
  c10::intrusive_ptr<c10d::Store> store;          // of this object alone: the heartbeat has a connection of its own
  c10::intrusive_ptr<c10d::ProcessGroup> process_group;
  std::unique_ptr<Heartbeat> heartbeat;
  mutable bool left = false;
};

}  // namespace zoo::app
