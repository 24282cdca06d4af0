#include "app/engine/place.h"

#include <cstdlib>
#include <stdexcept>
#include <vector>

#include "app/cli.h"

namespace zoo::app {
namespace place_detail {

// Reads the variables of one launcher and complains about them in one way.
class Variables {
 public:
  explicit Variables(const Environment& get) : get_(get) {}

  std::string text(const char* name) const {
    const char* value = get_(name);
    return value ? value : "";
  }
  bool has(const char* name) const { return !text(name).empty(); }
  bool any(std::initializer_list<const char*> names) const {
    for (const char* name : names) {
      if (has(name)) return true;
    }
    return false;
  }
  int number(const char* name, int least, int most) const {
    const std::string value = text(name);
    const bool digits = !value.empty() && value.size() <= 9 && value.find_first_not_of("0123456789") == std::string::npos;
    const int number = digits ? std::stoi(value) : -1;
    if (number < least || number > most) {
      throw UsageError(std::string("environment: ") + name + " is '" + value.substr(0, 40) + "'; expected a number from " + std::to_string(least) +
                       " to " + std::to_string(most) + " (start the processes with one launcher: torchrun --no-python, mpirun, srun, or zoo train --processes N)");
    }
    return number;
  }
  // All or nothing: a launcher sets them together.
  void require(const std::string& launcher, std::initializer_list<const char*> names) const {
    std::string missing, present;
    for (const char* name : names) {
      auto& list = has(name) ? present : missing;
      list += (list.empty() ? "" : ", ") + std::string(name);
    }
    if (missing.empty()) return;
    throw UsageError("environment: " + present + " without " + missing + ": " + launcher +
                     " sets them together (set all of them, or unset all to run one process)");
  }

 private:
  const Environment& get_;
};

constexpr int kMost = 1 << 20;

void read_ranks(Place& place, const Variables& from, const char* rank, const char* size) {
  place.size = from.number(size, 1, kMost);
  place.rank = from.number(rank, 0, place.size - 1);
}

// A launcher on one machine may leave these out.
void read_local(Place& place, const Variables& from, const char* rank, const char* size) {
  place.local_size = from.has(size) ? from.number(size, 1, place.size) : 0;
  place.local_rank = from.has(rank) ? from.number(rank, 0, place.local_size > 0 ? place.local_size - 1 : place.size - 1) : place.rank;
}

// A port that all processes of a job, and hardly another job, arrive at: the job's name hashed (FNV-1a) into 20000 .. 29999.
uint16_t port_of(const std::string& job) {
  uint32_t hash = 2166136261u;
  for (const char c : job) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return static_cast<uint16_t>(20000 + hash % 10000);
}

void read_meeting_point(Place& place, const Variables& from, const std::string& otherwise, const std::string& job) {
  if (place.size == 1) return;  // nobody to meet
  if (from.has("MASTER_ADDR")) place.address = from.text("MASTER_ADDR");
  else if (!otherwise.empty()) place.address = otherwise;
  else if (place.local_size != place.size)
    throw UsageError(place.launcher + " started " + std::to_string(place.size) + " processes on several machines without MASTER_ADDR: "
                     "pass the address of rank 0's machine (Open MPI: mpirun -x MASTER_ADDR=host -x MASTER_PORT=29500 ...)");
  place.port = from.has("MASTER_PORT") ? static_cast<uint16_t>(from.number("MASTER_PORT", 1, 65535)) : port_of(job);
}

Place torchrun(const Variables& from) {
  from.require("torchrun", {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"});
  Place place;
  place.launcher = from.has("ZOO_LAUNCHED") ? "zoo" : "torchrun";
  read_ranks(place, from, "RANK", "WORLD_SIZE");
  read_local(place, from, "LOCAL_RANK", "LOCAL_WORLD_SIZE");
  read_meeting_point(place, from, "", "");
  place.store_is_hosted = from.text("TORCHELASTIC_USE_AGENT_STORE") == "True";
  place.session = from.text("TORCHELASTIC_RESTART_COUNT");
  return place;
}

Place open_mpi(const Variables& from) {
  from.require("mpirun", {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"});
  Place place;
  place.launcher = "mpirun";
  read_ranks(place, from, "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE");
  read_local(place, from, "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE");
  read_meeting_point(place, from, "", from.text("PMIX_NAMESPACE") + from.text("OMPI_MCA_ess_base_jobid"));
  return place;
}

Place pmi(const Variables& from) {
  from.require("mpiexec", {"PMI_RANK", "PMI_SIZE"});
  Place place;
  place.launcher = "mpiexec";
  read_ranks(place, from, "PMI_RANK", "PMI_SIZE");
  read_local(place, from, "MPI_LOCALRANKID", "MPI_LOCALNRANKS");
  read_meeting_point(place, from, "", from.text("PMI_PORT"));  // PMI_ID is the process's own
  return place;
}

Place slurm(const Variables& from) {
  const char* size = from.has("SLURM_STEP_NUM_TASKS") ? "SLURM_STEP_NUM_TASKS" : "SLURM_NTASKS";
  from.require("srun", {"SLURM_PROCID", size});
  Place place;
  place.launcher = "srun";
  read_ranks(place, from, "SLURM_PROCID", size);
  place.local_size = 0;
  place.local_rank = from.has("SLURM_LOCALID") ? from.number("SLURM_LOCALID", 0, place.size - 1) : place.rank;
  std::string hosts;
  for (const char* list : {"SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NODELIST"}) {
    if (hosts.empty()) hosts = from.text(list);
  }
  if (from.text("SLURM_NNODES") == "1" || from.text("SLURM_STEP_NUM_NODES") == "1") place.local_size = place.size;
  if (hosts.empty() && !from.has("MASTER_ADDR")) from.require("srun", {"SLURM_PROCID", "SLURM_STEP_NODELIST"});
  read_meeting_point(place, from, hosts.empty() ? "" : first_host(hosts), from.text("SLURM_JOB_ID") + "." + from.text("SLURM_STEP_ID"));
  return place;
}

// In the batch script itself (no srun before the program) SLURM describes the job, but there is one process only.
bool slurm_step(const Variables& from) {
  if (!from.any({"SLURM_PROCID"}) || !from.any({"SLURM_NTASKS", "SLURM_STEP_NUM_TASKS"})) return false;
  return !from.has("SLURM_JOB_ID") || from.has("SLURM_STEP_ID");
}

void refuse_contradiction(const Place& place, const Variables& from, const char* rank, const char* size) {
  if (!from.has(rank) || !from.has(size)) return;
  if (from.text(rank) == std::to_string(place.rank) && from.text(size) == std::to_string(place.size)) return;
  throw UsageError("environment: RANK " + std::to_string(place.rank) + " of WORLD_SIZE " + std::to_string(place.size) + ", but " + rank + " " +
                   from.text(rank) + " of " + size + " " + from.text(size) + ": two launchers contradict each other (unset RANK and WORLD_SIZE, or use one launcher)");
}

std::optional<Place> read(const Variables& from) {
  if (from.any({"RANK", "WORLD_SIZE"})) {
    const Place place = torchrun(from);
    refuse_contradiction(place, from, "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE");
    return place;
  }
  if (from.any({"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"})) return open_mpi(from);
  if (from.any({"PMI_RANK", "PMI_SIZE"})) return pmi(from);
  if (slurm_step(from)) return slurm(from);
  return std::nullopt;
}

}  // namespace place_detail

std::optional<Place> place_from_environment(const Environment& variable) {
  auto place = place_detail::read(place_detail::Variables(variable));
  if (place && place->size == 1) return std::nullopt;
  return place;
}

namespace place_detail {

const char* environment(const char* name) { return std::getenv(name); }

}  // namespace place_detail

std::optional<Place> place_from_environment() { return place_from_environment(place_detail::environment); }

// Only the number matters here: variables that are incomplete otherwise (no meeting point, no rank) tell of several processes all the same.
void refuse_several_processes(const Environment& variable, const std::string& verb, const std::string& advice) {
  const place_detail::Variables from(variable);
  const auto refuse = [&](const std::string& launcher, const char* size) {
    if (!from.has(size) || from.text(size) == "1") return;
    throw UsageError(verb + " does not share its work among processes, but " + launcher + " started " + from.text(size).substr(0, 40) + " (" + size +
                     " in the environment): each would do all of it and write the same file; " + advice);
  };
  refuse("torchrun", "WORLD_SIZE");
  refuse("mpirun", "OMPI_COMM_WORLD_SIZE");
  refuse("mpiexec", "PMI_SIZE");
  if (place_detail::slurm_step(from)) refuse("srun", from.has("SLURM_STEP_NUM_TASKS") ? "SLURM_STEP_NUM_TASKS" : "SLURM_NTASKS");
}

void refuse_several_processes(const std::string& verb, const std::string& advice) { refuse_several_processes(place_detail::environment, verb, advice); }

std::string first_host(const std::string& list) {
  const auto bracket = list.find_first_of("[,");
  std::string host = list.substr(0, bracket);
  if (bracket != std::string::npos && list[bracket] == '[') {
    const auto end = list.find_first_of("-,]", bracket + 1);
    host += list.substr(bracket + 1, end == std::string::npos ? end : end - bracket - 1);
    const auto close = list.find(']', bracket);  // "rack[1-2]-a": what follows the numbers belongs to the name
    if (close != std::string::npos) host += list.substr(close + 1, list.find_first_of(",[", close + 1) - close - 1);
  }
  if (host.empty()) throw UsageError("environment: the node list '" + list.substr(0, 80) + "' names no host (set MASTER_ADDR)");
  return host;
}

}  // namespace zoo::app
