#include "app/bundle.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <functional>
#include <iterator>
#include <regex>
#include <map>
#include <set>

#include "app/cli.h"
#include "app/engine/peft.h"
#include "app/engine/peft_plan.h"
#include "app/files.h"
#include "app/head.h"
#include "app/machine.h"
#include "app/tasks/task.h"
#include "models/names.h"
#include "models/registry.h"
#include "weights/files.h"

namespace zoo::app {
namespace fs = std::filesystem;
namespace bundle_detail {

[[noreturn]] void throw_not_found(const std::string& spec) {
  std::vector<std::string> known;
  for (const auto& entry : registry()) known.push_back(entry.name);
  const bool there = on_disk(spec);
  throw std::invalid_argument(
      "'" + spec.substr(0, 200) + "' is neither a checkpoint folder nor a network of the registry" +
      (there ? " (it is on disk, but holds no config.json)" : "") + "; a checkpoint folder holds config.json and model.safetensors, " +
      "its shards with an index, or pytorch_model.bin; nearest networks: " + join(nearest(spec.substr(0, spec.find(':')), known)) +
      " (zoo list shows all)");
}

// The head that a task works on: similarity, say, needs the bare encoder. Heads may be named directly too.
std::string head_task(const std::string& task) {
  const auto names = task_names();
  return std::find(names.begin(), names.end(), task) == names.end() ? task : find_task(task).head();
}

// ---- classes ----

void apply_classes(Json& config, const BundleOptions& options) {
  const auto named = static_cast<int64_t>(options.labels.size());
  if (options.classes < 0 || options.classes > (int64_t{1} << 24)) {
    throw std::invalid_argument(std::to_string(options.classes) + " classes asked for; expected 1 to 2^24");
  }
  if (named > 0 && options.classes > 0 && named != options.classes) {
    throw std::invalid_argument(std::to_string(options.classes) + " classes asked for, but " + std::to_string(named) + " class names given");
  }
  if (named > 0) return put_labels(config, options.labels);
  if (options.classes == 0) return;
  if (static_cast<int64_t>(configured_labels(config).size()) != options.classes) put_labels(config, numbered_labels(options.classes));
}

// ---- weights ----

// Whether a key is among those of the card's list, regular expressions.
std::function<bool(const std::string&)> listed(const Entry& entry, const char* list) {
  std::vector<std::regex> patterns;
  for (const auto& pattern : card(entry.name).value(list, Json::array())) patterns.emplace_back(pattern.get<std::string>());
  return [patterns](const std::string& key) {
    return std::any_of(patterns.begin(), patterns.end(), [&](const auto& pattern) { return std::regex_search(key, pattern); });
  };
}

// What the card lets a file have too much moves from unexpected to ignored; what it lets a file leave out, buffers that the network
// itself gives their value, is not missing.
void forgive(const Entry& entry, weights::LoadReport& report) {
  const auto ignorable = listed(entry, "ignore");
  std::copy_if(report.unexpected.begin(), report.unexpected.end(), std::back_inserter(report.ignored), ignorable);
  std::erase_if(report.unexpected, ignorable);
  std::erase_if(report.missing, listed(entry, "optional"));
}

weights::LoadOptions strict_options(const Entry& entry, const Json& config, Model& model, const std::optional<at::ScalarType>& dtype) {
  weights::LoadOptions strict;
  strict.layouts = layouts_of(entry);
  strict.base_prefix = base_prefix_of(entry, config);
  strict.dtype = dtype;
  strict.adapt = [&model](const std::string& key, const at::Tensor& from_file, at::IntArrayRef wanted) {
    return model.adapt(key, from_file, wanted);
  };
  return strict;
}

using Keys = std::set<std::string>;  // of tensors that adapters bring, so that the base need not have them

// What may be missing or of another shape, given what is: all of it must lie in the head, unless the user said more.
weights::LoadOptions relaxed_options(const Entry& entry, const Json& config, const Model& model, const weights::LoadReport& seen,
                                     const BundleOptions& wanted, const Keys& brought, weights::LoadOptions options) {
  const auto head = [&](const std::string& key) { return in_head(entry, config, model, key); };
  const auto comes = [&](const std::string& key) { return brought.count(key) > 0; };
  const auto mismatches = [&](const auto& test) {
    return std::all_of(seen.mismatched.begin(), seen.mismatched.end(), [&](const auto& item) { return test(item.key); });
  };
  const bool head_missing = std::all_of(seen.missing.begin(), seen.missing.end(), head);
  const bool all_come = std::all_of(seen.missing.begin(), seen.missing.end(), comes);
  options.allow_missing = wanted.allow_missing || (wanted.for_training && brought.empty() && head_missing) || all_come;
  options.allow_unexpected = wanted.allow_unexpected;
  options.reinit_mismatched = (wanted.reinit_head && mismatches(head)) || mismatches(comes);
  return options;
}

void forget_brought(const Keys& brought, weights::LoadReport& report) {
  const auto comes = [&](const std::string& key) { return brought.count(key) > 0; };
  std::erase_if(report.missing, comes);
  std::erase_if(report.mismatched, [&](const auto& item) { return comes(item.key); });
}

// First strictly. What does not fit then decides whether the model needs fresh values at all: giving them to a network
// that its file fills completely would cost time and memory for nothing.
weights::LoadReport load_weights(const Entry& entry, const Json& config, Model& model, const weights::Checkpoint& checkpoint,
                                 const BundleOptions& wanted, const Keys& brought, const std::optional<at::ScalarType>& dtype) {
  const auto strict = strict_options(entry, config, model, dtype);
  try {
    return weights::load(model, checkpoint, strict);
  } catch (const weights::LoadError& error) {
    weights::LoadReport seen = error.report;
    forgive(entry, seen);
    auto relaxed = relaxed_options(entry, config, model, seen, wanted, brought, strict);
    if (!seen.ok(relaxed)) {
      const bool outside_head = wanted.reinit_head && !seen.mismatched.empty() && !relaxed.reinit_mismatched;
      if (!outside_head) throw weights::LoadError(seen);
      throw std::runtime_error(weights::LoadError(seen).what() +
                               ("\n--reinit-head gives fresh values to the head alone: " + join(head_prefixes(entry))));
    }
    if (!seen.missing.empty() || !seen.mismatched.empty()) model.init_weights();
    relaxed.allow_unexpected = true;  // what is left of these has been forgiven above
    auto report = weights::load(model, checkpoint, relaxed);
    forgive(entry, report);
    forget_brought(brought, report);
    return report;
  }
}

// ---- the whole ----

struct Types {
  std::optional<at::ScalarType> tensors;
  Precision products = Precision::float32;
};

Types types_of(const std::string& name, at::Device device, bool for_training) {
  const auto is = [&](const char* full, const char* brief) { return name == full || name == brief; };
  const bool prepares = device.is_cpu() && !for_training;
  if (name.empty()) return {};
  if (is("float32", "fp32")) return {at::kFloat};
  if (is("float16", "fp16")) return {at::kHalf};
  if (is("bfloat16", "bf16")) return prepares ? Types{at::kFloat, Precision::bfloat16} : Types{at::kBFloat16};
  const std::map<std::string, Precision> whole = {{"int8", Precision::int8}, {"int8-weights", Precision::int8_weights}, {"int4-weights", Precision::int4_weights}};
  const auto found = whole.find(name);
  if (found == whole.end()) throw UsageError("dtype is '" + name.substr(0, 80) + "'; expected one of " + join(dtype_names()));
  if (!prepares) throw UsageError("dtype " + name + " is for inference on a CPU; use bfloat16");
  return {at::kFloat, found->second};
}

// Module::to(dtype) of LibTorch's C++ side would turn integer buffers into floats too.
void cast_floats(Model& model, at::ScalarType dtype) {
  at::NoGradGuard no_grad;
  const auto cast = [dtype](at::Tensor& tensor) {
    if (tensor.defined() && tensor.is_floating_point() && tensor.scalar_type() != dtype) tensor.set_data(tensor.to(dtype));
  };
  for (auto& parameter : model.parameters()) cast(parameter);
  for (auto& buffer : model.buffers()) cast(buffer);
}

void build_model(Bundle& bundle, const BundleOptions& options, const std::string& where) {
  try {
    for (const auto& [key, value] : options.config_overrides.items()) bundle.config[key] = value;
    bundle.entry = &entry_for_config(bundle.config);
    if (!options.task.empty()) {
      bundle.config = config_for_task(*bundle.entry, bundle.config, head_task(options.task));
    }
    bundle.task = task_of(*bundle.entry, bundle.config);
    apply_classes(bundle.config, options);
    bundle.labels = configured_labels(bundle.config);
    bundle.model = bundle.entry->make(bundle.config);
  } catch (const UsageError&) {
    throw;
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument(where + ": " + error.what());
  }
  const int64_t classes = tells_classes(bundle.task) ? head_classes(*bundle.entry, *bundle.model) : 0;
  if (bundle.labels.empty()) bundle.labels = numbered_labels(classes);
}

void place(Model& model, at::Device device, const Types& types) {
  if (types.tensors) cast_floats(model, *types.tensors);
  model.to(device);
}

void prepare(Model& model, const Types& types, const std::function<void(const at::Tensor&)>& packed) {
  model.eval();
  for (auto& parameter : model.parameters()) parameter.set_requires_grad(false);
  model.prepare_for_inference(packed, types.products);
}

void finish_model(Bundle& bundle, const BundleOptions& options, at::Device device, const Types& types) {
  place(*bundle.model, device, types);
  bundle.device = device;
  if (options.for_training) return;
  // A weight with a packed copy is not read again: without this a big network would need its file's size twice.
  const bool mapped = !bundle.folder.empty();
  prepare(*bundle.model, types, [mapped](const at::Tensor& weight) {
    if (mapped) release_pages(weight.const_data_ptr(), weight.nbytes());
  });
}

// From the first of the folders that has one.
void load_tokenizer(Bundle& bundle, std::initializer_list<fs::path> folders) {
  for (const auto& folder : folders) {
    if (folder.empty() || !holds_tokenizer(folder)) continue;
    bundle.tokenizer = tokenizers::load(folder);
    bundle.tokenizer_folder = folder;
    return;
  }
}

Keys brought_by(const AdapterPlan& plan, const Bundle& bundle) {
  Keys keys;
  for (const auto& item : plan.items) keys.merge(kept_keys(bundle, item.adapter));
  return keys;
}

Bundle from_folder(const AdapterPlan& plan, const BundleOptions& options, const std::optional<at::ScalarType>& dtype) {
  Bundle bundle;
  bundle.spec = plan.base;
  bundle.folder = fs::path(plan.base);
  const fs::path config_file = bundle.folder / "config.json";
  bundle.config = read_json(config_file);
  if (!plan.empty()) bundle.config = adapted_config(plan, bundle.config, !options.task.empty());
  const auto checkpoint = weights::Checkpoint::open(bundle.folder);
  build_model(bundle, options, config_file.string());
  try {
    bundle.report = load_weights(*bundle.entry, bundle.config, *bundle.model, checkpoint, options, brought_by(plan, bundle), dtype);
  } catch (const weights::LoadError& error) {  // the network is as the adapter's config.json says
    const std::string sizes = plan.own.empty() ? "" : other_sizes(plan.own, bundle.folder);
    if (sizes.empty()) throw;
    throw std::runtime_error("the adapter " + plan.own.string() + " does not fit its base " + plan.base + sizes + "\ngive it the base that it was made for: zoo run BASE --adapter " +
                             plan.own.string() + "\n" + error.what());
  }
  const fs::path preprocessor = plan.folder_with("preprocessor_config.json") / "preprocessor_config.json";
  bundle.preprocessor = on_disk(preprocessor) ? read_json(preprocessor) : card(bundle.entry->name).value("preprocess", Json::object());
  load_tokenizer(bundle, {bundle.folder, plan.own, options.tokenizer});
  return bundle;
}

Bundle from_registry(const std::string& spec, const BundleOptions& options) {
  const auto& entry = find_entry(spec.substr(0, spec.find(':')));
  Bundle bundle;
  bundle.spec = spec;
  bundle.config = config_of_variant(spec);
  build_model(bundle, options, spec);
  bundle.model->init_weights();
  load_tokenizer(bundle, {options.tokenizer});
  bundle.preprocessor = card(entry.name).value("preprocess", Json::object());
  bundle.report.source = spec + " (fresh weights)";
  return bundle;
}

bool names_network(const std::string& spec) {
  const std::string name = spec.substr(0, spec.find(':'));
  for (const auto& entry : registry()) {
    const auto aliases = card(entry.name).value("aliases", Json::array());
    if (entry.name == name || std::find(aliases.begin(), aliases.end(), Json(name)) != aliases.end()) return true;
  }
  return false;
}

bool reads_texts(const Bundle& bundle) {
  const auto inputs = bundle.entry->inputs(bundle.config);
  return std::any_of(inputs.begin(), inputs.end(), [](const InputSpec& input) { return input.name == "tokens"; });
}

void log_report(const Bundle& bundle) {
  const auto& report = bundle.report;
  if (report.missing.empty() && report.mismatched.empty() && report.unexpected.empty()) spdlog::debug(report.text());
  else spdlog::warn("loaded with misfits that were accepted\n{}", report.text());
}

}  // namespace bundle_detail

std::vector<weights::Layout> layouts_of(const Entry& entry) {
  std::vector<weights::Layout> layouts;
  for (const auto& layout : card(entry.name).value("layouts", Json::array())) {
    layouts.push_back(weights::Layout::from_json(nlohmann::json(layout)));
  }
  return layouts;
}

bool holds_tokenizer(const fs::path& folder) {
  const auto files = tokenizers::tokenizer_files();
  return std::any_of(files.begin(), files.end(), [&](const auto& name) { return on_disk(folder / name); });
}

Json config_of_variant(const std::string& spec) {
  const auto colon = spec.find(':');
  return variant_config(find_entry(spec.substr(0, colon)), colon == std::string::npos ? "" : spec.substr(colon + 1));
}

const Entry& entry_of(const std::string& model) {
  const std::string spec = weights::is_adapter_folder(model) ? plan_adapters(model, {}).base : model;
  if (on_disk(fs::path(spec) / "config.json")) return entry_for_config(read_json(fs::path(spec) / "config.json"));
  if (!bundle_detail::names_network(spec)) bundle_detail::throw_not_found(spec);
  return find_entry(spec.substr(0, spec.find(':')));
}

const std::vector<std::string>& dtype_names() {
  static const std::vector<std::string> names = {"float32", "bfloat16", "float16", "int8", "int8-weights", "int4-weights", "fp32", "bf16", "fp16"};
  return names;
}

void ready_for_inference(Model& model, at::Device device, const std::string& dtype) {
  const auto types = bundle_detail::types_of(dtype, device, /*for_training=*/false);
  bundle_detail::place(model, device, types);
  bundle_detail::prepare(model, types, {});
}

Bundle load_bundle(const std::string& spec, at::Device device, const BundleOptions& options) {
  const auto types = bundle_detail::types_of(options.dtype, device, options.for_training);
  const AdapterPlan plan = plan_adapters(spec, options.adapters);
  const bool folder = on_disk(fs::path(plan.base) / "config.json");
  if (!folder && !bundle_detail::names_network(plan.base)) bundle_detail::throw_not_found(plan.base);
  Bundle bundle = folder ? bundle_detail::from_folder(plan, options, types.tensors) : bundle_detail::from_registry(plan.base, options);
  for (const auto& item : plan.items) attach_adapter(bundle, item.adapter, item.weight, options.for_training && !plan.own.empty() && plan.items.size() == 1);
  bundle.spec = spec;
  bundle_detail::finish_model(bundle, options, device, types);
  // cuDNN's attention plans anew for every shape, which takes longer than a batch, and texts come in every length: the first epochs of
  // a translation took 37, 19 and 16 s with it, 7 s each without (H100).
  if (device.is_cuda() && bundle_detail::reads_texts(bundle)) at::globalContext().setSDPUseCuDNN(false);
  bundle_detail::log_report(bundle);
  return bundle;
}

}  // namespace zoo::app
