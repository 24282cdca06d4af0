// Place: which of several processes this one is, as the launchers tell it in the environment.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace zoo::app {

struct Place {
  int rank = 0, size = 1;              // of all processes
  int local_rank = 0, local_size = 1;  // of those on this machine (local_size 0: the launcher did not say)
  std::string address = "127.0.0.1";   // where the processes meet
  uint16_t port = 0;
  bool store_is_hosted = false;        // the launcher keeps the meeting point; else rank 0 does
  std::string launcher;                // "torchrun", "mpirun", "srun", "zoo": for messages
  std::string session;                 // a restart of the same job meets under another name
};

using Environment = std::function<const char*(const char*)>;

// Reads, in this order: RANK and WORLD_SIZE with MASTER_ADDR and MASTER_PORT (torchrun, `zoo train --processes`), Open MPI's
// OMPI_COMM_WORLD_*, the PMI_* of MPICH and Intel MPI, SLURM_PROCID and SLURM_NTASKS of srun. Nothing: one process that no
// launcher started, or a launcher that started just one. Where a launcher does not name a meeting point: this machine, if
// all processes are on it; under SLURM the first host of the node list; the port comes from the job's number.
// Throws UsageError for variables that contradict each other, are incomplete or are no numbers.
std::optional<Place> place_from_environment(const Environment& variable);
std::optional<Place> place_from_environment();

// For verbs that do not share their work: throws UsageError where a launcher started several processes, each of which would do all of it
// and write the same file. `verb`: "zoo run", for the message; `advice`: what to do instead.
void refuse_several_processes(const Environment& variable, const std::string& verb, const std::string& advice);
void refuse_several_processes(const std::string& verb, const std::string& advice);

// "gpu[03-05,9],login1" -> "gpu03": SLURM's short form for lists of hosts. Throws UsageError for an empty one.
std::string first_host(const std::string& list);

}  // namespace zoo::app
