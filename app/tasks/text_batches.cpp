#include "app/tasks/text_batches.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <mutex>
#include <numeric>

#include "app/cli.h"
#include "app/tasks/labelled_text.h"
#include "app/tasks/prompt_pattern.h"
#include "app/workers.h"
#include "data/csv.h"
#include "models/names.h"
#include "models/registry.h"
#include "weights/files.h"

namespace zoo::app {
namespace fs = std::filesystem;

const tokenizers::Tokenizer& tokenizer_of(const Bundle& bundle) {
  if (!bundle.tokenizer)
    throw std::runtime_error((bundle.folder.empty() ? bundle.spec : bundle.folder.string()) +
                             ": no tokenizer; a checkpoint folder with one of " + join(tokenizers::tokenizer_files()) +
                             " is needed (to train fresh weights: the recipe's key tokenizer, or --tokenizer)");
  return *bundle.tokenizer;
}

namespace text_limit_detail {

// Of the network; its card says where its config counts them, and how many rows of the table are no position's.
int64_t positions_in(const Json& known, const Json& config) {
  const std::string key = known.value("positions_key", "max_position_embeddings");
  const int64_t unlimited = int64_t{1} << 20, count = config.value(key, unlimited);
  return count == unlimited ? count : count - known.value("unused_positions", int64_t{0});
}

// A network that is assembled of two has their configs as "encoder" and "decoder": the encoder reads the text.
int64_t positions_of(const Bundle& bundle) {
  if (!bundle.entry) return positions_in(Json::object(), bundle.config);
  const auto encoder = bundle.config.find("encoder");
  if (encoder == bundle.config.end() || !encoder->is_object()) return positions_in(card(bundle.entry->name), bundle.config);
  Json part = *encoder;
  part.erase("architectures");
  return positions_in(card(entry_for_config(part).name), part);
}

}  // namespace text_limit_detail

int64_t text_limit(const Bundle& bundle, const Json& options) {
  const size_t own = bundle.tokenizer ? bundle.tokenizer->model_max_length() : SIZE_MAX;
  int64_t most = int64_t(std::min<size_t>(own, 1 << 20));
  const int64_t positions = text_limit_detail::positions_of(bundle);
  most = std::min(most, positions);
  const auto wanted = options.find("max_length");
  if (wanted == options.end()) return most;
  const auto number = wanted->is_number_integer() ? wanted->get<int64_t>() : int64_t{0};
  if (number < 3 || number > positions)
    throw UsageError("max_length is " + wanted->dump() + "; a whole number from 3 to " + std::to_string(positions) +
                     " (the network's positions) is expected");
  return number;
}

int64_t pad_id_of(const Bundle& bundle) {
  if (bundle.tokenizer && bundle.tokenizer->pad_id()) return *bundle.tokenizer->pad_id();
  const auto configured = bundle.config.find("pad_token_id");
  return configured != bundle.config.end() && configured->is_number_integer() ? configured->get<int64_t>() : 0;
}

std::vector<tokenizers::Encoding> encode_texts(const tokenizers::Tokenizer& tokenizer, std::span<const std::string> texts,
                                               std::span<const std::string> pairs, int64_t max_length) {
  TORCH_CHECK_VALUE(pairs.empty() || pairs.size() == texts.size(), "encode_texts: ", texts.size(), " texts, ", pairs.size(), " pairs");
  std::vector<tokenizers::Encoding> encodings(texts.size());
  at::parallel_for(0, int64_t(texts.size()), 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      std::optional<std::string_view> pair;
      if (!pairs.empty()) pair = pairs[i];
      encodings[i] = tokenizer.encode(texts[i], pair, size_t(max_length));
    }
  });
  return encodings;
}

Tensors pad_encodings(std::span<const tokenizers::Encoding> encodings, int64_t pad_id) {
  std::vector<const tokenizers::Encoding*> pointers;
  for (const auto& encoding : encodings) pointers.push_back(&encoding);
  return pad_encodings(pointers, pad_id);
}

Tensors pad_encodings(std::span<const tokenizers::Encoding* const> encodings, int64_t pad_id) {
  const int64_t rows = int64_t(encodings.size());
  int64_t longest = 0, shortest = INT64_MAX;
  bool typed = false;
  for (const auto* encoding : encodings) {
    longest = std::max(longest, int64_t(encoding->ids.size()));
    shortest = std::min(shortest, int64_t(encoding->ids.size()));
    typed = typed || std::any_of(encoding->type_ids.begin(), encoding->type_ids.end(), [](int64_t type) { return type != 0; });
  }
  Tensors inputs;
  auto& tokens = inputs["tokens"] = at::full({rows, longest}, pad_id, at::kLong);
  at::Tensor types, mask;
  if (typed) types = inputs["token_types"] = at::zeros({rows, longest}, at::kLong);
  if (shortest != longest && rows > 0) mask = inputs["mask"] = at::zeros({rows, longest}, at::kBool);
  for (int64_t row = 0; row < rows; ++row) {
    const auto& encoding = *encodings[row];
    std::copy(encoding.ids.begin(), encoding.ids.end(), tokens.data_ptr<int64_t>() + row * longest);
    if (typed) std::copy(encoding.type_ids.begin(), encoding.type_ids.end(), types.data_ptr<int64_t>() + row * longest);
    if (mask.defined()) std::fill_n(mask.data_ptr<bool>() + row * longest, encoding.ids.size(), true);
  }
  return inputs;
}

int64_t EncodedTexts::length(int64_t index) const {
  return static_cast<int64_t>(texts[index].ids.size() + (pairs.empty() ? 0 : pairs[index].ids.size()));
}

bool reads_pairs_apart(const Bundle& bundle) {
  if (!bundle.entry) return false;
  const auto specs = bundle.entry->inputs(bundle.config);
  return std::any_of(specs.begin(), specs.end(), [](const InputSpec& spec) { return spec.name == "pair_tokens"; });
}

TextEncoder::TextEncoder(const Bundle& bundle, int64_t max_length)
    : spec_(bundle.spec), tokenizer_(tokenizer_of(bundle)), max_length_(max_length), apart_(reads_pairs_apart(bundle)),
      pattern_(PromptPattern::wanted_by(bundle) ? std::make_shared<const PromptPattern>(bundle) : nullptr) {}

EncodedTexts TextEncoder::in_pattern(std::span<const std::string> texts, std::span<const std::string> pairs, bool tell) const {
  if (pattern_->has_pair() && pairs.empty()) throw UsageError(spec_ + ": the network's pattern has two texts; give --pair, or a table's two columns: --columns text,pair");
  EncodedTexts encoded;
  for (size_t i = 0; i < texts.size(); ++i) {
    auto one = pattern_->encode(texts[i], pairs.empty() ? "" : pairs[i], static_cast<size_t>(max_length_));
    encoded.texts.push_back(std::move(one.encoding));
    encoded.prompts.push_back(std::move(one.prompts));
    encoded.cut += one.cut;
  }
  if (tell) tell_cut_texts(encoded.cut, encoded.size(), max_length_);
  return encoded;
}

EncodedTexts TextEncoder::encode(std::span<const std::string> texts, std::span<const std::string> pairs, bool tell) const {
  if (pattern_) return in_pattern(texts, pairs, tell);
  EncodedTexts encoded;
  if (!apart_) {
    encoded.texts = encode_texts(tokenizer_, texts, pairs, max_length_);
    encoded.cut = count_cut_texts(encoded.texts, texts, pairs, max_length_);
    if (tell) tell_cut_texts(encoded.cut, encoded.size(), max_length_);
    return encoded;
  }
  if (pairs.empty()) throw UsageError(spec_ + ": the network compares two texts; give --pair, or a table's two columns: --columns text,pair");
  encoded.texts = encode_texts(tokenizer_, texts, {}, max_length_);
  encoded.pairs = encode_texts(tokenizer_, pairs, {}, max_length_);
  encoded.cut = count_cut_texts(encoded.texts, texts, {}, max_length_) + count_cut_texts(encoded.pairs, pairs, {}, max_length_);
  if (tell) tell_cut_texts(encoded.cut, 2 * encoded.size(), max_length_);
  return encoded;
}

EncodedTexts encode_for(const Bundle& bundle, std::span<const std::string> texts, std::span<const std::string> pairs, int64_t max_length) {
  return TextEncoder(bundle, max_length).encode(texts, pairs, /*tell=*/true);
}

Tensors pad_texts(const EncodedTexts& encoded, int64_t pad_id) {
  std::vector<int64_t> all(static_cast<size_t>(encoded.size()));
  std::iota(all.begin(), all.end(), int64_t{0});
  return pad_texts(encoded, all, pad_id);
}

Tensors pad_texts(const EncodedTexts& encoded, std::span<const int64_t> indices, int64_t pad_id) {
  std::vector<const tokenizers::Encoding*> first, second;
  for (const int64_t index : indices) {
    first.push_back(&encoded.texts[index]);
    if (!encoded.pairs.empty()) second.push_back(&encoded.pairs[index]);
  }
  Tensors batch = pad_encodings(first, pad_id);
  if (!encoded.prompts.empty()) {
    at::Tensor& places = batch["prompt_places"] = at::zeros(batch.at("tokens").sizes(), at::kBool);
    for (size_t row = 0; row < indices.size(); ++row) {
      const auto& prompts = encoded.prompts[indices[row]];
      std::copy(prompts.begin(), prompts.end(), places.data_ptr<bool>() + static_cast<int64_t>(row) * places.size(1));
    }
  }
  if (second.empty()) return batch;
  for (const auto& [name, tensor] : pad_encodings(second, pad_id))
    if (name != "token_types") batch["pair_" + name] = tensor;
  return batch;
}

std::vector<std::vector<int64_t>> batches_by_length(std::span<const int64_t> lengths, const BatchBudget& budget) {
  std::vector<int64_t> order(lengths.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return lengths[a] > lengths[b]; });
  std::vector<std::vector<int64_t>> batches;
  for (const int64_t index : order) {
    bool fits = !batches.empty() && int64_t(batches.back().size()) < budget.rows;
    if (fits) {
      const int64_t longest = lengths[batches.back().front()];
      fits = (int64_t(batches.back().size()) + 1) * longest <= budget.tokens &&
             (!budget.equal_lengths || longest == lengths[index]);
    }
    if (!fits) batches.emplace_back();
    batches.back().push_back(index);
  }
  return batches;
}

void for_each_batch(const Bundle& bundle, std::span<const int64_t> lengths, int64_t rows,
                    const std::function<Tensors(std::span<const int64_t>)>& compute,
                    const std::function<void(std::span<const int64_t>, const Tensors&)>& take, const BatchBudget& on_gpu) {
  const c10::InferenceMode inference;
  const bool on_cpu = bundle.device.is_cpu();
  BatchBudget budget = on_cpu ? BatchBudget{.tokens = 2048, .equal_lengths = true} : on_gpu;
  if (rows > 0) budget.rows = rows, budget.tokens = std::max(budget.tokens, BatchBudget().tokens);
  const auto batches = batches_by_length(lengths, budget);
  std::mutex mutex;  // of whatever takes the outputs
  side_by_side(workers_for(bundle.workers, on_cpu), static_cast<int64_t>(batches.size()), [&](int64_t number) {
    const auto& batch = batches[static_cast<size_t>(number)];
    const Tensors outputs = compute(batch);
    const std::lock_guard lock(mutex);
    take(batch, outputs);
  });
}

size_t text_column(const data::Table& table, const Json& options) {
  const std::string wanted = options.value("column", "");
  if (!wanted.empty()) return table.column(wanted);
  for (const char* usual : {"text", "sentence"})
    if (const auto found = table.find_column(usual)) return *found;
  if (table.columns.size() == 1) return 0;
  throw UsageError(table.name + ": which column holds the texts? Give --column, one of: " + join(table.columns));
}

namespace text_inputs_detail {

constexpr size_t kMaxTextBytes = size_t{64} << 20;  // of one line

void add_lines(std::istream& in, const std::string& name, std::vector<TextInput>& texts) {
  std::string line;
  for (int64_t number = 1; std::getline(in, line); ++number) {
    const std::string source = name + ":" + std::to_string(number);
    if (number == 1 && line.starts_with("\xEF\xBB\xBF")) line.erase(0, 3);
    if (line.find('\0') != std::string::npos)
      throw std::runtime_error(source + ": holds NUL bytes, so it is binary; UTF-8 text is expected");
    if (line.size() > kMaxTextBytes) throw std::runtime_error(source + ": line of more than 64 MiB");
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.find_first_not_of(" \t") != std::string::npos) texts.push_back({line, source});
  }
}

void add_file(const fs::path& path, const Json& options, std::vector<TextInput>& texts) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(), [](unsigned char c) { return std::tolower(c); });
  if (extension == ".csv" || extension == ".tsv" || extension == ".tab" || extension == ".jsonl") {
    const auto table = data::read_table(path);
    const size_t column = text_column(table, options);
    for (size_t i = 0; i < table.rows.size(); ++i)
      texts.push_back({table.rows[i][column], path.string() + ":" + std::to_string(table.lines[i])});
    return;
  }
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error(path.string() + ": cannot be opened");
  add_lines(in, path.string(), texts);
}

void add_path(const std::string& input, const Json& options, std::vector<TextInput>& texts) {
  if (input == "-") return add_lines(std::cin, "standard input", texts);
  std::error_code error;
  if (!fs::exists(input, error))
    throw UsageError(input + ": no such file or folder (a sentence is given with --input \"...\")");
  if (!fs::is_directory(input, error)) return add_file(input, options, texts);
  std::vector<fs::path> files;
  for (const auto& item : fs::directory_iterator(input))
    if (item.is_regular_file() && item.path().extension() == ".txt") files.push_back(item.path());
  if (files.empty()) throw UsageError(input + ": no .txt files in this folder");
  std::sort(files.begin(), files.end());
  for (const auto& file : files) add_file(file, options, texts);
}

}  // namespace text_inputs_detail

bool names_file(const std::string& input) {
  std::error_code error;
  if (fs::exists(input, error)) return !fs::is_directory(input, error);
  const std::string extension = fs::path(input).extension().string();
  const bool one_word = input.find_first_of(" \t\n") == std::string::npos;
  if (one_word && (extension == ".txt" || extension == ".csv" || extension == ".tsv" || extension == ".jsonl")) {
    throw UsageError("--input " + input + ": no such file (a text that reads like a file name can come from standard input: -)");
  }
  return false;
}

std::vector<TextInput> read_text_inputs(const RunOptions& options) {
  std::vector<TextInput> texts;
  if (names_file(options.text)) text_inputs_detail::add_path(options.text, options.options, texts);
  else if (!options.text.empty()) texts.push_back({options.text, "argument"});
  for (const auto& input : options.inputs) text_inputs_detail::add_path(input, options.options, texts);
  if (texts.empty())
    throw UsageError(kNoTexts);
  return texts;
}

void refuse_existing(const fs::path& path, bool overwrite) {
  std::error_code error;
  if (fs::is_directory(path, error)) throw UsageError(path.string() + " is a folder; --out must name a file");
  if (!overwrite && fs::exists(path, error)) throw UsageError(path.string() + " exists; give another --out, or --overwrite");
  const auto folder = path.parent_path();
  if (!folder.empty() && !fs::is_directory(folder, error)) throw UsageError(folder.string() + ": no such folder for --out " + path.string());
}

void write_output(const fs::path& path, std::string_view text, bool overwrite) {
  refuse_existing(path, overwrite);
  weights::write_file_atomically(path, text);
}

Tensors to_device(const Tensors& batch, at::Device device) {
  Tensors moved;
  for (const auto& [name, tensor] : batch) moved.emplace(name, tensor.to(device, /*non_blocking=*/true));
  return moved;
}

}  // namespace zoo::app
