#include "weights/convert.h"

#include <limits>
#include <stdexcept>
#include <unordered_map>

#include "weights/mapped_tensor.h"

namespace zoo::weights {

namespace convert_detail {

struct Job {
  std::vector<TensorSpec> specs;
  std::unordered_map<std::string, Piece> pieces;  // by the new name
};

// Types from the headers alone: nothing is read before it is written.
Job plan(const Checkpoint& checkpoint, const MappedKeys& keys, std::optional<at::ScalarType> dtype) {
  std::unordered_map<std::string, const TensorInfo*> infos;
  for (const TensorInfo& info : checkpoint.tensors()) infos.emplace(info.name, &info);
  Job job;
  for (const Piece& piece : keys.pieces) {
    const TensorInfo& info = *infos.at(piece.source);
    at::ScalarType type = dtype_from_name(info.dtype);
    if (dtype && c10::isFloatingType(type)) type = *dtype;
    const auto [place, fresh] = job.pieces.emplace(piece.key, piece);
    if (!fresh) {
      throw std::runtime_error("\"" + piece.source + "\" and \"" + place->second.source +
                               "\" would both be named \"" + piece.key + "\"");
    }
    job.specs.push_back({piece.key, type, piece.shape(info.shape)});
  }
  return job;
}

}  // namespace convert_detail

ConvertReport convert(const Checkpoint& checkpoint, const std::filesystem::path& out,
                      const ConvertOptions& options) {
  const MappedKeys keys = map_keys(checkpoint, options.layouts);
  const convert_detail::Job job = convert_detail::plan(checkpoint, keys, options.dtype);
  const TensorSource source = [&](const TensorSpec& spec) {
    return job.pieces.at(spec.name).get(checkpoint).to(spec.dtype);
  };
  Metadata metadata = options.metadata;
  metadata.insert(checkpoint.metadata().begin(), checkpoint.metadata().end());

  ConvertReport report;
  report.tensors = static_cast<int64_t>(job.specs.size());
  for (const TensorSpec& spec : job.specs) report.bytes += spec.bytes();
  report.ignored = keys.ignored;
  report.layout = keys.layout;
  const uint64_t limit =
      options.max_shard_bytes ? options.max_shard_bytes : std::numeric_limits<uint64_t>::max();
  if (out.extension() == ".safetensors") {
    if (options.max_shard_bytes)
      throw std::invalid_argument(out.string() + ": shards need a folder, not a file name");
    save_safetensors(out, job.specs, source, metadata);
    report.files = {out};
  } else {
    report.files = save_sharded(out, job.specs, source, metadata, limit);
  }
  return report;
}

}  // namespace zoo::weights
