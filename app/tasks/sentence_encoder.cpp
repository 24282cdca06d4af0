#include "app/tasks/sentence_encoder.h"

#include <algorithm>
#include <numeric>
#include <unordered_map>

#include "app/cli.h"
#include "app/report/progress.h"
#include "app/tasks/option_values.h"
#include "models/names.h"
#include "tokenizers/unicode.h"
#include "tokenizers/utf8.h"
#include "weights/files.h"

namespace zoo::app {
namespace fs = std::filesystem;

const std::vector<std::string>& pooling_modes() {
  static const std::vector<std::string> modes = {"cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"};
  return modes;
}

std::string SentenceSettings::describe() const {
  std::string text = join(pooling, " + ") + " of the tokens" + (normalize ? ", normalised" : "") + ", at most " +
                     std::to_string(max_length) + " tokens";
  if (!prompt.empty()) text += ", after the prompt \"" + prompt + "\"";
  return text + " (" + origin + ")";
}

namespace sentence_detail {

constexpr uint64_t kMaxConfigBytes = 4 << 20;

// A small JSON object beside the weights; {} when there is none.
Json read_object(const fs::path& path) {
  std::error_code error;
  if (!fs::exists(path, error)) return Json::object();
  Json json = weights::read_json_file(path, kMaxConfigBytes);
  if (!json.is_object()) throw std::runtime_error(path.string() + ": not a JSON object");
  return json;
}

void check_modes(const std::vector<std::string>& modes, const std::string& where, bool from_user) {
  std::string problem = modes.empty() ? "names no pooling mode" : "";
  for (const auto& mode : modes) {
    if (std::find(pooling_modes().begin(), pooling_modes().end(), mode) == pooling_modes().end())
      problem = "pooling '" + mode.substr(0, 80) + "' is unknown; nearest: " + join(nearest(mode, pooling_modes()));
  }
  if (problem.empty()) return;
  if (from_user) throw UsageError(where + ": " + problem);
  throw std::runtime_error(where + ": " + problem);
}

// Both spellings of 1_Pooling/config.json: "pooling_mode": "mean" (6.x) and "pooling_mode_mean_tokens": true (before).
std::vector<std::string> read_modes(const fs::path& path) {
  static const std::vector<std::pair<std::string, std::string>> flags = {
      {"pooling_mode_cls_token", "cls"},
      {"pooling_mode_max_tokens", "max"},
      {"pooling_mode_mean_tokens", "mean"},
      {"pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens"},
      {"pooling_mode_weightedmean_tokens", "weightedmean"},
      {"pooling_mode_lasttoken", "lasttoken"}};
  const Json json = read_object(path);
  std::vector<std::string> modes;
  const auto named = json.find("pooling_mode");
  if (named != json.end() && named->is_string()) modes = {named->get<std::string>()};
  if (named != json.end() && named->is_array()) {
    for (const auto& mode : *named) modes.push_back(mode.is_string() ? mode.get<std::string>() : mode.dump());
  }
  if (named == json.end()) {
    for (const auto& [flag, mode] : flags) {
      const auto found = json.find(flag);
      if (found != json.end() && found->is_boolean() && found->get<bool>()) modes.push_back(mode);
    }
    if (modes.empty()) modes = {"mean"};  // the reference's default
  }
  check_modes(modes, path.string(), false);
  return modes;
}

struct ModuleLine {
  std::string type;  // the last part of "sentence_transformers.models.Pooling"
  fs::path folder;
};

std::vector<ModuleLine> read_modules(const fs::path& path) {
  const Json json = weights::read_json_file(path, kMaxConfigBytes);
  std::vector<ModuleLine> modules;
  if (!json.is_array()) throw std::runtime_error(path.string() + ": not a JSON list of modules");
  for (const auto& line : json) {
    if (!line.is_object() || !line.contains("type") || !line["type"].is_string())
      throw std::runtime_error(path.string() + ": a module without a \"type\"");
    const std::string type = line["type"];
    const fs::path folder = line.contains("path") && line["path"].is_string() ? line["path"].get<std::string>() : "";
    if (folder.is_absolute() || std::any_of(folder.begin(), folder.end(), [](const auto& part) { return part == ".."; }))
      throw std::runtime_error(path.string() + ": module path '" + folder.string() + "' leaves the checkpoint folder");
    modules.push_back({type.substr(type.rfind('.') + 1), folder});
  }
  return modules;
}

void read_length_and_case(const fs::path& folder, SentenceSettings& settings) {
  const fs::path path = folder / "sentence_bert_config.json";
  const Json json = read_object(path);
  const auto length = json.find("max_seq_length");
  if (length != json.end() && !length->is_null()) {
    if (!length->is_number_integer() || length->get<int64_t>() < 1)
      throw std::runtime_error(path.string() + ": max_seq_length is " + length->dump() + "; a whole number from 1 is expected");
    settings.max_length = length->get<int64_t>();
  }
  const auto lower = json.find("do_lower_case");
  settings.lower_case = lower != json.end() && lower->is_boolean() && lower->get<bool>();
}

void read_folder(const fs::path& folder, SentenceSettings& settings) {
  const fs::path list = folder / "modules.json";
  std::error_code error;
  if (folder.empty() || !fs::exists(list, error)) {
    settings.origin = "default: the folder has no modules.json";
    if (folder.empty()) settings.origin = "default: fresh network";
    if (!folder.empty()) read_length_and_case(folder, settings);
    return;
  }
  settings.origin = "modules.json";
  settings.normalize = false;
  for (const auto& module : read_modules(list)) {
    if (module.type == "Transformer") {
      read_length_and_case(folder / module.folder, settings);
    } else if (module.type == "Pooling") {
      settings.pooling = read_modes(folder / module.folder / "config.json");
    } else if (module.type == "Normalize") {
      settings.normalize = true;
    } else {
      throw std::runtime_error(list.string() + ": module " + module.type.substr(0, 80) +
                               " is not supported; Transformer, Pooling and Normalize are");
    }
  }
}

void read_prompt(const fs::path& folder, const Json& options, SentenceSettings& settings) {
  const Json json = folder.empty() ? Json::object() : read_object(folder / "config_sentence_transformers.json");
  const Json prompts = json.contains("prompts") && json["prompts"].is_object() ? json["prompts"] : Json::object();
  std::string name = text_option(options, "prompt_name");
  const bool asked = !name.empty();
  if (!asked && json.contains("default_prompt_name") && json["default_prompt_name"].is_string()) name = json["default_prompt_name"];
  if (!name.empty()) {
    if (!prompts.contains(name) || !prompts[name].is_string()) {
      std::vector<std::string> known;
      for (const auto& [key, value] : prompts.items()) known.push_back(key);
      const std::string problem = "no prompt '" + name + "' in config_sentence_transformers.json; it has: " + join(known);
      if (asked) throw UsageError(problem);
      throw std::runtime_error(folder.string() + ": " + problem);
    }
    settings.prompt = prompts[name];
  }
  if (options.contains("prompt")) settings.prompt = text_option(options, "prompt");
}

std::vector<std::string> split_commas(const std::string& text) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

}  // namespace sentence_detail

SentenceSettings sentence_settings(const Bundle& bundle, const Json& options) {
  using namespace sentence_detail;
  SentenceSettings settings;
  Json no_length = options;
  no_length.erase("max_length");
  settings.max_length = text_limit(bundle, no_length);
  read_folder(bundle.folder, settings);
  read_prompt(bundle.folder, options, settings);
  const std::string modes = text_option(options, "pooling");
  if (!modes.empty()) {
    settings.pooling = split_commas(modes);
    check_modes(settings.pooling, "option pooling", true);
    settings.origin = "option pooling";
  }
  settings.normalize = flag_option(options, "normalize", settings.normalize);
  if (options.contains("max_length")) settings.max_length = text_limit(bundle, options);
  settings.max_length = std::min(settings.max_length, bundle.config.value("max_position_embeddings", settings.max_length));
  return settings;
}

namespace sentence_detail {

at::Tensor pool_once(const at::Tensor& hidden, const at::Tensor& mask, const std::string& mode) {
  const int64_t tokens = hidden.size(1);
  if (mode == "cls") return hidden.select(1, 0);  // padding stands on the right
  if (!mask.defined()) {
    if (mode == "max") return hidden.amax(1);
    if (mode == "mean") return hidden.mean(1);
    if (mode == "mean_sqrt_len_tokens") return hidden.sum(1) / std::sqrt(double(tokens));
    if (mode == "lasttoken") return hidden.select(1, tokens - 1);
  }
  const auto keep = (mask.defined() ? mask : at::ones({hidden.size(0), tokens}, hidden.options().dtype(at::kBool))).unsqueeze(-1);
  if (mode == "max") return hidden.masked_fill(keep.logical_not(), -std::numeric_limits<float>::infinity()).amax(1);
  const auto ones = keep.to(hidden.scalar_type());
  const auto count = ones.sum(1).clamp_min(1e-9);  // [B, 1]
  if (mode == "mean") return (hidden * ones).sum(1) / count;
  if (mode == "mean_sqrt_len_tokens") return (hidden * ones).sum(1) / count.sqrt();
  if (mode == "weightedmean") {
    const auto weights = ones * at::arange(1, tokens + 1, hidden.options()).view({1, -1, 1});
    return (hidden * weights).sum(1) / weights.sum(1).clamp_min(1e-9);
  }
  const auto last = (keep.sum(1).unsqueeze(1) - 1).clamp_min(0).expand({-1, 1, hidden.size(2)});  // lasttoken
  return hidden.gather(1, last).squeeze(1);
}

}  // namespace sentence_detail

at::Tensor pool_tokens(const at::Tensor& hidden, const at::Tensor& mask, std::span<const std::string> modes) {
  const auto states = hidden.to(at::kFloat);
  std::vector<at::Tensor> parts;
  for (const auto& mode : modes) parts.push_back(sentence_detail::pool_once(states, mask, mode));
  return parts.size() == 1 ? parts[0] : at::cat(parts, 1);
}

at::Tensor normalize_rows(const at::Tensor& rows) {
  return rows / rows.norm(2, at::IntArrayRef{-1}, true).clamp_min(1e-12);
}

at::Tensor sentence_vectors(Model& model, const Tensors& inputs, const SentenceSettings& settings) {
  const auto outputs = model.forward(inputs);
  const auto hidden = outputs.find("hidden");
  if (hidden == outputs.end())
    throw UsageError("sentence vectors need a network that returns its token states (output \"hidden\"); this one returns none");
  const auto mask = inputs.find("mask");
  const auto pooled = pool_tokens(hidden->second, mask == inputs.end() ? at::Tensor() : mask->second, settings.pooling);
  return settings.normalize ? normalize_rows(pooled) : pooled;
}

at::Tensor sentence_vectors_by_length(Model& model, const Tensors& inputs, const SentenceSettings& settings) {
  const auto mask = inputs.find("mask");
  if (mask == inputs.end()) return sentence_vectors(model, inputs, settings);
  const auto lengths = mask->second.sum(1);  // [B] int64
  const auto* length = lengths.const_data_ptr<int64_t>();
  std::vector<at::Tensor> parts;
  for (int64_t begin = 0, end; begin < lengths.size(0); begin = end) {
    for (end = begin + 1; end < lengths.size(0) && length[end] == length[begin];) ++end;
    Tensors run;
    for (const char* name : {"tokens", "token_types"}) {
      const auto found = inputs.find(name);
      if (found != inputs.end()) run[name] = found->second.slice(0, begin, end).slice(1, 0, length[begin]);
    }
    parts.push_back(sentence_vectors(model, run, settings));
  }
  return at::cat(parts);
}

void put_settings(const SentenceSettings& settings, Tensors& batch) {
  const auto nothing = at::empty({0});
  for (size_t i = 0; i < settings.pooling.size(); ++i) batch["pooling." + std::to_string(i) + "." + settings.pooling[i]] = nothing;
  if (settings.normalize) batch["normalize"] = nothing;
}

SentenceSettings settings_of(const Tensors& batch) {
  SentenceSettings settings;
  settings.pooling.clear();
  settings.normalize = batch.count("normalize") > 0;
  for (auto item = batch.lower_bound("pooling."); item != batch.end() && item->first.starts_with("pooling."); ++item)
    settings.pooling.push_back(item->first.substr(item->first.find('.', 8) + 1));
  return settings;
}

std::string prepare_sentence(std::string_view text, const SentenceSettings& settings) {
  std::string prepared = settings.prompt + std::string(text);
  if (!settings.lower_case) return prepared;
  std::string lowered;
  for (size_t at = 0; at < prepared.size();) {
    const auto decoded = tokenizers::decode_char(prepared, at);
    for (const char32_t c : tokenizers::lower(decoded.code_point)) tokenizers::append_utf8(lowered, c);
    at += decoded.bytes;
  }
  return lowered;
}

namespace sentence_detail {

constexpr BatchBudget kOnGpu{.rows = 1024, .tokens = 65536};
constexpr int64_t kChunk = 1 << 15;  // texts tokenised at a time, so that token lists of millions of texts never pile up

// Which of `texts` are distinct, in order of first appearance, and for each text its place among these.
std::pair<std::vector<int64_t>, std::vector<int64_t>> distinct(std::span<const std::string> texts) {
  std::pair<std::vector<int64_t>, std::vector<int64_t>> result;
  std::unordered_map<std::string_view, int64_t> seen;
  for (size_t i = 0; i < texts.size(); ++i) {
    const auto [place, fresh] = seen.emplace(texts[i], int64_t(result.first.size()));
    if (fresh) result.first.push_back(int64_t(i));
    result.second.push_back(place->second);
  }
  return result;
}

}  // namespace sentence_detail

at::Tensor encode_sentences(const Bundle& bundle, const SentenceSettings& settings, std::span<const std::string> texts,
                            const std::string& title, int64_t batch_size) {
  using namespace sentence_detail;
  const c10::InferenceMode inference;
  const auto& tokenizer = tokenizer_of(bundle);
  const int64_t pad_id = pad_id_of(bundle);
  const auto [first, place] = distinct(texts);
  const int64_t count = int64_t(first.size());
  std::optional<Progress> progress;
  if (!title.empty()) progress.emplace(title, count, "texts");
  at::Tensor vectors;
  for (int64_t begin = 0; begin < count; begin += kChunk) {
    std::vector<std::string> chunk;
    for (int64_t i = begin; i < std::min(begin + kChunk, count); ++i) chunk.push_back(prepare_sentence(texts[first[i]], settings));
    const auto encodings = encode_texts(tokenizer, chunk, {}, settings.max_length);
    std::vector<int64_t> lengths;
    for (const auto& encoding : encodings) lengths.push_back(int64_t(encoding.ids.size()));
    const auto compute = [&](std::span<const int64_t> batch) {
      std::vector<const tokenizers::Encoding*> chosen;
      for (const int64_t row : batch) chosen.push_back(&encodings[row]);
      const auto inputs = to_device(pad_encodings(chosen, pad_id), bundle.device);
      return Tensors{{"vectors", sentence_vectors(*bundle.model, inputs, settings).cpu()}};
    };
    const auto take = [&](std::span<const int64_t> batch, const Tensors& outputs) {
      const auto& found = outputs.at("vectors");
      if (!vectors.defined()) vectors = at::empty({count, found.size(1)}, at::kFloat);
      vectors.index_copy_(0, at::tensor(at::IntArrayRef(batch.data(), batch.size()), at::kLong) + begin, found);
      if (progress) progress->add(int64_t(batch.size()));
    };
    for_each_batch(bundle, lengths, batch_size, compute, take, kOnGpu);
  }
  if (!vectors.defined() || count == int64_t(texts.size())) return vectors;
  return vectors.index_select(0, at::tensor(place, at::kLong));
}

std::vector<fs::path> sentence_encoder_files(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  if (folder.empty() || !fs::exists(folder / "modules.json", error)) return files;
  for (const char* name : {"modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"})
    if (fs::exists(folder / name, error)) files.emplace_back(name);
  for (const auto& module : sentence_detail::read_modules(folder / "modules.json")) {
    const fs::path config = module.folder / "config.json";
    if (!module.folder.empty() && fs::exists(folder / config, error)) files.push_back(config);
  }
  return files;
}

}  // namespace zoo::app
