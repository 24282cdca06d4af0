// Rewriting a checkpoint as safetensors: other format, layout, element type or number of shards.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "weights/checkpoint.h"
#include "weights/layout.h"
#include "weights/safetensors.h"

namespace zoo::weights {

struct ConvertOptions {
  std::vector<Layout> layouts;
  std::optional<at::ScalarType> dtype;  // of floating-point tensors; integers and booleans stay as they are
  uint64_t max_shard_bytes = 0;         // 0: one file
  Metadata metadata;                    // put over the checkpoint's own
};

struct ConvertReport {
  std::vector<std::filesystem::path> files;
  int64_t tensors = 0;
  uint64_t bytes = 0;
  std::vector<std::string> ignored;  // keys of the checkpoint that a layout leaves out
  std::string layout;
};

// Writes to a single file when `out` ends in .safetensors, else into the folder `out`, which must exist.
// Tensors stream through one by one. Throws std::runtime_error when two keys become one, or when writing
// fails (older files survive).
ConvertReport convert(const Checkpoint& checkpoint, const std::filesystem::path& out,
                      const ConvertOptions& options);

}  // namespace zoo::weights
