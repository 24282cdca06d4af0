#include "weights/adapter.h"

#include <stdexcept>

#include "weights/checkpoint.h"
#include "weights/files.h"
#include "weights/safetensors.h"

namespace zoo::weights {
namespace fs = std::filesystem;
namespace adapter_detail {

constexpr const char* kConfig = "adapter_config.json";
constexpr const char* kTensors = "adapter_model.safetensors";
constexpr const char* kPickled = "adapter_model.bin";
constexpr const char* kPrefix = "base_model.model.";
constexpr const char* kA = ".lora_A.weight";
constexpr const char* kB = ".lora_B.weight";
constexpr const char* kBias = ".lora_B.bias";
constexpr const char* kMagnitude = ".lora_magnitude_vector";

bool exists(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

// Takes `end` off `text`; false if it does not end so.
bool strip_end(std::string& text, const std::string& end) {
  if (text.size() <= end.size() || text.compare(text.size() - end.size(), end.size(), end) != 0) return false;
  text.resize(text.size() - end.size());
  return true;
}

void replace(std::string& text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  if (at != std::string::npos) text.replace(at, from.size(), to);
}

class Reader {
 public:
  Reader(const fs::path& folder, const Checkpoint& checkpoint) : folder_(folder), checkpoint_(checkpoint) {
    adapter_.folder = folder;
    adapter_.config = read_adapter_config(folder);
  }

  Adapter read() {
    if (checkpoint_.tensors().empty()) fail("", "holds no tensors");
    for (const auto& info : checkpoint_.tensors()) take(info.name);
    for (const auto& [path, layer] : adapter_.layers) check(path, layer);
    return std::move(adapter_);
  }

 private:
  [[noreturn]] void fail(const std::string& name, const std::string& what) const {
    throw std::runtime_error((checkpoint_.files().empty() ? folder_ : checkpoint_.files().front()).string() + ": " +
                             (name.empty() ? "" : "'" + name.substr(0, 200) + "' ") + what);
  }

  void take(const std::string& name) {
    std::string path = name;
    if (path.rfind(kPrefix, 0) != 0) fail(name, std::string("does not begin with '") + kPrefix + "', so it is no tensor of peft's");
    path.erase(0, std::string(kPrefix).size());
    const at::Tensor tensor = checkpoint_.get(name);
    if (!tensor.is_floating_point()) fail(name, std::string("is ") + c10::toString(tensor.scalar_type()) + "; expected floating-point numbers");
    if (strip_end(path, kMagnitude)) adapter_.layers[path].magnitude = tensor;
    else if (strip_end(path, std::string(kMagnitude) + ".weight")) adapter_.layers[path].magnitude = tensor;
    else if (strip_end(path, kA)) adapter_.layers[path].a = tensor;
    else if (strip_end(path, kB)) adapter_.layers[path].b = tensor;
    else if (strip_end(path, kBias)) adapter_.layers[path].b_bias = tensor;
    else take_value(name, path, tensor);
  }

  // Copies under the names of peft's wrappers come beside the tensor itself where bias is "all".
  void take_value(const std::string& name, std::string path, const at::Tensor& tensor) {
    if (path.find(".lora_") != std::string::npos || path.find(".lora_embedding_") != std::string::npos) {
      fail(name, "is a tensor that zoo does not know (low-rank terms of linear layers and convolutions are read)");
    }
    if (path.find(".modules_to_save.") != std::string::npos || path.find(".original_module.") != std::string::npos) return;
    replace(path, ".base_layer.", ".");
    if (!adapter_.values.emplace(path, tensor).second) fail(name, "stands there twice");
  }

  void check(const std::string& path, const LowRank& layer) const {
    const auto& config = adapter_.config;
    if (!layer.a.defined() || !layer.b.defined()) fail(path, std::string("has no ") + (layer.a.defined() ? "lora_B" : "lora_A"));
    const auto shapes = "lora_A " + shape_text(layer.a.sizes()) + ", lora_B " + shape_text(layer.b.sizes());
    const int64_t axes = layer.a.dim(), rank = config.rank(path);
    bool good = axes >= 2 && axes <= 5 && layer.b.dim() == axes && layer.a.numel() > 0 && layer.b.numel() > 0;
    for (int64_t axis = 2; good && axis < axes; ++axis) good = layer.b.size(axis) == 1;
    if (!good) fail(path, "has " + shapes + "; expected [r, in, ...] and [out, r, 1 ...]");
    if (layer.a.size(0) != rank || layer.b.size(1) != rank) {
      fail(path, "has " + shapes + "; adapter_config.json says rank " + std::to_string(rank));
    }
    if (layer.magnitude.defined() != config.use_dora) {
      fail(path, std::string(config.use_dora ? "lacks" : "has") + " lora_magnitude_vector; adapter_config.json says use_dora " + (config.use_dora ? "true" : "false"));
    }
    if (config.use_dora && layer.magnitude.numel() != layer.b.size(0)) {
      fail(path, "has lora_magnitude_vector " + shape_text(layer.magnitude.sizes()) + " beside " + shapes);
    }
    if (layer.b_bias.defined() != config.lora_bias || (config.lora_bias && (layer.b_bias.dim() != 1 || layer.b_bias.size(0) != layer.b.size(0)))) {
      fail(path, "has a lora_B.bias that does not go with " + shapes + " and lora_bias " + (config.lora_bias ? "true" : "false"));
    }
  }

  const fs::path folder_;
  const Checkpoint& checkpoint_;
  Adapter adapter_;
};

NamedTensors tensors_of(const Adapter& adapter) {
  std::map<std::string, at::Tensor> sorted;
  const auto add = [&](const std::string& key, const at::Tensor& tensor) {
    if (tensor.defined()) sorted[kPrefix + key] = tensor.detach().cpu().contiguous();
  };
  for (const auto& [path, layer] : adapter.layers) {
    add(path + kA, layer.a);
    add(path + kB, layer.b);
    add(path + kBias, layer.b_bias);
    add(path + kMagnitude, layer.magnitude);
  }
  for (const auto& [key, tensor] : adapter.values) {
    std::string name = key;
    const bool wrapped = strip_end(name, ".bias") && adapter.layers.count(name);  // peft keeps the layer inside a wrapper
    add(wrapped ? name + ".base_layer.bias" : key, tensor);
  }
  return {sorted.begin(), sorted.end()};
}

}  // namespace adapter_detail

int64_t Adapter::parameters() const {
  int64_t count = 0;
  const auto add = [&](const at::Tensor& tensor) { count += tensor.defined() ? tensor.numel() : 0; };
  for (const auto& [path, layer] : layers) {
    for (const at::Tensor* tensor : {&layer.a, &layer.b, &layer.b_bias, &layer.magnitude}) add(*tensor);
  }
  for (const auto& [key, tensor] : values) add(tensor);
  return count;
}

bool is_adapter_folder(const fs::path& folder) { return adapter_detail::exists(folder / adapter_detail::kConfig); }

AdapterConfig read_adapter_config(const fs::path& folder) {
  const fs::path file = folder / adapter_detail::kConfig;
  try {
    return AdapterConfig::from_json(read_json_file(file));
  } catch (const std::invalid_argument& error) {
    throw std::runtime_error(file.string() + ": " + error.what());
  }
}

Adapter load_adapter(const fs::path& folder) {
  namespace d = adapter_detail;
  if (!is_adapter_folder(folder)) {
    throw std::runtime_error(folder.string() + ": is no adapter folder (it has no " + d::kConfig + "); expected what peft's save_pretrained or zoo train writes");
  }
  for (const char* name : {d::kTensors, d::kPickled}) {
    if (!d::exists(folder / name)) continue;
    const auto checkpoint = Checkpoint::open(folder / name);
    return d::Reader(folder, checkpoint).read();
  }
  throw std::runtime_error(folder.string() + ": has " + d::kConfig + ", but neither " + d::kTensors + " nor " + d::kPickled);
}

void save_adapter(const fs::path& folder, const Adapter& adapter) {
  fs::create_directories(folder);
  save_safetensors(folder / adapter_detail::kTensors, adapter_detail::tensors_of(adapter), {{"format", "pt"}});
  write_file_atomically(folder / adapter_detail::kConfig, adapter.config.to_json().dump(2) + "\n");
}

}  // namespace zoo::weights
