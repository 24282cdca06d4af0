#include <algorithm>
#include <cstdio>
#include <cstring>
#include <regex>
#include <set>
#include <stdexcept>
#include <unordered_map>
#include <unordered_set>

#include <nlohmann/json.hpp>

#include "weights/safetensors.h"

namespace zoo::weights {
namespace fs = std::filesystem;

uint64_t TensorSpec::bytes() const {
  return static_cast<uint64_t>(checked_elements(shape)) * c10::elementSize(dtype);
}

namespace safetensors_write_detail {

void check_specs(const std::vector<TensorSpec>& specs) {
  std::unordered_set<std::string> names;
  for (const TensorSpec& spec : specs) {
    if (spec.name.empty() || spec.name == "__metadata__" || spec.name.size() > kMaxNameBytes) {
      throw std::invalid_argument("\"" + spec.name.substr(0, 80) +
                                  "\" cannot name a tensor in a safetensors file");
    }
    if (!names.insert(spec.name).second) {
      throw std::invalid_argument("the tensor name \"" + spec.name + "\" was given twice");
    }
  }
}

// The JSON text, padded with spaces so that the data begins at a multiple of 8 bytes.
std::string header_text(const std::vector<TensorSpec>& specs, Metadata metadata) {
  metadata.emplace("format", "pt");
  nlohmann::ordered_json header;
  header["__metadata__"] = metadata;
  uint64_t offset = 0;
  for (const TensorSpec& spec : specs) {
    const uint64_t end = offset + spec.bytes();
    // Straight into the object's list: looking each name up first would be quadratic in the number of
    // tensors.
    header.get_ref<nlohmann::ordered_json::object_t&>().push_back(
        {spec.name,
         {{"dtype", dtype_name(spec.dtype)}, {"shape", spec.shape}, {"data_offsets", {offset, end}}}});
    offset = end;
  }
  try {
    std::string text = header.dump();
    text.append((8 - text.size() % 8) % 8, ' ');
    return text;
  } catch (const nlohmann::json::exception& error) {
    throw std::invalid_argument(std::string("a tensor name or metadata value is not UTF-8: ") + error.what());
  }
}

void write_tensor(AtomicFile& file, const TensorSpec& spec, const at::Tensor& tensor) {
  if (tensor.scalar_type() != spec.dtype || tensor.sizes() != at::IntArrayRef(spec.shape)) {
    throw std::invalid_argument(spec.name + ": is " + shape_text(tensor.sizes()) + " of " +
                                c10::toString(tensor.scalar_type()) + ", was announced as " +
                                shape_text(spec.shape) + " of " + c10::toString(spec.dtype));
  }
  // The only copy there ever is: one tensor that lies on another device or is not contiguous.
  const at::Tensor plain = tensor.detach().resolve_conj().resolve_neg().to(at::kCPU).contiguous();
  file.write(plain.data_ptr(), spec.bytes());
}

// A complete file under its temporary name; the caller commits it.
AtomicFile prepare(const fs::path& path, std::vector<TensorSpec> specs, const TensorSource& source,
                   const Metadata& metadata) {
  std::stable_sort(specs.begin(), specs.end(), [](const TensorSpec& a, const TensorSpec& b) {
    return c10::elementSize(a.dtype) > c10::elementSize(b.dtype);
  });
  const std::string header = header_text(specs, metadata);
  const uint64_t length = header.size();
  uint64_t total = 8 + length;
  for (const TensorSpec& spec : specs) total += spec.bytes();

  AtomicFile file(path);
  file.reserve(total);
  file.write(&length, sizeof length);
  file.write(header.data(), header.size());
  for (const TensorSpec& spec : specs) write_tensor(file, spec, source(spec));
  file.flush();
  return file;
}

std::vector<TensorSpec> specs_of(const NamedTensors& tensors) {
  std::vector<TensorSpec> specs;
  for (const auto& [name, tensor] : tensors) {
    if (!tensor.defined()) throw std::invalid_argument(name + ": undefined tensor");
    if (tensor.layout() != at::kStrided)
      throw std::invalid_argument(name + ": only dense tensors can be saved");
    specs.push_back({name, tensor.scalar_type(), tensor.sizes().vec()});
  }
  return specs;
}

TensorSource source_of(const NamedTensors& tensors) {
  std::unordered_map<std::string, at::Tensor> by_name(tensors.begin(), tensors.end());
  return [by_name = std::move(by_name)](const TensorSpec& spec) { return by_name.at(spec.name); };
}

// Greedy in the given order, as transformers does: a shard is closed when the next tensor would not fit.
std::vector<std::vector<TensorSpec>> split_into_shards(const std::vector<TensorSpec>& specs,
                                                       uint64_t max_bytes) {
  std::vector<std::vector<TensorSpec>> shards(1);
  uint64_t used = 0;
  for (const TensorSpec& spec : specs) {
    if (!shards.back().empty() && used + spec.bytes() > max_bytes) {
      shards.emplace_back();
      used = 0;
    }
    shards.back().push_back(spec);
    used += spec.bytes();
  }
  return shards;
}

std::string shard_name(size_t index, size_t count) {
  if (count == 1) return "model.safetensors";
  char name[64];
  std::snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", index + 1, count);
  return name;
}

std::string index_text(const std::vector<std::vector<TensorSpec>>& shards) {
  nlohmann::json weight_map = nlohmann::json::object();
  uint64_t total = 0;
  for (size_t i = 0; i < shards.size(); ++i) {
    for (const TensorSpec& spec : shards[i]) {
      weight_map[spec.name] = shard_name(i, shards.size());
      total += spec.bytes();
    }
  }
  return nlohmann::json{{"metadata", {{"total_size", total}}}, {"weight_map", weight_map}}.dump(2) + "\n";
}

void remove_stale(const fs::path& folder, const std::vector<fs::path>& kept) {
  static const std::regex ours(R"(model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json)");
  std::set<fs::path> names;
  for (const fs::path& path : kept) names.insert(path.filename());
  std::vector<fs::path> stale;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const fs::path name = entry.path().filename();
    if (std::regex_match(name.string(), ours) && !names.count(name)) stale.push_back(entry.path());
  }
  for (const fs::path& path : stale) fs::remove(path);
}

}  // namespace safetensors_write_detail

void save_safetensors(const fs::path& path, std::vector<TensorSpec> specs, const TensorSource& source,
                      const Metadata& metadata) {
  safetensors_write_detail::check_specs(specs);
  safetensors_write_detail::prepare(path, std::move(specs), source, metadata).commit();
}

void save_safetensors(const fs::path& path, const NamedTensors& tensors, const Metadata& metadata) {
  save_safetensors(path, safetensors_write_detail::specs_of(tensors),
                   safetensors_write_detail::source_of(tensors), metadata);
}

std::vector<fs::path> save_sharded(const fs::path& folder, std::vector<TensorSpec> specs,
                                   const TensorSource& source, const Metadata& metadata,
                                   uint64_t max_shard_bytes) {
  namespace detail = safetensors_write_detail;
  if (max_shard_bytes == 0)
    throw std::invalid_argument("max_shard_bytes is 0; a shard must hold at least one byte");
  detail::check_specs(specs);
  const auto shards = detail::split_into_shards(specs, max_shard_bytes);
  std::vector<fs::path> paths;
  std::vector<AtomicFile> files;
  for (size_t i = 0; i < shards.size(); ++i) {
    paths.push_back(folder / detail::shard_name(i, shards.size()));
    files.push_back(detail::prepare(paths.back(), shards[i], source, metadata));
  }
  if (shards.size() > 1) {
    const std::string index = detail::index_text(shards);
    paths.push_back(folder / "model.safetensors.index.json");
    files.emplace_back(paths.back());
    files.back().write(index.data(), index.size());
    files.back().flush();
  }
  for (AtomicFile& file : files) file.commit();
  detail::remove_stale(folder, paths);
  return paths;
}

std::vector<fs::path> save_sharded(const fs::path& folder, const NamedTensors& tensors,
                                   const Metadata& metadata, uint64_t max_shard_bytes) {
  return save_sharded(folder, safetensors_write_detail::specs_of(tensors),
                      safetensors_write_detail::source_of(tensors), metadata, max_shard_bytes);
}

}  // namespace zoo::weights
