// zoo convert: checkpoints to safetensors, in another layout, element type or number of files.
#include <unistd.h>

#include <iostream>
#include <regex>

#include "app/assemble.h"
#include "app/bundle.h"
#include "app/cli.h"
#include "app/engine/peft.h"
#include "app/engine/run_folder.h"
#include "app/files.h"
#include "app/report/table.h"
#include "models/names.h"
#include "models/registry.h"
#include "weights/convert.h"
#include "weights/mapped_tensor.h"

namespace zoo::app {
namespace fs = std::filesystem;
namespace convert_detail {

struct Options {
  std::string in, out, dtype, max_shard_size, layout = "auto", architecture;
  std::vector<std::string> adapters;  // DIR or DIR:weight
  bool merge = false, assemble = false, overwrite = false;
};

constexpr uint64_t kDefaultShard = 5'000'000'000;

// "2GB", "500 MB", "1GiB", "123456": bytes.
uint64_t parse_size(const std::string& text) {
  static const std::regex form(R"(\s*([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*([KMGT]?)(i?)B?\s*)", std::regex::icase);
  std::smatch part;
  if (text.size() > 40 || !std::regex_match(text, part, form)) {
    throw UsageError("--max-shard-size is '" + text.substr(0, 80) + "'; expected a size such as 2GB, 500MB or 1GiB");
  }
  const double base = part[3].length() ? 1024.0 : 1000.0;
  const std::string units = " KMGT";
  const char unit = part[2].length() ? static_cast<char>(std::toupper(static_cast<unsigned char>(part[2].str()[0]))) : ' ';
  const double bytes = std::stod(part[1].str()) * std::pow(base, static_cast<double>(units.find(unit)));
  if (bytes < 1 || bytes > 1e18) throw UsageError("--max-shard-size is '" + text + "'; expected 1 byte to 10^18 bytes");
  return static_cast<uint64_t>(bytes);
}

at::ScalarType parse_dtype(const std::string& name) {
  const std::map<std::string, at::ScalarType> known = {
      {"float32", at::kFloat}, {"float64", at::kDouble}, {"float16", at::kHalf}, {"bfloat16", at::kBFloat16}};
  const auto found = known.find(name);
  if (found == known.end()) throw UsageError("--dtype is '" + name.substr(0, 80) + "'; expected float32, float64, float16 or bfloat16");
  return found->second;
}

bool is_file(const std::string& path) {
  std::error_code error;
  return fs::is_regular_file(path, error);
}

bool ends_in(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

// ---- layouts ----

// The network whose tables apply: --architecture (network or class name), else the folder's config.json; null if neither says.
const Entry* find_network(const Options& options) {
  if (!options.architecture.empty()) {
    for (const auto& entry : registry()) {
      if (card(entry.name).at("architectures").contains(options.architecture)) return &entry;
    }
    return &find_entry(options.architecture);
  }
  const fs::path in(options.in);
  const fs::path config = (is_file(options.in) ? in.parent_path() : in) / "config.json";
  std::error_code error;
  if (!fs::exists(config, error)) return nullptr;
  try {
    return &entry_for_config(read_json(config));
  } catch (const std::invalid_argument&) {  // a network that zoo does not implement can still be converted
    return nullptr;
  }
}

std::vector<weights::Layout> choose_layouts(const Options& options) {
  if (options.layout == "none") return {};
  const Entry* network = find_network(options);
  if (!network) {
    if (options.layout == "auto") return {};
    throw UsageError("--layout needs to know the network: name it by --architecture (zoo list shows all)");
  }
  const auto all = layouts_of(*network);
  if (options.layout == "auto") return all;
  std::vector<weights::Layout> chosen;
  std::vector<std::string> names;
  for (const auto& layout : all) {
    names.push_back(layout.name);
    if (layout.name == options.layout) chosen.push_back(layout);
  }
  if (chosen.empty()) {
    throw UsageError(network->name + ": unknown layout '" + options.layout.substr(0, 80) + "'; nearest: " +
                     join(nearest(options.layout, names)) + " (or auto, none)");
  }
  return chosen;
}

// ---- input and output ----

// Refuses what would overwrite or make no sense, before anything is read.
bool check_output(const Options& options) {
  const bool one_file = ends_in(options.out, ".safetensors");
  std::error_code error;
  if (!fs::exists(options.in, error)) throw UsageError("'" + options.in + "' does not exist");
  for (const char* ending : {".bin", ".pth", ".pt", ".json"}) {
    if (ends_in(options.out, ending)) throw UsageError("'" + options.out + "': only safetensors are written; end the name in .safetensors or name a folder");
  }
  if (is_file(options.in) && !one_file && options.max_shard_size.empty()) {
    throw UsageError("'" + options.out + "': a file becomes a file; end the name in .safetensors (or give --max-shard-size for a folder of shards)");
  }
  if (one_file && !options.max_shard_size.empty()) throw UsageError("--max-shard-size writes a folder, but '" + options.out + "' names a file");
  if (options.merge && !options.max_shard_size.empty()) throw UsageError("--merge and --max-shard-size exclude each other");
  const bool taken = fs::is_directory(options.out, error) ? !fs::is_empty(options.out, error) : fs::exists(options.out, error);
  if (taken && !options.overwrite) throw UsageError("'" + options.out + "' exists and is not empty; choose another name or give --overwrite");
  return one_file;
}

bool holds_weights(const std::string& name) {
  for (const char* ending : {".safetensors", ".bin", ".pth", ".pt", ".index.json", ".h5", ".msgpack", ".ot", ".onnx", ".gguf"}) {
    if (ends_in(name, ending)) return true;
  }
  return false;
}

// Everything beside the weights: config, tokenizer, preprocessor, and the config.json of sub-folders (sentence-transformers).
void copy_companions(const Options& options) {
  const fs::path in(options.in), out(options.out);
  for (const auto& item : fs::directory_iterator(in)) {
    const fs::path name = item.path().filename();
    if (item.is_directory() && fs::exists(item.path() / "config.json") && !fs::equivalent(item.path(), out)) {
      fs::create_directories(out / name);
      copy_file_atomically(item.path() / "config.json", out / name / "config.json");
    } else if (item.is_regular_file() && !holds_weights(name.string()) && name.string()[0] != '.') {
      copy_file_atomically(item.path(), out / name);
    }
  }
  if (options.dtype.empty() || !fs::exists(in / "config.json")) return;
  Json config = read_json(in / "config.json");
  config.erase("torch_dtype");
  config["dtype"] = options.dtype;
  weights::write_file_atomically(out / "config.json", config.dump(2) + "\n");
}

// Removes a new output folder again when the conversion fails; one that was there before is left as it was.
class NewFolder {
 public:
  explicit NewFolder(const fs::path& path) : path_(path), created_(fs::create_directories(path)) {}
  ~NewFolder() {
    std::error_code error;
    if (created_ && !kept_) remove_tree(path_, error);
  }
  NewFolder(const NewFolder&) = delete;
  NewFolder& operator=(const NewFolder&) = delete;
  void keep() { kept_ = true; }

 private:
  fs::path path_;
  bool created_, kept_ = false;
};

weights::ConvertReport convert(const Options& options) {
  const bool one_file = check_output(options);
  weights::ConvertOptions wanted;
  wanted.layouts = choose_layouts(options);
  if (!options.dtype.empty()) wanted.dtype = parse_dtype(options.dtype);
  if (!one_file && !options.merge) {
    wanted.max_shard_bytes = options.max_shard_size.empty() ? kDefaultShard : parse_size(options.max_shard_size);
  }
  const auto checkpoint = weights::Checkpoint::open(options.in);
  if (one_file) return weights::convert(checkpoint, options.out, wanted);
  NewFolder folder(options.out);
  auto report = weights::convert(checkpoint, options.out, wanted);
  if (!is_file(options.in)) copy_companions(options);
  folder.keep();
  return report;
}

// ---- adapters ----

void cast_floats(Model& model, at::ScalarType dtype) {
  at::NoGradGuard no_grad;
  for (auto& parameter : model.parameters()) parameter.set_data(parameter.to(dtype));
  for (auto& buffer : model.buffers()) {
    if (buffer.is_floating_point()) buffer.set_data(buffer.to(dtype));
  }
}

// The base with all adapters folded in, as an ordinary checkpoint. The sums are formed in float32, whatever is written.
int merge(const Options& options, const Common& common) {
  if (ends_in(options.out, ".safetensors")) throw UsageError("'" + options.out + "': a merged network is a folder; name one");
  RunFolder output(options.out, options.overwrite ? RunFolder::Start::overwrite : RunFolder::Start::fresh);
  BundleOptions wanted;
  wanted.adapters = options.adapters;
  wanted.for_training = true;  // nothing is packed
  Bundle bundle = load_bundle(options.in, at::kCPU, wanted);
  const size_t count = bundle.adapters.size();
  merge_adapters(bundle);
  const std::string dtype = options.dtype.empty() ? bundle.config.value("dtype", bundle.config.value("torch_dtype", "float32")) : options.dtype;
  if (dtype != "float32") cast_floats(*bundle.model, parse_dtype(dtype));
  save_bundle(bundle, output.path());
  output.finish();
  if (common.json) print_json({{"out", options.out}, {"base", bundle.folder.string()}, {"adapters", count}, {"parameters", parameter_count(*bundle.model)}});
  else std::cout << options.out << "\n" << count << " adapters folded into " << bundle.folder.string() << "\n";
  return 0;
}

// An encoder's folder -> an encoder-decoder's that begins with its weights.
int assemble_folder(const Options& options, const Common& common) {
  if (ends_in(options.out, ".safetensors")) throw UsageError("'" + options.out + "': an encoder-decoder is a folder; name one");
  if (options.merge || !options.adapters.empty() || !options.dtype.empty() || !options.max_shard_size.empty())
    throw UsageError("--assemble goes without --merge, --adapter, --dtype and --max-shard-size (convert the result)");
  RunFolder output(options.out, options.overwrite ? RunFolder::Start::overwrite : RunFolder::Start::fresh);
  const Assembled assembled = assemble(options.in);
  save_bundle(assembled.bundle, output.path());
  output.finish();
  const int64_t parameters = parameter_count(*assembled.bundle.model);
  if (common.json) print_json({{"out", options.out}, {"from", options.in}, {"loaded", assembled.loaded}, {"fresh", assembled.fresh}, {"parameters", parameters}});
  else std::cout << options.out << "\n" << assembled.loaded << " tensors from " << options.in << ", " << assembled.fresh.size() << " with fresh values (cross-attention)\n";
  return 0;
}

int run(const Options& options, const Common& common) {
  if (options.assemble) return assemble_folder(options, common);
  const bool adapted = weights::is_adapter_folder(options.in);
  if (adapted && !options.merge) {
    throw UsageError("'" + options.in + "' is an adapter; --merge folds it into its base and writes the whole network");
  }
  if (adapted || !options.adapters.empty()) return merge(options, common);
  const auto report = convert(options);
  const bool asked = options.layout != "auto" && options.layout != "none";
  if (asked && report.layout.empty()) {
    std::cerr << "zoo: warning: layout '" << options.layout << "' found none of its names in the file; nothing was renamed\n";
  }
  if (common.json) {
    Json files = Json::array();
    for (const auto& file : report.files) files.push_back(file.string());
    print_json({{"files", files}, {"tensors", report.tensors}, {"bytes", report.bytes}, {"layout", report.layout}, {"ignored", report.ignored}});
    return 0;
  }
  for (const auto& file : report.files) std::cout << file.string() << "\n";
  std::cout << report.tensors << " tensors, " << bytes_text(report.bytes);
  if (!report.layout.empty()) std::cout << "; layout " << report.layout;
  if (!report.ignored.empty()) std::cout << "; left out: " << join(report.ignored);
  std::cout << "\n";
  return 0;
}

Action declare(CLI::App& command, Common& common) {
  auto options = std::make_shared<Options>();
  command.add_option("IN", options->in, "checkpoint or adapter folder, or .safetensors, .bin, .pth, .pt or index file")->required();
  command.add_option("OUT", options->out, "folder, or a file ending in .safetensors")->required();
  command.add_option("--dtype", options->dtype, "cast floating-point tensors: float32, float64, float16, bfloat16");
  command.add_option("--max-shard-size", options->max_shard_size, "split into files of at most this size, e.g. 2GB (default 5GB)");
  command.add_flag("--merge", options->merge, "write one file, whatever its size; of an adapter folder: its base with the adapter folded in");
  command.add_option("--adapter", options->adapters, "adapter folder to fold into IN, DIR or DIR:weight (repeatable)")->expected(1)->take_all();
  command.add_option("--layout", options->layout, "auto, none, or the name of one of the network's foreign layouts")->capture_default_str();
  command.add_option("--architecture", options->architecture, "the network, when no config.json says it: bert, BertModel ...");
  command.add_flag("--assemble", options->assemble, "of an encoder's folder (BERT, RoBERTa): an encoder-decoder whose halves both begin with its weights");
  command.add_flag("--overwrite", options->overwrite, "replace an output that exists");
  return [options, &common] { return run(*options, common); };
}

}  // namespace convert_detail

Verb convert_verb() {
  return {"convert", "checkpoints to safetensors: foreign layouts, casts, sharding, merging",
          "  zoo convert pytorch_model.bin model.safetensors\n"
          "  zoo convert FOLDER SMALL --dtype bfloat16\n"
          "  zoo convert FOLDER SHARDS --max-shard-size 2GB\n"
          "  zoo convert ADAPTER WHOLE --merge\n"
          "  zoo convert BASE WHOLE --adapter ONE:0.7 --adapter OTHER:0.3\n"
          "  zoo convert MLM_FOLDER SEQ2SEQ_FOLDER --assemble\n"
          "  zoo convert old.pth new.safetensors --architecture cct --layout DataParallel\n",
          convert_detail::declare};
}

}  // namespace zoo::app
