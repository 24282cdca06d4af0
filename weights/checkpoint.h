// An opened set of weights: a Hugging Face folder, a .safetensors file, a .bin/.pth/.pt file, or an index of
// shards.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace zoo::weights {

struct TensorInfo {
  std::string name;
  std::string dtype;           // in the spelling of safetensors: F32, BF16, I64 ...
  std::vector<int64_t> shape;
  uint64_t bytes = 0;
  std::string file;            // name of the file that holds it
};

// Cheap to copy: copies share the opened files.
class Checkpoint {
 public:
  // Opens a file, or in a folder the first of model.safetensors, model.safetensors.index.json,
  // pytorch_model.bin, pytorch_model.bin.index.json, else the only *.safetensors or the only *.bin, *.pth,
  // *.pt. Reads headers alone. Throws std::runtime_error naming the file and what is wrong with it.
  static Checkpoint open(const std::filesystem::path& folder_or_file);

  const std::vector<TensorInfo>& tensors() const&;              // in file order, shard after shard
  const std::map<std::string, std::string>& metadata() const&;  // __metadata__ of safetensors
  const std::vector<std::filesystem::path>& files() const&;
  // Of a temporary, by value: a loop over Checkpoint::open(path).tensors() would otherwise outlive what it
  // walks.
  std::vector<TensorInfo> tensors() && { return std::as_const(*this).tensors(); }
  std::map<std::string, std::string> metadata() && { return std::as_const(*this).metadata(); }
  std::vector<std::filesystem::path> files() && { return std::as_const(*this).files(); }
  bool contains(const std::string& name) const;

  // The tensor on the CPU, without a copy: pages are read on first use, and writing to it changes memory
  // only, never the file. Two calls for one name (also through copies of this object) return views of the
  // same memory; open the file again for an independent set. Throws std::invalid_argument, with the nearest
  // names, when there is none.
  at::Tensor get(const std::string& name) const;

 private:
  struct Contents;
  std::shared_ptr<const Contents> contents_;
};

}  // namespace zoo::weights
