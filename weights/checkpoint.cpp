#include "weights/checkpoint.h"

#include <algorithm>
#include <array>
#include <set>
#include <stdexcept>
#include <unordered_map>

#include "weights/nearest.h"
#include "weights/pickle.h"
#include "weights/safetensors.h"

namespace zoo::weights {
namespace fs = std::filesystem;

struct Checkpoint::Contents {
  std::vector<TensorInfo> infos;
  std::vector<MappedTensor> tensors;                 // beside infos
  std::unordered_map<std::string, size_t> position;  // name -> index into both
  std::map<std::string, std::string> metadata;
  std::vector<fs::path> files;

  void add(const NamedTensor& named);
  void add_file(const fs::path& path);
  void add_shards(const fs::path& index);
};

namespace checkpoint_detail {

constexpr std::array kPreferredNames{"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
                                     "pytorch_model.bin.index.json"};
// What trainers leave beside the weights.
const std::set<std::string> kNotWeights{"training_args.bin", "optimizer.pt", "optimizer.bin", "scheduler.pt",
                                        "scaler.pt"};

bool starts_with(std::string_view bytes, std::string_view prefix) {
  return bytes.substr(0, prefix.size()) == prefix;
}

// The first bytes decide, not the ending: a .bin may well hold safetensors.
TensorFile read_tensor_file(const fs::path& path) {
  auto file = MappedFile::open(path);
  const std::string_view head = file->bytes(0, std::min<uint64_t>(file->size(), 64));
  if (head.empty()) throw std::runtime_error(path.string() + ": the file is empty (interrupted download?)");
  if (starts_with(head, "version https://git-lfs")) {
    throw std::runtime_error(path.string() +
                             ": a Git LFS pointer, not the weights themselves; run \"git lfs pull\" "
                             "in that repository or download the file again");
  }
  if (starts_with(head, "GGUF"))
    throw std::runtime_error(path.string() + ": GGUF files are not supported; use safetensors");
  // "\x80": every pickle since protocol 2. A safetensors header of that length modulo 256 has "{" at byte 8.
  const bool safetensors = head.size() > 8 && head[8] == '{';
  if (starts_with(head, "PK\x03\x04") || (head[0] == '\x80' && !safetensors)) return read_torch_file(file);
  if (!safetensors && path.extension() != ".safetensors") {
    throw std::runtime_error(path.string() +
                             ": neither safetensors nor a file of torch.save (first bytes fit neither)");
  }
  return read_safetensors(file);
}

std::vector<fs::path> files_ending_in(const fs::path& folder, const std::set<std::string>& extensions) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    const bool weights = extensions.count(entry.path().extension().string()) && !kNotWeights.count(name) &&
                         !starts_with(name, "rng_state");
    if (weights && entry.is_regular_file()) found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

fs::path find_in_folder(const fs::path& folder) {
  for (const char* name : kPreferredNames) {
    if (fs::exists(folder / name)) return folder / name;
  }
  const auto safetensors = files_ending_in(folder, {".safetensors"});
  const auto pickles = files_ending_in(folder, {".bin", ".pth", ".pt"});
  if (safetensors.size() == 1) return safetensors[0];
  if (safetensors.empty() && pickles.size() == 1) return pickles[0];

  std::string text = folder.string() + ": no weights found; looked for ";
  for (const char* name : kPreferredNames) text += std::string(name) + ", ";
  text += "or a single *.safetensors, *.bin, *.pth or *.pt";
  const auto& several = safetensors.empty() ? pickles : safetensors;
  if (!several.empty()) text += " (there are " + std::to_string(several.size()) + ", name one of them: ";
  for (size_t i = 0; i < several.size() && i < 5; ++i)
    text += (i ? ", " : "") + several[i].filename().string();
  throw std::runtime_error(text + (several.empty() ? "" : several.size() > 5 ? ", ...)" : ")"));
}

// A shard is a plain name beside the index. (It may be a symbolic link: the Hugging Face cache is made of
// them.)
void check_shard_name(const fs::path& index, const std::string& shard) {
  const bool plain = !shard.empty() && shard != "." && shard != ".." &&
                     shard.find('/') == std::string::npos && shard.find('\\') == std::string::npos &&
                     shard.find('\0') == std::string::npos;
  if (!plain) {
    throw std::runtime_error(index.string() + ": weight_map names the file \"" + shard.substr(0, 200) +
                             "\"; only plain file names inside the folder are allowed");
  }
}

using WeightMap = std::map<std::string, std::string>;

WeightMap read_weight_map(const fs::path& index) {
  const nlohmann::json json = read_json_file(index);
  const bool shaped = json.is_object() && json.contains("weight_map") && json["weight_map"].is_object();
  if (!shaped)
    throw std::runtime_error(index.string() + ": has no \"weight_map\" object (not an index of shards?)");
  WeightMap map;
  for (const auto& [name, shard] : json["weight_map"].items()) {
    if (!shard.is_string())
      throw std::runtime_error(index.string() + ": weight_map of \"" + name.substr(0, 200) +
                               "\" is not a file name");
    check_shard_name(index, shard.get<std::string>());
    map.emplace(name, shard.get<std::string>());
  }
  return map;
}

}  // namespace checkpoint_detail

void Checkpoint::Contents::add(const NamedTensor& named) {
  const MappedTensor& tensor = named.tensor;
  const auto path = tensor.file->path();
  if (!position.emplace(named.name, infos.size()).second) {
    throw std::runtime_error(path.string() + ": the tensor \"" + named.name + "\" is there twice");
  }
  const uint64_t bytes =
      static_cast<uint64_t>(checked_elements(tensor.shape)) * c10::elementSize(tensor.dtype);
  // C128 comes out of pickles only; safetensors has no such type.
  const std::string dtype = tensor.dtype == at::kComplexDouble ? "C128" : dtype_name(tensor.dtype);
  infos.push_back({named.name, dtype, tensor.shape, bytes, path.filename().string()});
  tensors.push_back(tensor);
}

void Checkpoint::Contents::add_file(const fs::path& path) {
  TensorFile file = checkpoint_detail::read_tensor_file(path);
  files.push_back(path);
  metadata.merge(file.metadata);
  for (const NamedTensor& named : file.tensors) add(named);
}

void Checkpoint::Contents::add_shards(const fs::path& index) {
  const auto map = checkpoint_detail::read_weight_map(index);
  std::set<std::string> shards;
  for (const auto& [name, shard] : map) shards.insert(shard);
  for (const std::string& shard : shards) {
    const fs::path path = index.parent_path() / shard;
    if (!fs::exists(path))
      throw std::runtime_error(index.string() + ": the shard " + shard + " is not there");
    TensorFile file = checkpoint_detail::read_tensor_file(path);
    files.push_back(path);
    metadata.merge(file.metadata);
    for (const NamedTensor& named : file.tensors) {
      const auto listed = map.find(named.name);
      if (listed == map.end() || listed->second == shard) add(named);  // the index decides between two copies
    }
  }
  for (const auto& [name, shard] : map) {
    if (position.count(name)) continue;
    throw std::runtime_error(index.string() + ": lists \"" + name.substr(0, 200) + "\" in " + shard +
                             ", but that file does not hold it");
  }
}

Checkpoint Checkpoint::open(const fs::path& folder_or_file) {
  if (!fs::exists(folder_or_file))
    throw std::runtime_error(folder_or_file.string() + ": no such file or folder");
  const fs::path path =
      fs::is_directory(folder_or_file) ? checkpoint_detail::find_in_folder(folder_or_file) : folder_or_file;
  auto contents = std::make_shared<Contents>();
  if (path.extension() == ".json") contents->add_shards(path);
  else contents->add_file(path);
  Checkpoint checkpoint;
  checkpoint.contents_ = std::move(contents);
  return checkpoint;
}

const std::vector<TensorInfo>& Checkpoint::tensors() const& { return contents_->infos; }
const std::map<std::string, std::string>& Checkpoint::metadata() const& { return contents_->metadata; }
const std::vector<fs::path>& Checkpoint::files() const& { return contents_->files; }
bool Checkpoint::contains(const std::string& name) const { return contents_->position.count(name) > 0; }

at::Tensor Checkpoint::get(const std::string& name) const {
  const auto found = contents_->position.find(name);
  if (found != contents_->position.end()) return contents_->tensors[found->second].view();
  std::vector<std::string> names;
  for (const TensorInfo& info : contents_->infos) names.push_back(info.name);
  throw std::invalid_argument(contents_->files.front().string() + ": has no tensor \"" + name + "\"" +
                              nearest_names(name, names));
}

}  // namespace zoo::weights
