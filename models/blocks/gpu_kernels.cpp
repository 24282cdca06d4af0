#include "models/blocks/gpu_kernels.h"

#include <stdexcept>

#ifdef ZOO_CUDA_KERNELS
#include <c10/cuda/CUDAStream.h>
#include <cuda.h>
#include <dlfcn.h>

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "models/blocks/gpu_kernels_source.h"

namespace zoo::gpu_kernels {
namespace {

// NVRTC and the driver, as LibTorch's own library for them finds them. All pointers are set or the whole is not `found`.
struct Libraries {
  using Program = void*;
  int (*create)(Program*, const char*, const char*, int, const char* const*, const char* const*) = nullptr;
  int (*compile)(Program, int, const char* const*) = nullptr;
  int (*ptx_size)(Program, size_t*) = nullptr;
  int (*ptx)(Program, char*) = nullptr;
  int (*destroy)(Program*) = nullptr;
  decltype(&cuModuleLoadData) load = nullptr;
  decltype(&cuModuleGetFunction) function = nullptr;
  decltype(&cuLaunchKernelEx) launch = nullptr;
  decltype(&cuDeviceGetAttribute) attribute = nullptr;
  bool found = false;

  Libraries() {
    void* const library = dlopen("libcaffe2_nvrtc.so", RTLD_NOW | RTLD_LOCAL);
    if (!library) return;
    const auto find = [&](auto& pointer, const char* name) {
      pointer = reinterpret_cast<std::decay_t<decltype(pointer)>>(dlsym(library, name));  // in what it depends on, too
      return pointer != nullptr;
    };
    found = find(create, "nvrtcCreateProgram") && find(compile, "nvrtcCompileProgram") && find(ptx_size, "nvrtcGetPTXSize") && find(ptx, "nvrtcGetPTX") &&
            find(destroy, "nvrtcDestroyProgram") && find(load, "cuModuleLoadData") && find(function, "cuModuleGetFunction") && find(launch, "cuLaunchKernelEx") &&
            find(attribute, "cuDeviceGetAttribute");
  }
};

const Libraries& libraries() {
  static const Libraries all;
  return all;
}

std::optional<std::string> compiled(const std::string& define, int type, int device) {
  const Libraries& l = libraries();
  int major = 0, minor = 0;
  if (l.attribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device) || l.attribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device)) return {};
  const std::string architecture = "--gpu-architecture=compute_" + std::to_string(major) + std::to_string(minor);
  const std::string options[] = {architecture, "-DTYPE=" + std::to_string(type), "-D" + define, "--std=c++17"};
  const char* arguments[] = {options[0].c_str(), options[1].c_str(), options[2].c_str(), options[3].c_str()};
  Libraries::Program program = nullptr;
  if (l.create(&program, kSource, "gpu_kernels.cu", 0, nullptr, nullptr)) return {};
  size_t size = 0;
  std::optional<std::string> text;
  if (l.compile(program, 4, arguments) == 0 && l.ptx_size(program, &size) == 0) {
    text = std::string(size, '\0');
    if (l.ptx(program, text->data()) != 0) text.reset();
  }
  l.destroy(&program);
  return text;
}

int type_of(at::ScalarType type) { return type == at::kFloat ? 0 : type == at::kBFloat16 ? 1 : type == at::kHalf ? 2 : -1; }

bool begins_early(c10::DeviceIndex device) {
  static const std::vector<char> early = [] {
    std::vector<char> all(64, 0);
    for (int i = 0; i < 64; ++i) {
      int major = 0;
      all[static_cast<size_t>(i)] = libraries().attribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, i) == CUDA_SUCCESS && major >= 9;
    }
    return all;
  }();
  return device < 64 && early[static_cast<size_t>(device)];
}

}  // namespace

bool possible(const at::Tensor& x) { return x.is_cuda() && type_of(x.scalar_type()) >= 0 && libraries().found; }

Kernel kernel(const char* name, const char* what, int64_t number, at::ScalarType type, c10::DeviceIndex device) {
  static std::map<std::tuple<std::string, int64_t, at::ScalarType, c10::DeviceIndex>, CUfunction> made;
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  const auto [place, fresh] = made.try_emplace({name, number, type, device}, nullptr);
  if (!fresh) return place->second;
  const auto text = compiled(what + ("=" + std::to_string(number)), type_of(type), device);
  CUmodule module = nullptr;
  if (text && libraries().load(&module, text->c_str()) == CUDA_SUCCESS) {
    if (libraries().function(&place->second, module, name) != CUDA_SUCCESS) place->second = nullptr;
  }
  return place->second;
}

void launch(Kernel function, std::array<int64_t, 2> blocks, int64_t shared_bytes, void** arguments, c10::DeviceIndex device) {
  CUlaunchAttribute early{};  // the kernel may begin before the one in front of it ends: it waits itself
  early.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
  early.value.programmaticStreamSerializationAllowed = 1;
  CUlaunchConfig config{};
  config.gridDimX = static_cast<unsigned>(blocks[0]);
  config.gridDimY = static_cast<unsigned>(blocks[1]);
  config.gridDimZ = config.blockDimY = config.blockDimZ = 1;
  config.blockDimX = 32 * kWarps;
  config.sharedMemBytes = static_cast<unsigned>(shared_bytes);
  config.hStream = c10::cuda::getCurrentCUDAStream(device).stream();
  config.attrs = &early;
  config.numAttrs = begins_early(device) ? 1 : 0;
  const CUresult error = libraries().launch(&config, static_cast<CUfunction>(function), arguments, nullptr);
  TORCH_CHECK(error == CUDA_SUCCESS, "a kernel could not be started on the GPU: CUDA's error ", static_cast<int>(error));
}

}  // namespace zoo::gpu_kernels

#else

namespace zoo::gpu_kernels {
bool possible(const at::Tensor&) { return false; }
Kernel kernel(const char*, const char*, int64_t, at::ScalarType, c10::DeviceIndex) { return nullptr; }
void launch(Kernel, std::array<int64_t, 2>, int64_t, void**, c10::DeviceIndex) { throw std::logic_error("built without CUDA's headers"); }
}  // namespace zoo::gpu_kernels

#endif
