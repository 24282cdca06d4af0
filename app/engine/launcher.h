// Launcher: `zoo train --processes N` on one machine: starts this very command N times and looks after the processes.
#pragma once
#include <map>
#include <string>

namespace zoo::app {

struct Launched {
  int code = 0;              // 0, or that of the first process that failed
  bool interrupted = false;  // SIGINT or SIGTERM came and went on to all of them
};

// The children find their places in the environment (place.h, launcher "zoo") and the meeting point in this process. Threads
// are divided among them unless OMP_NUM_THREADS says otherwise. SIGINT and SIGTERM go on to all children; when one fails,
// the others get half a minute to end by themselves, then are ended; they end as well when this process does. Only rank 0
// keeps the standard output. `variables` are put into their environment.
// Throws std::runtime_error when rank 0, which would say so itself, was killed by a signal, and when a process cannot be started.
Launched launch_processes(int count, const std::map<std::string, std::string>& variables = {});

}  // namespace zoo::app
