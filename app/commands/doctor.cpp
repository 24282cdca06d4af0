// zoo doctor: what this machine and this build offer, and what to do about what is missing.
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <ATen/cpu/Utils.h>
#include <c10/core/DeviceType.h>
#include <torch/cuda.h>
#include <torch/version.h>

#include <cstdlib>
#include <iostream>

#include "app/cli.h"
#include "app/engine/graphed_forward.h"
#include "app/engine/ranks.h"
#include "app/files.h"
#include "app/machine.h"
#include "app/report/table.h"
#include "app/resources.h"
#include "models/blocks/linear.h"
#include "models/names.h"
#include "models/registry.h"

namespace zoo::app {
namespace fs = std::filesystem;
namespace doctor_detail {

// Of a multi-line text such as at::get_parallel_info(), the value after the first line that starts so.
std::string line_value(const std::string& text, const std::string& start) {
  const auto found = text.find(start);
  if (found == std::string::npos) return "";
  const auto end = text.find('\n', found);
  return text.substr(found + start.size(), end == std::string::npos ? end : end - found - start.size());
}

// The OpenMP library that is really loaded: two of them in one process fight over the cores.
std::vector<std::string> openmp_libraries() {
  std::vector<std::string> names;
  for (const auto& path : loaded_libraries()) {
    const std::string name = fs::path(path).filename().string();
    const bool openmp = name.rfind("libgomp", 0) == 0 || name.rfind("libiomp", 0) == 0 || name.rfind("libomp", 0) == 0;
    if (openmp) names.push_back(path);
  }
  return names;
}

std::string opencv_version() {
  for (const auto& path : loaded_libraries()) {
    const std::string name = fs::path(path).filename().string();
    if (name.rfind("libopencv_core", 0) == 0) return name;
  }
  return "";
}

std::string compiler() {
#ifdef __clang__
  return __VERSION__;  // "Clang 14.0.6"
#else
  return "gcc " __VERSION__;
#endif
}

Json versions() {
  return {{"zoo", ZOO_VERSION}, {"libtorch", TORCH_VERSION}, {"compiler", compiler()}, {"cpp", __cplusplus},
          {"opencv", opencv_version()}, {"processes", distributed_backends()}};
}

Json devices() {
  const auto names = nvidia_device_names();
  Json list = Json::array();
  list.push_back({{"device", "cpu"}, {"name", cpu_name()}});
  const auto count = torch::cuda::device_count();
  for (int i = 0; i < count; ++i) {
    const auto index = static_cast<size_t>(i);
    Json one = {{"device", "cuda:" + std::to_string(i)}, {"name", index < names.size() ? names[index] : "CUDA device"}};
    const auto [free, total] = at::getDeviceAllocator(at::kCUDA)->getMemoryInfo(static_cast<c10::DeviceIndex>(i));
    one["memory_free"] = free;
    one["memory_total"] = total;
    list.push_back(one);
  }
  return list;
}

Json processor() {
  const Json features = cpu_features();
  return {{"name", cpu_name()}, {"features", features}, {"kernel_set", at::get_cpu_capability()},
          {"physical_cores", physical_cores()}, {"logical_cores", logical_cores()}, {"threads", at::get_num_threads()},
          {"openmp", openmp_libraries()}};
}

Json kernels() {
  const auto features = cpu_features();
  const auto has = [&](const std::string& name) { return std::find(features.begin(), features.end(), name) != features.end(); };
  return {{"linear_float32", linear_kernel_name()},
          {"onednn", at::globalContext().userEnabledMkldnn() && at::hasMKLDNN()},
          {"mkl", at::hasMKL()},
          {"bfloat16_in_hardware", has("avx512_bf16") || has("amx_bf16")},
          {"int8_in_hardware", has("avx512_vnni") || has("avx_vnni") || has("amx_int8")},
          {"cudnn", torch::cuda::cudnn_is_available()},
          {"cuda_graphs", GraphedForward::built_in()}};
}

Json places() {
  std::error_code error;
  const auto place = [&](const fs::path& path) { return Json{{"path", path.string()}, {"present", fs::exists(path, error)}}; };
  return {{"program", program_path().string()}, {"fixtures", place(resource("fixtures"))}, {"recipes", place(resource("recipes"))},
          {"cache", place(cache_folder())}};
}

#ifdef ZOO_CUDA
constexpr bool kCudaBuild = true;
#else
constexpr bool kCudaBuild = false;
#endif

// What is missing and what to do about it, one sentence each.
std::vector<std::string> advice(const Json& report) {
  std::vector<std::string> lines;
  const auto features = cpu_features();
  std::error_code error;
  if (torch::cuda::device_count() == 0 && fs::exists("/dev/nvidia0", error)) {
    lines.push_back(kCudaBuild ? "there is an NVIDIA device, but LibTorch cannot use it: check the driver (nvidia-smi) against the CUDA version of LibTorch"
                               : "there is an NVIDIA device, but this LibTorch is a CPU build: build against a CUDA LibTorch (ZOO_TORCH=...)");
  }
  if (std::find(features.begin(), features.end(), "avx2") == features.end()) {
    lines.push_back("this CPU has no AVX2: everything works, several times slower");
  }
  if (report["cpu"]["openmp"].size() > 1) {
    lines.push_back("two OpenMP libraries are loaded (" + join(report["cpu"]["openmp"].get<std::vector<std::string>>()) +
                    "): they compete for the cores; use a LibTorch that links the system's");
  }
  const auto memory_now = memory();
  if (memory_now.available < (uint64_t{1} << 30)) {
    lines.push_back("only " + bytes_text(memory_now.available) + " of memory is available: use --batch-size 1 and small networks");
  }
  if (const char* threads = std::getenv("OMP_NUM_THREADS")) {
    if (std::atoi(threads) != physical_cores()) {
      lines.push_back(std::string("OMP_NUM_THREADS is ") + threads + ", this machine has " + std::to_string(physical_cores()) +
                      " physical cores: unset it, or give --threads");
    }
  }
  if (!report["places"]["fixtures"]["present"].get<bool>()) {
    lines.push_back("the parity fixtures are not where they are looked for (" + report["places"]["fixtures"]["path"].get<std::string>() +
                    "): zoo verify needs --fixture FILE, or install the program with make install");
  }
  return lines;
}

Json examine() {
  const auto memory_now = memory();
  Json report = {{"versions", versions()}, {"devices", devices()}, {"cpu", processor()}, {"kernels", kernels()},
                 {"memory", {{"total", memory_now.total}, {"available", memory_now.available}}},
                 {"places", places()}, {"networks", registry().size()}, {"cuda_build", kCudaBuild}};
  report["advice"] = advice(report);
  return report;
}

std::string yes_no(const Json& flag) { return flag.get<bool>() ? "yes" : "no"; }

void print_text(const Json& report) {
  const auto line = [](const std::string& name, const std::string& value) {
    std::cout << "  " << name << std::string(name.size() < 18 ? 18 - name.size() : 1, ' ') << value << "\n";
  };
  std::cout << "versions\n";
  for (const auto& [name, value] : report["versions"].items()) {
    if (!value.is_string() || !value.get<std::string>().empty()) line(name, value.is_string() ? value.get<std::string>() : value.dump());
  }
  std::cout << "devices\n";
  for (const auto& device : report["devices"]) {
    const std::string memory = !device.contains("memory_free") ? "" : ", " + bytes_text(device["memory_free"].get<uint64_t>()) + " free of " +
                                                                          bytes_text(device["memory_total"].get<uint64_t>());
    line(device["device"].get<std::string>(), device["name"].get<std::string>() + memory);
  }
  if (report["devices"].size() == 1) line("cuda", kCudaBuild ? "built in, but no device is visible" : "not in this LibTorch");
  const auto& cpu = report["cpu"];
  std::cout << "cpu\n";
  line("features", join(cpu["features"].get<std::vector<std::string>>(), " "));
  line("LibTorch kernels", cpu["kernel_set"].get<std::string>());
  line("cores", cpu["physical_cores"].dump() + " physical, " + cpu["logical_cores"].dump() + " logical; " + cpu["threads"].dump() + " threads in use");
  line("OpenMP", join(cpu["openmp"].get<std::vector<std::string>>()));
  std::cout << "fast kernels\n";
  const auto& fast = report["kernels"];
  line("linear, float32", fast["linear_float32"].get<std::string>());
  line("oneDNN / MKL", yes_no(fast["onednn"]) + " / " + yes_no(fast["mkl"]));
  line("bfloat16", fast["bfloat16_in_hardware"].get<bool>() ? "in hardware" : "emulated: slower than float32");
  line("int8", fast["int8_in_hardware"].get<bool>() ? "in hardware" : "emulated");
  if (kCudaBuild) line("CUDA graphs", fast["cuda_graphs"].get<bool>() ? "yes" : "no: built without CUDA's headers");
  std::cout << "memory\n";
  line("available", bytes_text(report["memory"]["available"].get<uint64_t>()) + " of " + bytes_text(report["memory"]["total"].get<uint64_t>()));
  std::cout << "places\n";
  line("program", report["places"]["program"].get<std::string>());
  for (const char* name : {"fixtures", "recipes", "cache"}) {
    const auto& place = report["places"][name];
    line(name, place["path"].get<std::string>() + (place["present"].get<bool>() ? "" : "  (absent)"));
  }
  std::cout << "networks            " << report["networks"].dump() << " (zoo list)\n";
  std::cout << (report["advice"].empty() ? "nothing to do\n" : "what to do\n");
  for (const auto& advice : report["advice"]) std::cout << "  - " << advice.get<std::string>() << "\n";
}

Action declare(CLI::App&, Common& common) {
  return [&common] {
    const Json report = examine();
    if (common.json) print_json(report);
    else print_text(report);
    return 0;
  };
}

}  // namespace doctor_detail

Verb doctor_verb() {
  return {"doctor", "versions, devices, CPU features, kernels, memory; what to do about what is missing",
          "  zoo doctor\n"
          "  zoo doctor --json\n",
          doctor_detail::declare};
}

}  // namespace zoo::app
