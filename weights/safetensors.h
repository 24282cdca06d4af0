// The safetensors format (github.com/huggingface/safetensors): 8 bytes little-endian header length, JSON
// header, data.
#pragma once

#include <ATen/ATen.h>

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "weights/mapped_tensor.h"

namespace zoo::weights {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;
using Metadata = std::map<std::string, std::string>;

// Reads and checks the whole header; tensor data stays in the file. As strict as the reference library: names
// are unique, ranges follow each other without overlap or hole, and their lengths equal shape times element
// size. Throws std::runtime_error that names the file and the tensor.
TensorFile read_safetensors(const std::shared_ptr<const MappedFile>& file);

// What a file will hold, before the values are there.
struct TensorSpec {
  std::string name;
  at::ScalarType dtype;
  std::vector<int64_t> shape;
  uint64_t bytes() const;
};

// Called once for each spec, in the order of the file; the tensor is written and let go before the next call.
using TensorSource = std::function<at::Tensor(const TensorSpec&)>;

// Writes one file atomically. Wide element types come first, so that every tensor is aligned; else the given
// order. Metadata gets {"format": "pt"} unless it names another format: transformers refuses files without
// it. Throws std::invalid_argument for names twice or not UTF-8 and for element types the format lacks,
// std::runtime_error when writing fails (an earlier file of that name survives).
void save_safetensors(const std::filesystem::path& path, const NamedTensors& tensors,
                      const Metadata& metadata = {});
void save_safetensors(const std::filesystem::path& path, std::vector<TensorSpec> specs,
                      const TensorSource& source, const Metadata& metadata = {});

// Writes a model into a folder under the Hugging Face names: model.safetensors when everything fits
// max_shard_bytes, else model-00001-of-0000N.safetensors and model.safetensors.index.json. Every shard is
// complete on the disk before the first is renamed; then weights of an earlier save that the new one does not
// use are removed, because a reader would prefer a stale model.safetensors to the new index. Returns the
// files, the index last.
std::vector<std::filesystem::path> save_sharded(const std::filesystem::path& folder,
                                                const NamedTensors& tensors, const Metadata& metadata,
                                                uint64_t max_shard_bytes);
std::vector<std::filesystem::path> save_sharded(const std::filesystem::path& folder,
                                                std::vector<TensorSpec> specs, const TensorSource& source,
                                                const Metadata& metadata, uint64_t max_shard_bytes);

}  // namespace zoo::weights
