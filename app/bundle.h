// Bundle: a network together with all that came beside it in its folder.
#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "models/model.h"
#include "tokenizers/tokenizer.h"
#include "weights/adapter.h"
#include "weights/loader.h"

namespace zoo::app {

// What --dtype takes: float32, bfloat16, float16, int8, int8-weights, int4-weights and the short forms fp32, bf16, fp16. In training and on a GPU bfloat16 and
// float16 are the type of all tensors. For inference on a CPU bfloat16 and the whole numbers are the precision of the linear layers'
// products (models/blocks/packed_weight.h), and everything else is float32. Whole numbers are for inference on a CPU alone.
const std::vector<std::string>& dtype_names();

struct BundleOptions {
  std::string task;  // wanted head; empty = the checkpoint's own
  int64_t classes = 0;                  // wanted number of classes; 0 = as configured
  std::vector<std::string> labels;      // their names, if known
  bool allow_missing = false, allow_unexpected = false, reinit_head = false;  // the loader's flags of the same name
  std::string dtype;                    // one of dtype_names(); default: as stored
  Json config_overrides = Json::object();  // e.g. {"img_size": 28}: keys put over the config before building
  bool for_training = false;            // false: eval mode, packed for inference, gradients off
  std::filesystem::path tokenizer;      // folder of the tokenizer for a network that brings none
  std::vector<std::string> adapters;    // folders "DIR" or "DIR:weight" whose adapters are put on the network, in order
};

// An adapter on the network (app/engine/peft.h).
struct AttachedAdapter {
  weights::AdapterConfig config;
  std::string source;                // where it came from, for messages
  std::string name;                  // of its modules below the layers
  double weight = 1.0;
  bool trained = false;              // gradients are left on for it alone, and save_bundle() writes it instead of the network
  std::vector<std::string> layers;   // paths of layers with a low-rank term
  std::vector<std::string> values;   // keys of tensors that it holds whole
};

struct Bundle {
  std::string spec;                  // what the user typed
  std::filesystem::path folder;      // empty for a fresh network
  const Entry* entry = nullptr;
  Json config;                       // complete: as it would be written
  Json preprocessor;                 // preprocessor_config.json, else the card's "preprocess", else {}
  std::string task;
  std::vector<std::string> labels;   // class names by id ("LABEL_0" ... when the config names none)
  std::shared_ptr<Model> model;      // on `device`
  std::unique_ptr<tokenizers::Tokenizer> tokenizer;  // null when the folder has none
  std::filesystem::path tokenizer_folder;            // where its files are
  weights::LoadReport report;
  std::vector<AttachedAdapter> adapters;
  at::Device device = at::kCPU;
  int64_t workers = 0;               // batches side by side on a CPU (app/workers.h); 0: the task chooses
};

// The foreign layouts that a network's card declares.
std::vector<weights::Layout> layouts_of(const Entry& entry);

// The network that a spec names, without loading it.
const Entry& entry_of(const std::string& spec);

// The config of name[:variant], whose weights are fresh.
Json config_of_variant(const std::string& spec);

// Whether one of tokenizers::tokenizer_files() is in it.
bool holds_tokenizer(const std::filesystem::path& folder);

// `spec` is a checkpoint folder, an adapter folder (whose base is loaded first) or name[:variant] (fresh weights). Throws with the nearest names or the load report.
Bundle load_bundle(const std::string& spec, at::Device device, const BundleOptions& options = {});

// What load_bundle() does to a network for inference: type and place by `dtype` (one of dtype_names(); empty: as it is), eval mode, gradients
// off, weights packed. Throws UsageError for a type that the device has not.
void ready_for_inference(Model& model, at::Device device, const std::string& dtype);

// Writes the bundle as a Hugging Face folder: config.json, model.safetensors, preprocessor_config.json; generation_config.json and the
// tokenizer's files copied. With a trained adapter, its two files stand in place of model.safetensors. Each file is
// written under a temporary name and renamed.
void save_bundle(const Bundle& bundle, const std::filesystem::path& folder);

}  // namespace zoo::app
