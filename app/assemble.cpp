#include "app/assemble.h"

#include <algorithm>

#include "app/cli.h"
#include "app/files.h"
#include "models/names.h"
#include "models/registry.h"

namespace zoo::app {
namespace assemble_detail {
namespace fs = std::filesystem;

// A part's config: what the folder says, without what is no part's.
Json part_config(const Json& config, const std::string& type, bool decoder) {
  Json part = config;
  for (const char* key : {"architectures", "torch_dtype", "dtype", "transformers_version", "_name_or_path", "id2label", "label2id", "num_labels"}) part.erase(key);
  part["model_type"] = type;
  part["is_decoder"] = decoder;
  part["add_cross_attention"] = decoder;
  return part;
}

Json whole_config(const Json& config, const std::string& type, const tokenizers::Tokenizer* tokenizer, const std::string& folder) {
  if (!tokenizer) throw std::invalid_argument(folder + ": no tokenizer, which tells padding, begin and end; one of " + join(tokenizers::tokenizer_files()) + " is needed");
  const auto start = tokenizer->cls_id() ? tokenizer->cls_id() : tokenizer->bos_id();
  const auto end = tokenizer->eos_id() ? tokenizer->eos_id() : tokenizer->sep_id();
  if (!start || !end || !tokenizer->pad_id())
    throw std::invalid_argument(folder + ": its tokenizer lacks a token for the begin, the end or the padding of a text; the decoder needs all three");
  return {{"architectures", {"EncoderDecoderModel"}}, {"model_type", "encoder-decoder"}, {"is_encoder_decoder", true},
          {"decoder_start_token_id", *start}, {"eos_token_id", *end}, {"pad_token_id", *tokenizer->pad_id()},
          {"encoder", part_config(config, type, false)}, {"decoder", part_config(config, type, true)}};
}

// Loads the file into one half; `may_lack` says which tensors may be fresh.
template <class MayLack>
void load_half(Assembled& result, const std::string& half, const Entry& part, const weights::Checkpoint& checkpoint, const MayLack& may_lack) {
  torch::nn::Module& module = *result.bundle.model->named_children()[half];
  weights::LoadOptions options;
  options.layouts = layouts_of(part);
  options.base_prefix = card(part.name).value("base_prefix", "");
  options.allow_unexpected = true;  // the other heads of the file
  options.allow_missing = true;
  weights::LoadReport report = weights::load(module, checkpoint, options);
  const bool all_fresh = std::all_of(report.missing.begin(), report.missing.end(), may_lack);
  if (!all_fresh || !report.mismatched.empty()) throw weights::LoadError(report);
  result.loaded += report.loaded;
  for (const auto& key : report.missing) result.fresh.push_back(half + "." + key);
}

bool holds(const std::string& key, const char* part) { return key.find(part) != std::string::npos; }

}  // namespace assemble_detail

Assembled assemble(const std::string& folder) {
  namespace d = assemble_detail;
  const Json config = read_json(d::fs::path(folder) / "config.json");
  const Entry& part = entry_for_config(config);
  if (part.name != "bert" && part.name != "roberta")
    throw std::invalid_argument(folder + ": is a network of kind " + part.name + "; BERT, RoBERTa, XLM-RoBERTa and CamemBERT can be assembled to an encoder-decoder");
  const Json own_type = config.value("model_type", Json(part.name));
  Assembled result;
  Bundle& bundle = result.bundle;
  bundle.spec = folder;
  bundle.folder = folder;
  bundle.tokenizer = tokenizers::load(folder);
  bundle.tokenizer_folder = folder;
  bundle.config = d::whole_config(config, own_type.is_string() ? own_type.get<std::string>() : part.name, bundle.tokenizer.get(), folder);
  bundle.entry = &find_entry("encoder_decoder");
  bundle.task = "seq2seq";
  bundle.model = bundle.entry->make(bundle.config);
  bundle.model->init_weights();
  const auto checkpoint = weights::Checkpoint::open(folder);
  d::load_half(result, "encoder", part, checkpoint, [](const std::string& key) { return d::holds(key, "pooler."); });
  d::load_half(result, "decoder", part, checkpoint,
               [](const std::string& key) { return d::holds(key, ".crossattention.") || d::holds(key, "cls.") || d::holds(key, "lm_head."); });
  return result;
}

}  // namespace zoo::app
