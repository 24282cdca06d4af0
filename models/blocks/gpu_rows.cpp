#include "models/blocks/gpu_rows.h"

#ifdef ZOO_CUDA_KERNELS
#include <ATen/autocast_mode.h>
#include <c10/core/DeviceGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda.h>
#include <dlfcn.h>

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>

#include "models/blocks/gpu_rows_source.h"

namespace zoo {
namespace gpu_rows_detail {

using at::Tensor;

constexpr int64_t kMostRows = 8, kWarps = 8, kMostScores = 8192;  // scores are kept in 32 of a block's 48 KB

// ---- compiling and launching ----

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
  if (l.create(&program, kSource, "gpu_rows.cu", 0, nullptr, nullptr)) return {};
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

// The kernel `name` for one number of ROWS or WIDTH, made at its first use on a device; nullptr where that failed.
CUfunction kernel(const char* name, const char* what, int64_t number, at::ScalarType type, c10::DeviceIndex device) {
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

void launch(CUfunction function, std::array<int64_t, 2> blocks, int64_t shared_bytes, void** arguments, c10::DeviceIndex device) {
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
  const CUresult error = libraries().launch(&config, function, arguments, nullptr);
  TORCH_CHECK(error == CUDA_SUCCESS, "a kernel could not be started on the GPU: CUDA's error ", static_cast<int>(error));
}

// ---- what they take ----

bool aligned(const Tensor& t) { return reinterpret_cast<uintptr_t>(t.const_data_ptr()) % 16 == 0; }

// Dense, of x's type, on its device.
bool alike(const Tensor& t, const Tensor& x) { return t.scalar_type() == x.scalar_type() && t.device() == x.device() && t.is_contiguous(); }

bool possible(const Tensor& x) {
  return x.is_cuda() && type_of(x.scalar_type()) >= 0 && !at::GradMode::is_enabled() && !at::autocast::is_autocast_enabled(at::kCUDA) && libraries().found;
}

bool takes_product(const Tensor& x, const LinearWeight& w) {
  const int64_t in = x.size(-1);
  return x.numel() > 0 && x.numel() / in <= kMostRows && alike(x, x) && aligned(x) && in * x.element_size() % 16 == 0 && alike(w.weight, x) && aligned(w.weight) &&
         w.weight.dim() == 2 && w.weight.size(1) == in && (!w.bias.defined() || alike(w.bias, x));
}

struct Products {
  const void *weight[3], *bias[3];
  void* y[3];
};

// The first `count` of three; what is written is undefined where the kernel cannot be made.
std::array<Tensor, 3> products(const Tensor& x, const std::array<LinearWeight, 3>& weights, int64_t count, Pointwise after, const Tensor& residual) {
  const int64_t in = x.size(-1), rows = x.numel() / in, out = weights[0].weight.size(0), bytes = in * x.element_size();
  const c10::DeviceGuard guard(x.device());
  const CUfunction function = kernel("linear", "ROWS", rows, x.scalar_type(), x.device().index());
  if (!function) return {};
  // More warps for an output while each would read more than three times 512 bytes and the GPU has room for them.
  int64_t share = 1;
  while (share < kWarps && bytes > 3 * 512 * share && out * count * share <= 8192) share *= 2;
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = out;
  std::array<Tensor, 3> y;
  Products p{};
  for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
    y[i] = at::empty(shape, x.options());
    p.weight[i] = weights[i].weight.const_data_ptr();
    p.bias[i] = weights[i].bias.defined() ? weights[i].bias.const_data_ptr() : nullptr;
    p.y[i] = y[i].mutable_data_ptr();
  }
  const void *from = x.const_data_ptr(), *added = residual.defined() ? residual.const_data_ptr() : nullptr;
  int inputs = static_cast<int>(in), outputs = static_cast<int>(out), shared = static_cast<int>(share), activation = static_cast<int>(after);
  void* arguments[] = {&from, &p, &added, &inputs, &outputs, &shared, &activation};
  launch(function, {(out * share + kWarps - 1) / kWarps, count}, 0, arguments, x.device().index());
  return y;
}

struct Shape {  // as in the kernel
  long long query_row, query_head, key_row, key_head, value_row, value_head, mask_row, mask_head, origin_row;
  int heads, length, beams;
  float scale;
};

bool aligned_rows(const Tensor& t) { return aligned(t) && t.stride(0) * t.element_size() % 16 == 0 && t.stride(1) * t.element_size() % 16 == 0; }
bool one_query(const Tensor& t) { return t.dim() == 4 && t.size(2) == 1 && t.stride(3) == 1; }

Tensor attend(const Tensor& q, const Newest* newest, const Tensor& keys, const Tensor& values, const Tensor& mask, double scale) {
  if (!possible(q) || !one_query(q) || q.numel() == 0 || !alike(keys, q) || !alike(values, q) || keys.dim() != 4 || keys.sizes() != values.sizes()) return {};
  const int64_t rows = q.size(0), heads = q.size(1), width = q.size(3), copies = keys.size(0), length = keys.size(2), lanes = width * q.element_size() / 16;
  const bool lanes_fit = width * q.element_size() % 16 == 0 && lanes >= 1 && lanes <= 32 && (lanes & (lanes - 1)) == 0;
  if (!lanes_fit || keys.size(1) != heads || keys.size(3) != width || length < 1 || length > kMostScores || copies < 1 || rows % copies != 0) return {};
  const auto fits = [&](const Tensor& t) { return t.scalar_type() == q.scalar_type() && t.device() == q.device() && t.dim() == 4; };
  if (mask.defined() && !(fits(mask) && mask.stride(3) == 1 && mask.size(3) == length && mask.size(2) == 1 && (mask.size(0) == 1 || mask.size(0) == copies) &&
                          (mask.size(1) == 1 || mask.size(1) == heads)))
    return {};
  if (newest && !(fits(newest->key) && fits(newest->value) && one_query(newest->key) && one_query(newest->value) && aligned_rows(newest->key) && aligned_rows(newest->value) &&
                  rows == copies))
    return {};
  const c10::DeviceGuard guard(q.device());
  const CUfunction function = kernel("attend", "WIDTH", width, q.scalar_type(), q.device().index());
  if (!function) return {};

  const auto stride = [](const Tensor& t, int64_t dim) -> long long { return t.defined() && t.size(dim) > 1 ? t.stride(dim) : 0; };
  const Tensor key = newest ? newest->key : Tensor(), value = newest ? newest->value : Tensor();
  const Tensor origin = newest ? newest->origin : Tensor(), out = at::empty({rows, heads, 1, width}, q.options());
  Shape s{stride(q, 0), stride(q, 1), stride(key, 0), stride(key, 1), stride(value, 0), stride(value, 1), stride(mask, 0), stride(mask, 1), origin.defined() ? origin.stride(0) : 0,
          static_cast<int>(heads), static_cast<int>(length), static_cast<int>(rows / copies), static_cast<float>(scale)};
  const auto data = [](const Tensor& t) { return t.defined() ? t.const_data_ptr() : nullptr; };
  const void *from = data(q), *new_key = data(key), *new_value = data(value), *hidden = data(mask), *origins = data(origin);
  const void* position = newest ? data(newest->position) : nullptr;
  void *all_keys = keys.mutable_data_ptr(), *all_values = values.mutable_data_ptr(), *to = out.mutable_data_ptr();
  void* arguments[] = {&from, &new_key, &new_value, &all_keys, &all_values, &hidden, &position, &origins, &to, &s};
  launch(function, {heads, rows}, length * static_cast<int64_t>(sizeof(float)), arguments, q.device().index());
  return out;
}

}  // namespace gpu_rows_detail

at::Tensor gpu_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, Pointwise after, const at::Tensor& residual) {
  namespace d = gpu_rows_detail;
  const LinearWeight w{weight, bias};
  if (!d::possible(x) || !d::takes_product(x, w)) return {};
  if (residual.defined() && !(d::alike(residual, x) && residual.size(-1) == weight.size(0) && residual.numel() == x.numel() / x.size(-1) * weight.size(0))) return {};
  return d::products(x, {w, {}, {}}, 1, after, residual)[0];
}

std::array<at::Tensor, 3> gpu_linear(const at::Tensor& x, const std::array<LinearWeight, 3>& weights) {
  namespace d = gpu_rows_detail;
  if (!d::possible(x)) return {};
  for (const auto& w : weights) {
    if (!d::takes_product(x, w) || w.weight.sizes() != weights[0].weight.sizes()) return {};
  }
  return d::products(x, weights, 3, Pointwise::none, {});
}

at::Tensor gpu_rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  namespace d = gpu_rows_detail;
  const int64_t width = weight.numel();
  if (!d::possible(x) || x.numel() == 0 || x.size(-1) != width || x.numel() / width > d::kMostRows || width * x.element_size() % 16 != 0) return {};
  if (!d::alike(x, x) || !d::alike(weight, x) || !d::aligned(x) || !d::aligned(weight)) return {};
  const c10::DeviceGuard guard(x.device());
  const CUfunction function = d::kernel("rms_norm", "NORM", 1, x.scalar_type(), x.device().index());
  if (!function) return {};
  const at::Tensor y = at::empty_like(x);
  const void *from = x.const_data_ptr(), *gains = weight.const_data_ptr();
  void* to = y.mutable_data_ptr();
  int numbers = static_cast<int>(width);
  float epsilon = static_cast<float>(eps);
  void* arguments[] = {&from, &gains, &to, &numbers, &epsilon};
  d::launch(function, {x.numel() / width, 1}, 0, arguments, x.device().index());
  return y;
}

at::Tensor gpu_layer_norm(const at::Tensor& x, const at::Tensor& residual, const at::Tensor& weight, const at::Tensor& bias, double eps, at::Tensor* sum) {
  namespace d = gpu_rows_detail;
  constexpr int64_t kMostVectors = 8;  // of 16 bytes, that a lane keeps in registers
  const int64_t width = weight.numel(), bytes = width * x.element_size(), vectors = (bytes / 16 + 31) / 32;
  if (!d::possible(x) || x.numel() == 0 || x.size(-1) != width || bytes % 16 != 0 || vectors > kMostVectors || !bias.defined()) return {};
  for (const auto* t : {&x, &weight, &bias}) {
    if (!d::alike(*t, x) || !d::aligned(*t)) return {};
  }
  if (residual.defined() && !(d::alike(residual, x) && d::aligned(residual) && residual.sizes() == x.sizes())) return {};
  const c10::DeviceGuard guard(x.device());
  const CUfunction function = d::kernel("layer_norm", "LAYER", vectors, x.scalar_type(), x.device().index());
  if (!function) return {};
  const at::Tensor y = at::empty_like(x), s = sum && residual.defined() ? at::empty_like(x) : x;
  const void *from = x.const_data_ptr(), *added = residual.defined() ? residual.const_data_ptr() : nullptr, *gains = weight.const_data_ptr(), *offsets = bias.const_data_ptr();
  void *total = sum && residual.defined() ? s.mutable_data_ptr() : nullptr, *to = y.mutable_data_ptr();
  long long rows = x.numel() / width;
  int numbers = static_cast<int>(width);
  float epsilon = static_cast<float>(eps);
  void* arguments[] = {&from, &added, &gains, &offsets, &total, &to, &rows, &numbers, &epsilon};
  d::launch(function, {(rows + d::kWarps - 1) / d::kWarps, 1}, 0, arguments, x.device().index());
  if (sum) *sum = s;  // last: it may be the residual's own name
  return y;
}

at::Tensor gpu_attend(const at::Tensor& q, const at::Tensor& keys, const at::Tensor& values, const at::Tensor& mask, double scale) {
  return gpu_rows_detail::attend(q, nullptr, keys, values, mask, scale);
}

at::Tensor gpu_attend(const at::Tensor& q, const Newest& newest, const at::Tensor& keys, const at::Tensor& values, const at::Tensor& mask, double scale) {
  return gpu_rows_detail::attend(q, &newest, keys, values, mask, scale);
}

}  // namespace zoo

#else

namespace zoo {
at::Tensor gpu_linear(const at::Tensor&, const at::Tensor&, const at::Tensor&, Pointwise, const at::Tensor&) { return {}; }
std::array<at::Tensor, 3> gpu_linear(const at::Tensor&, const std::array<LinearWeight, 3>&) { return {}; }
at::Tensor gpu_rms_norm(const at::Tensor&, const at::Tensor&, double) { return {}; }
at::Tensor gpu_layer_norm(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, double, at::Tensor*) { return {}; }
at::Tensor gpu_attend(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, double) { return {}; }
at::Tensor gpu_attend(const at::Tensor&, const Newest&, const at::Tensor&, const at::Tensor&, const at::Tensor&, double) { return {}; }
}  // namespace zoo

#endif
