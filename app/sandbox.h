// Runs a program that nobody trusts: limits on time, memory, files and processes, no network where the kernel allows it.
#pragma once
#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

namespace zoo::app {

struct SandboxLimits {
  double seconds = 20.0;                      // of the clock, and of the processor
  uint64_t memory = uint64_t{1} << 30;        // address space, bytes
  uint64_t file = uint64_t{16} << 20;         // largest file written, and most of the output that is kept
};

struct SandboxResult {
  int exit_code = -1;        // -1: ended by a signal
  bool timed_out = false;
  bool network_cut = false;  // it ran in a network namespace of its own, which has no devices
  std::string out;           // standard output and error
};

// `argv[0]` is looked for in PATH; the program runs in `folder` with an environment of PATH, HOME (= folder) and LANG alone, in a
// session of its own, which ends with it. What it may read is what the user may read: the file system is not hidden. Throws
// std::runtime_error when it cannot be started at all.
SandboxResult run_in_sandbox(const std::vector<std::string>& argv, const std::filesystem::path& folder, const SandboxLimits& limits);

}  // namespace zoo::app
