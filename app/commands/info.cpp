// zoo info: what a checkpoint folder, a file of weights or a network of the registry holds.
#include <iostream>
#include <optional>
#include <set>

#include "app/bundle.h"
#include "app/cli.h"
#include "app/files.h"
#include "app/report/table.h"
#include "models/registry.h"
#include "weights/mapped_tensor.h"
#include "weights/merge_names.h"

namespace zoo::app {
namespace fs = std::filesystem;
namespace info_detail {

struct Subject {
  std::string name;
  std::vector<fs::path> files;
  std::vector<weights::TensorInfo> tensors;
  std::map<std::string, std::string> metadata;
  Json config;  // null for a bare file
  Json load;    // null for a bare file; else what strict loading reports
  Json adapter; // null for a whole network
  Json tokenizer;  // null where the folder has none
  std::string network, task;
  int64_t parameters = 0;
};

bool floating(const std::string& dtype) { return dtype[0] == 'F' || dtype.compare(0, 2, "BF") == 0 || dtype[0] == 'C'; }

int64_t elements(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

// Of a file, whose networks are unknown: elements of floating-point tensors.
int64_t parameters_in(const std::vector<weights::TensorInfo>& tensors) {
  int64_t count = 0;
  for (const auto& tensor : tensors) {
    if (floating(tensor.dtype)) count += elements(tensor.shape);
  }
  return count;
}

uint64_t bytes_in(const std::vector<weights::TensorInfo>& tensors) {
  uint64_t bytes = 0;
  for (const auto& tensor : tensors) bytes += tensor.bytes;
  return bytes;
}

void read_files(Subject& subject, const fs::path& path) {
  const auto checkpoint = weights::Checkpoint::open(path);
  subject.files = checkpoint.files();
  subject.tensors = checkpoint.tensors();
  subject.metadata = checkpoint.metadata();
  subject.parameters = parameters_in(subject.tensors);
}

// Loads the folder as `zoo run` would and keeps what came of it; a folder that does not load is still worth looking at.
void try_loading(Subject& subject) {
  BundleOptions options;
  options.for_training = true;  // a missing head shows in the report; nothing is packed
  try {
    const Bundle bundle = load_bundle(subject.name, at::kCPU, options);
    subject.network = bundle.entry->name;
    subject.task = bundle.task;
    if (subject.adapter.is_null()) subject.parameters = parameter_count(*bundle.model);
    subject.load = Json(bundle.report.json());
    subject.load["strict"] = bundle.report.missing.empty() && bundle.report.unexpected.empty() && bundle.report.mismatched.empty();
    subject.load["text"] = bundle.report.text();
  } catch (const weights::LoadError& error) {
    subject.load = Json(error.report.json());
    subject.load["strict"] = false;
    subject.load["text"] = error.report.text();
  } catch (const std::exception& error) {
    subject.load = {{"strict", false}, {"text", error.what()}};
  }
}

std::string method_of(const weights::Adapter& adapter) {
  const auto& config = adapter.config;
  if (adapter.layers.empty()) return config.bias == "all" ? "bias" : "head";
  return config.use_dora ? "DoRA" : config.use_rslora ? "rsLoRA" : "LoRA";
}

// Rank, targets and parameters of an adapter folder.
void describe_adapter(Subject& subject) {
  const auto adapter = weights::load_adapter(subject.name);
  std::vector<std::string> layers;
  std::set<int64_t> ranks;
  std::set<double> scalings;
  for (const auto& [path, low_rank] : adapter.layers) {
    layers.push_back(path);
    ranks.insert(adapter.config.rank(path));
    scalings.insert(adapter.config.scaling(path));
  }
  const auto merged = weights::merge_names(layers, [](size_t) { return std::string(); });
  Json targets = Json::array();
  for (const auto& name : merged) targets.push_back(name.pattern);
  Json values = Json::array();
  for (const auto& [key, tensor] : adapter.values) values.push_back(key);
  subject.parameters = adapter.parameters();
  subject.adapter = {{"method", method_of(adapter)}, {"base", adapter.config.base_model_name_or_path}, {"task_type", adapter.config.task_type},
                     {"ranks", ranks}, {"scalings", scalings}, {"dropout", adapter.config.lora_dropout}, {"layers", layers.size()},
                     {"targets", targets}, {"whole_tensors", values}, {"parameters", subject.parameters}};
}

// A tokenizer that cannot be read is told and hides nothing else.
Json describe_tokenizer(const fs::path& folder) {
  if (!holds_tokenizer(folder)) return nullptr;
  Json files = Json::array();
  for (const auto& name : tokenizers::tokenizer_files()) {
    if (on_disk(folder / name)) files.push_back(name);
  }
  try {
    const auto tokenizer = tokenizers::load(folder);
    Json special = Json::object();
    const std::pair<const char*, std::optional<int64_t>> ids[] = {{"pad", tokenizer->pad_id()}, {"bos", tokenizer->bos_id()}, {"eos", tokenizer->eos_id()},
        {"unk", tokenizer->unk_id()}, {"cls", tokenizer->cls_id()}, {"sep", tokenizer->sep_id()}, {"mask", tokenizer->mask_id()}};
    for (const auto& [name, id] : ids) {
      if (id) special[name] = *id;
    }
    return {{"files", files}, {"tokens", tokenizer->vocab_size()}, {"special", special}};
  } catch (const std::exception& error) {
    return {{"files", files}, {"error", error.what()}};
  }
}

Subject from_network(const std::string& spec) {
  const Bundle bundle = [&] {
    BundleOptions options;
    options.for_training = true;
    return load_bundle(spec, at::kCPU, options);
  }();
  Subject subject{spec, {}, {}, {}, bundle.config, Json(), Json(), Json(), bundle.entry->name, bundle.task, parameter_count(*bundle.model)};
  for (const auto& [name, tensor] : weights::state_dict(*bundle.model, /*with_aliases=*/false)) {
    subject.tensors.push_back({name, weights::dtype_name(tensor.scalar_type()), tensor.sizes().vec(), tensor.nbytes(), ""});
  }
  return subject;
}

Subject examine(const std::string& name) {
  std::error_code error;
  if (!fs::exists(name, error)) return from_network(name);
  Subject subject;
  subject.name = name;
  if (fs::is_regular_file(name, error)) {
    read_files(subject, name);
    return subject;
  }
  subject.tokenizer = describe_tokenizer(name);
  if (weights::is_adapter_folder(name)) {
    describe_adapter(subject);
    const auto file = fs::path(name) / "adapter_model.safetensors";
    const int64_t parameters = subject.parameters;
    read_files(subject, fs::exists(file, error) ? file : fs::path(name) / "adapter_model.bin");
    subject.parameters = parameters;
    subject.config = read_json(fs::path(name) / "adapter_config.json");
    try_loading(subject);
    return subject;
  }
  const bool has_config = fs::exists(fs::path(name) / "config.json", error);
  if (!has_config && name.find('/') == std::string::npos) {  // a folder that happens to be called like a network
    for (const auto& entry : registry()) {
      if (entry.name == name) return from_network(name);
    }
  }
  if (has_config) subject.config = read_json(fs::path(name) / "config.json");
  read_files(subject, name);
  if (has_config) try_loading(subject);
  return subject;
}

constexpr const char* kMemoryFormula =
    "inference: weights (on the CPU some kernels keep a packed copy of the linear layers beside them); training: weights + gradients + two AdamW moments = 4 x weights; both at 4 bytes for each parameter "
    "(float32), activations come on top";

Json memory(int64_t parameters) {
  const uint64_t weights = 4 * static_cast<uint64_t>(parameters);
  return {{"inference", weights}, {"training", 4 * weights}, {"formula", kMemoryFormula}};
}

Json document(const Subject& subject) {
  Json files = Json::array(), tensors = Json::array();
  for (const auto& file : subject.files) files.push_back(file.string());
  for (const auto& tensor : subject.tensors) {
    tensors.push_back({{"name", tensor.name}, {"shape", tensor.shape}, {"dtype", tensor.dtype}, {"bytes", tensor.bytes}});
    if (subject.files.size() > 1) tensors.back()["file"] = tensor.file;
  }
  Json result = {{"name", subject.name}, {"files", files}};
  if (!subject.network.empty()) result.update({{"network", subject.network}, {"task", subject.task}});
  result.update({{"parameters", subject.parameters}, {"bytes", bytes_in(subject.tensors)}, {"memory", memory(subject.parameters)},
                 {"metadata", subject.metadata}});
  if (!subject.adapter.is_null()) result["adapter"] = subject.adapter;
  if (!subject.config.is_null()) result["config"] = subject.config;
  if (!subject.tokenizer.is_null()) result["tokenizer"] = subject.tokenizer;
  if (!subject.load.is_null()) result["load"] = subject.load;
  result["tensors"] = tensors;
  return result;
}

// One line for all layers whose tensors agree in shape and type.
Table tensor_table(const std::vector<weights::TensorInfo>& tensors) {
  std::vector<std::string> names;
  for (const auto& tensor : tensors) names.push_back(tensor.name);
  const auto kind = [&](size_t i) { return tensors[i].dtype + weights::shape_text(tensors[i].shape); };
  Table table({{"tensor"}, {"count", true}, {"shape"}, {"type"}, {"bytes", true}});
  for (const auto& merged : weights::merge_names(names, kind)) {
    const auto& first = tensors[merged.members.front()];
    table.add({merged.pattern, std::to_string(merged.members.size()), weights::shape_text(first.shape), first.dtype,
               bytes_text(first.bytes * merged.members.size())});
  }
  return table;
}

void print_text(const Subject& subject) {
  std::cout << subject.name << "\n";
  for (const auto& file : subject.files) std::cout << "  file     " << file.string() << "\n";
  if (!subject.network.empty()) std::cout << "  network  " << subject.network << ", task " << subject.task << "\n";
  if (!subject.tokenizer.is_null()) std::cout << "  tokenizer " << subject.tokenizer.dump(-1, ' ', false, Json::error_handler_t::replace) << "\n";
  for (const auto& [key, value] : subject.metadata) {
    std::cout << "  metadata " << key << ": " << (value.size() > 200 ? value.substr(0, 197) + "..." : value) << "\n";
  }
  for (const auto& [key, value] : subject.adapter.items()) {
    std::cout << "  " << key << std::string(key.size() < 14 ? 14 - key.size() : 1, ' ') << (value.is_string() ? value.get<std::string>() : value.dump()) << "\n";
  }
  if (!subject.config.is_null()) std::cout << "\nconfig\n" << subject.config.dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
  std::cout << "\n" << tensor_table(subject.tensors).text();
  const auto needs = memory(subject.parameters);
  std::cout << "\n" << subject.tensors.size() << " tensors, " << bytes_text(bytes_in(subject.tensors)) << "; "
            << count_text(subject.parameters) << " parameters (" << subject.parameters << ")\n"
            << "memory: inference " << bytes_text(needs["inference"].get<uint64_t>()) << ", training "
            << bytes_text(needs["training"].get<uint64_t>()) << "\n  (" << kMemoryFormula << ")\n";
  if (!subject.load.is_null()) {
    std::cout << "\nloads strictly: " << (subject.load.at("strict").get<bool>() ? "yes" : "no") << "\n"
              << subject.load.at("text").get<std::string>() << "\n";
  }
}

Action declare(CLI::App& command, Common& common) {
  auto name = std::make_shared<std::string>();
  command.add_option("X", *name, "checkpoint or adapter folder, file of weights (.safetensors, .bin, .pth, .pt, index), or name[:variant]")->required();
  return [name, &common] {
    const Subject subject = examine(*name);
    if (common.json) print_json(document(subject));
    else print_text(subject);
    return 0;
  };
}

}  // namespace info_detail

Verb info_verb() {
  return {"info", "config, tensors, parameters and memory of a checkpoint, a file or a network",
          "  zoo info FOLDER\n"
          "  zoo info model.safetensors --json\n"
          "  zoo info bert:base\n",
          info_detail::declare};
}

}  // namespace zoo::app
