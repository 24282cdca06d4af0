#include "app/machine.h"

#include <malloc.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>

namespace zoo::app {
namespace machine_detail {

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// The text after "key :" of the first such line, as /proc writes it.
std::string proc_field(const std::string& path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.compare(0, key.size(), key) != 0) continue;
    const auto colon = line.find(':');
    if (colon == std::string::npos) continue;
    const auto begin = line.find_first_not_of(" \t", colon + 1);
    return begin == std::string::npos ? "" : line.substr(begin);
  }
  return "";
}

uint64_t proc_kilobytes(const std::string& path, const std::string& key) {
  return std::strtoull(proc_field(path, key).c_str(), nullptr, 10) * 1024;
}

// Cores that a container's quota pays for, rounded up; a large number without a quota.
int quota_cores() {
  constexpr int kNone = 1 << 20;
  std::istringstream line(first_line("/sys/fs/cgroup/cpu.max"));  // "200000 100000" or "max 100000"
  double quota = 0, period = 0;
  if (!(line >> quota >> period) || period <= 0 || quota <= 0) return kNone;
  return std::max(1, static_cast<int>(std::ceil(quota / period)));
}

std::vector<int> allowed_cpus() {
  std::vector<int> cpus;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  }
  return cpus;
}

}  // namespace machine_detail

int logical_cores() {
  const auto allowed = machine_detail::allowed_cpus();
  return allowed.empty() ? std::max(1, static_cast<int>(std::thread::hardware_concurrency())) : static_cast<int>(allowed.size());
}

int physical_cores() {
  std::set<std::string> cores;
  for (const int cpu : machine_detail::allowed_cpus()) {
    const std::string folder = "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
    const std::string siblings = machine_detail::first_line(folder + "thread_siblings_list");
    cores.insert(siblings.empty() ? "cpu" + std::to_string(cpu) : siblings);
  }
  const int count = cores.empty() ? logical_cores() : static_cast<int>(cores.size());
  return std::min(count, machine_detail::quota_cores());
}

std::string cpu_name() {
  const std::string name = machine_detail::proc_field("/proc/cpuinfo", "model name");
  return name.empty() ? "unknown" : name;
}

std::vector<std::string> cpu_features() {
  std::istringstream flags(machine_detail::proc_field("/proc/cpuinfo", "flags"));
  std::set<std::string> present;
  for (std::string flag; flags >> flag;) present.insert(flag);
  std::vector<std::string> known;
  for (const char* name : {"avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile", "amx_bf16", "amx_int8"}) {
    if (present.count(name)) known.emplace_back(name);
  }
  return known;
}

Memory memory() {
  Memory result{machine_detail::proc_kilobytes("/proc/meminfo", "MemTotal"), machine_detail::proc_kilobytes("/proc/meminfo", "MemAvailable")};
  const uint64_t limit = std::strtoull(machine_detail::first_line("/sys/fs/cgroup/memory.max").c_str(), nullptr, 10);
  if (limit > 0 && limit < result.total) {
    const uint64_t used = std::strtoull(machine_detail::first_line("/sys/fs/cgroup/memory.current").c_str(), nullptr, 10);
    result.total = limit;
    result.available = std::min(result.available, limit - std::min(limit, used));
  }
  return result;
}

uint64_t resident_bytes() { return machine_detail::proc_kilobytes("/proc/self/status", "VmRSS"); }

uint64_t peak_resident_bytes() {
  if (const uint64_t peak = machine_detail::proc_kilobytes("/proc/self/status", "VmHWM")) return peak;
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;
}

void reset_peak_resident_bytes() {
  std::ofstream("/proc/self/clear_refs") << "5";  // 5 resets VmHWM to the current size (proc(5))
}

void keep_freed_memory() {
#ifdef __GLIBC__
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, 256 << 20);
#endif
}

void keep_all_freed_memory() {
  keep_freed_memory();  // a program that embeds this may not have
#ifdef __GLIBC__
  mallopt(M_TRIM_THRESHOLD, -1);
  mallopt(M_TOP_PAD, 64 << 20);
#endif
}

namespace machine_detail {

// One 64-bit word for each page (proc_pid_pagemap(5)): whether it may be dropped, because it is (or will again be read as) a page of the file.
bool comes_from_file(uint64_t entry) {
  constexpr uint64_t kPresent = uint64_t{1} << 63, kSwapped = uint64_t{1} << 62, kOfFile = uint64_t{1} << 61;
  return (entry & kPresent) ? (entry & kOfFile) != 0 : (entry & kSwapped) == 0;
}

}  // namespace machine_detail

// Not MADV_PAGEOUT, which would also throw the file out of the system's cache; and MADV_DONTNEED alone would lose what was written.
void release_pages(const void* begin, size_t bytes) {
#ifdef __linux__
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  // A little more at both ends: reading a neighbour has mapped up to so much of what was released before.
  constexpr uintptr_t kAround = 2 << 20;
  const uintptr_t first = (reinterpret_cast<uintptr_t>(begin) - kAround) / page, last = (reinterpret_cast<uintptr_t>(begin) + bytes + kAround) / page;
  std::vector<uint64_t> entries(last - first);
  std::ifstream map("/proc/self/pagemap", std::ios::binary);
  map.seekg(static_cast<std::streamoff>(first * sizeof(uint64_t)));
  if (!map.read(reinterpret_cast<char*>(entries.data()), static_cast<std::streamsize>(entries.size() * sizeof(uint64_t)))) return;
  for (uintptr_t at = 0; at < entries.size();) {
    const auto from = at;
    while (at < entries.size() && machine_detail::comes_from_file(entries[at])) ++at;
    if (at > from) madvise(reinterpret_cast<void*>((first + from) * page), (at - from) * page, MADV_DONTNEED);
    while (at < entries.size() && !machine_detail::comes_from_file(entries[at])) ++at;
  }
#endif
}

std::vector<std::string> nvidia_device_names() {
  std::set<std::filesystem::path> folders;
  std::error_code error;
  for (const auto& item : std::filesystem::directory_iterator("/proc/driver/nvidia/gpus", error)) folders.insert(item.path());
  std::vector<std::string> names;
  for (const auto& folder : folders) names.push_back(machine_detail::proc_field((folder / "information").string(), "Model"));
  return names;
}

std::vector<std::string> loaded_libraries() {
  std::ifstream maps("/proc/self/maps");
  std::set<std::string> paths;
  for (std::string line; std::getline(maps, line);) {
    const auto begin = line.find('/');
    if (begin != std::string::npos && line.find(".so", begin) != std::string::npos) paths.insert(line.substr(begin));
  }
  return {paths.begin(), paths.end()};
}

}  // namespace zoo::app
