// The other half of app/bundle.h: a bundle back into a folder.
#include <regex>

#include "app/bundle.h"
#include "app/engine/peft.h"
#include "app/files.h"
#include "app/head.h"
#include "models/registry.h"
#include "weights/files.h"

namespace zoo::app {
namespace fs = std::filesystem;
namespace bundle_save_detail {

void copy_tokenizer(const fs::path& from, const fs::path& to) {
  for (const auto& name : tokenizers::tokenizer_files()) {
    if (on_disk(from / name)) copy_file_atomically(from / name, to / name);
  }
}

// sentence-transformers keeps the steps after the encoder in modules.json and numbered folders.
void copy_sentence_modules(const fs::path& from, const fs::path& to) {
  for (const char* name : {"modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"}) {
    if (on_disk(from / name)) copy_file_atomically(from / name, to / name);
  }
  static const std::regex module_folder("[0-9]+_[A-Za-z]+");
  for (const auto& item : fs::directory_iterator(from)) {
    const fs::path name = item.path().filename();
    if (!std::regex_match(name.string(), module_folder) || !on_disk(item.path() / "config.json")) continue;
    fs::create_directories(to / name);
    copy_file_atomically(item.path() / "config.json", to / name / "config.json");
  }
}

std::string dtype_of(const Model& model) {
  for (const auto& parameter : model.parameters()) {
    if (parameter.scalar_type() == at::kBFloat16) return "bfloat16";
    if (parameter.scalar_type() == at::kHalf) return "float16";
    if (parameter.scalar_type() == at::kFloat) return "float32";
  }
  return "float32";
}

Json config_to_save(const Bundle& bundle) {
  Json config = bundle.config;
  config.erase("torch_dtype");  // the older name of "dtype"
  config["dtype"] = dtype_of(*bundle.model);
  const auto& architectures = card(bundle.entry->name).at("architectures");
  if (!config.contains("architectures")) config["architectures"] = {architectures.begin().key()};
  if (!config.contains("model_type")) config["model_type"] = card(bundle.entry->name).at("model_types").front();
  if (head_classes(*bundle.entry, *bundle.model) == static_cast<int64_t>(bundle.labels.size()) && !bundle.labels.empty()) {
    put_labels(config, bundle.labels);
  }
  return config;
}

}  // namespace bundle_save_detail

void save_bundle(const Bundle& bundle, const fs::path& folder) {
  constexpr uint64_t kOneFile = uint64_t{1} << 50;
  fs::create_directories(folder);
  const bool adapter = !bundle.adapters.empty() && bundle.adapters.back().trained;
  if (adapter) weights::save_adapter(folder, current_adapter(bundle));
  else weights::save_sharded(folder, weights::state_dict(*bundle.model, /*with_aliases=*/false), {{"format", "pt"}}, kOneFile);
  weights::write_file_atomically(folder / "config.json", bundle_save_detail::config_to_save(bundle).dump(2) + "\n");
  if (!bundle.preprocessor.empty()) {
    weights::write_file_atomically(folder / "preprocessor_config.json", bundle.preprocessor.dump(2) + "\n");
  }
  if (bundle.tokenizer) bundle_save_detail::copy_tokenizer(bundle.tokenizer_folder, folder);
  // How texts are written belongs to the network: measured with it, a folder without it would give other texts.
  const fs::path generation = bundle.folder / "generation_config.json";
  if (!bundle.folder.empty() && on_disk(generation)) copy_file_atomically(generation, folder / "generation_config.json");
  if (!bundle.folder.empty() && bundle.task == "embedding") bundle_save_detail::copy_sentence_modules(bundle.folder, folder);
}

}  // namespace zoo::app
