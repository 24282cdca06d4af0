// Unsupervised translation between two languages (CodeRosetta, arXiv:2410.20527, section 3.3; src/train_modes/train_da_bt.py): an
// encoder-decoder restores texts from noise, and from its own translations of them into the other language.
#include <ATen/ATen.h>
#include <spdlog/spdlog.h>

#include <map>

#include "app/cli.h"
#include "app/engine/generation.h"
#include "app/tasks/labelled_text.h"
#include "app/tasks/text_batches.h"
#include "app/tasks/token_noise.h"
#include "data/text_lines.h"
#include "metrics/code_bleu.h"
#include "metrics/texts.h"
#include "models/names.h"

namespace zoo::app {
namespace denoise_detail {

using Names = std::vector<std::string>;

struct Language {
  std::string name;
  int64_t start = -1;          // what the decoder begins with to write it
  std::vector<double> counts;  // of its tokens by id
  std::vector<bool> keyword;
};

Names split_at_commas(const std::string& text) {
  Names parts(1);
  for (const char c : text) {
    if (c == ',') parts.emplace_back();
    else parts.back() += c;
  }
  return parts;
}

Names two_names(const Json& options, const char* key, const char* example) {
  const Json value = options.value(key, Json());
  const Names names = value.is_string() ? split_at_commas(value.get<std::string>()) : Names();
  if (names.size() != 2 || names[0].empty() || names[1].empty() || names[0] == names[1])
    throw UsageError(std::string("option ") + key + " is " + value.dump() + "; two different names joined by a comma are expected: " + example);
  return names;
}

// <CPP> and <CUDA> of the vocabulary, or those that option start_tokens names.
int64_t start_token(const Bundle& bundle, const Json& options, const Names& languages, size_t which) {
  std::string token = "<" + languages[which] + ">";
  std::transform(token.begin(), token.end(), token.begin(), [](unsigned char c) { return std::toupper(c); });
  if (options.contains("start_tokens")) token = two_names(options, "start_tokens", "<CPP>,<CUDA>")[which];
  const auto id = tokenizer_of(bundle).token_to_id(token);
  if (!id) throw UsageError("the tokenizer has no token '" + token + "', with which the decoder begins to write " + languages[which] + " (option start_tokens names others)");
  return *id;
}

// The language's own from the metrics' lists, or the words of the file that option keywords names.
std::vector<std::string> keywords_of(const std::string& language, const Json& options) {
  std::vector<std::string> words;
  if (options.contains("keywords")) {
    data::TextLines lines(options.at("keywords").get<std::string>());
    for (std::string line; lines.next(line);) words.push_back(line);
    return words;
  }
  const auto known = metrics::code_languages();
  const std::string list = language == "cuda" ? "cpp" : language;
  if (std::find(known.begin(), known.end(), list) == known.end()) return words;
  for (const auto& word : metrics::code_keywords(list)) words.push_back(metrics::encode(word));
  return words;
}

std::vector<bool> keyword_ids(const tokenizers::Tokenizer& tokenizer, const std::vector<std::string>& words) {
  std::vector<bool> keyword(static_cast<size_t>(tokenizer.vocab_size()), false);
  std::string joined;
  for (const auto& word : words) joined += (joined.empty() ? "" : " ") + word;  // as the reference: all in one text
  for (const int64_t id : tokenizer.encode_bare(joined).ids)
    if (id < static_cast<int64_t>(keyword.size())) keyword[static_cast<size_t>(id)] = true;
  return keyword;
}

struct Example {
  std::vector<int64_t> ids;  // with the special tokens
  size_t language;
};

class Monolingual : public Dataset {
 public:
  Monolingual(const std::filesystem::path& data, const Bundle& bundle, const DataOptions& options)
      : tokenizer_(tokenizer_of(bundle)), noise_(NoiseOptions::of(options.options)), pad_(pad_id_of(bundle)) {
    const Names names = two_names(options.options, "langs", "cpp,cuda");
    const Json share = options.options.value("back_translation", Json(0.0));
    if (!share.is_number() || share.get<double>() < 0 || share.get<double>() > 1)
      throw UsageError("back_translation is " + share.dump() + "; the share of batches, 0 to 1, is expected");
    back_translation_ = share.get<double>();
    if (!tokenizer_.mask_id()) throw UsageError(bundle.spec + ": its tokenizer has no mask token, which hides words (option mask=0 does without)");
    longest_ = static_cast<size_t>(text_limit(bundle, options.options));
    for (size_t i = 0; i < names.size(); ++i) {
      const auto file = split_file_of(data, options.split, names[i]);
      languages_.push_back({names[i], start_token(bundle, options.options, names, i), std::vector<double>(static_cast<size_t>(tokenizer_.vocab_size()), 0.0),
                            keyword_ids(tokenizer_, keywords_of(names[i], options.options))});
      add(read_text_lines(file, options.limit), i);
    }
  }
  int64_t size() const override { return static_cast<int64_t>(examples_.size()); }
  int64_t batch_size() const override { return 32; }
  int64_t length(int64_t index) const override { return static_cast<int64_t>(examples_[index].ids.size()); }
  std::string split() const override { return split_; }
  std::string describe(int64_t index) const override { return texts_[index]; }

  // labels [B, T]: the texts. Noise: tokens [B, S] with mask, decoder_tokens [B, T]. Back-translation: tokens are the texts too, and
  // foreign_start [B] is what the decoder begins with to translate them; forward() then puts the translations in their place.
  Tensors get(std::span<const int64_t> indices, bool training, uint64_t seed) const override {
    const bool back = training && Dice(seed, indices.empty() ? 0 : indices.front()).uniform() < back_translation_;
    std::vector<tokenizers::Encoding> inputs;
    std::vector<int64_t> foreign;
    size_t longest = 1;
    for (const int64_t index : indices) {
      const Example& example = examples_[index];
      longest = std::max(longest, example.ids.size());
      inputs.push_back(encoding_of(back ? example.ids : noisy_ids(example, seed, index)));
      foreign.push_back(languages_[1 - example.language].start);
    }
    Tensors batch = pad_encodings(inputs, pad_);
    const auto rows = static_cast<int64_t>(indices.size());
    at::Tensor labels = at::full({rows, static_cast<int64_t>(longest)}, -100, at::kLong), decoder = at::full_like(labels, pad_);
    for (int64_t row = 0; row < rows; ++row) {
      const Example& example = examples_[indices[row]];
      int64_t* to = labels.mutable_data_ptr<int64_t>() + row * static_cast<int64_t>(longest);
      int64_t* read = decoder.mutable_data_ptr<int64_t>() + row * static_cast<int64_t>(longest);
      std::copy(example.ids.begin(), example.ids.end(), to);
      read[0] = languages_[example.language].start;
      std::copy(example.ids.begin(), example.ids.end() - 1, read + 1);
    }
    batch["labels"] = labels;
    batch["decoder_tokens"] = decoder;
    if (back) {
      batch["foreign_start"] = at::tensor(foreign, at::kLong);
      batch["ends"] = at::tensor({first_, last_, pad_}, at::kLong);
    }
    return batch;
  }

 private:
  // train.cpp, or train.cpp.txt, in a folder.
  std::filesystem::path split_file_of(const std::filesystem::path& data, const std::string& split, const std::string& language) {
    std::error_code error;
    if (!std::filesystem::is_directory(data, error))
      throw UsageError(data.string() + ": a folder with SPLIT." + language + " files, a text a line, was expected");
    for (const std::string& name : split.empty() ? Names{"test", "validation", "train"} : Names{split}) {
      for (const std::string& ending : {"." + language, "." + language + ".txt"}) {
        if (std::filesystem::is_regular_file(data / (name + ending), error)) {
          split_ = name;
          return data / (name + ending);
        }
      }
    }
    throw UsageError(data.string() + ": no " + (split.empty() ? "test" : split) + "." + language + " (a text a line)");
  }

  void add(const std::vector<std::string>& texts, size_t language) {
    const auto encodings = encode_texts(tokenizer_, texts, {}, static_cast<int64_t>(longest_));
    note_cut_texts(encodings, texts, {}, static_cast<int64_t>(longest_));
    for (size_t i = 0; i < texts.size(); ++i) {
      const auto& encoding = encodings[i];
      if (encoding.ids.size() < 3 || !encoding.special.front() || !encoding.special.back())
        throw UsageError("'" + texts[i].substr(0, 80) + "': its tokens do not stand between a first and a last special one, as a RoBERTa or BERT tokenizer gives them");
      first_ = encoding.ids.front();
      last_ = encoding.ids.back();
      for (size_t t = 1; t + 1 < encoding.ids.size(); ++t) {
        const auto id = static_cast<size_t>(encoding.ids[t]);
        if (id < languages_[language].counts.size()) languages_[language].counts[id] += 1;
      }
      examples_.push_back({encoding.ids, language});
      texts_.push_back(texts[i]);
    }
  }

  std::vector<int64_t> noisy_ids(const Example& example, uint64_t seed, int64_t index) const {
    const NoiseTokens tokens{*tokenizer_.mask_id(), languages_[example.language].keyword, languages_[1 - example.language].counts};
    std::vector<int64_t> inner(example.ids.begin() + 1, example.ids.end() - 1);
    std::vector<int64_t> ids = noisy(std::move(inner), noise_, tokens, longest_ - 2, Dice(seed, index));
    ids.insert(ids.begin(), example.ids.front());
    ids.push_back(example.ids.back());
    return ids;
  }

  static tokenizers::Encoding encoding_of(std::vector<int64_t> ids) {
    tokenizers::Encoding encoding;
    encoding.type_ids.assign(ids.size(), 0);
    encoding.ids = std::move(ids);
    return encoding;
  }

  const tokenizers::Tokenizer& tokenizer_;  // of a bundle, which outlives its data sets
  NoiseOptions noise_;
  int64_t pad_, first_ = 0, last_ = 0;
  double back_translation_ = 0;
  size_t longest_ = 0;
  std::string split_;
  std::vector<Language> languages_;
  std::vector<Example> examples_;
  std::vector<std::string> texts_;
};

// What the network now writes for the batch's texts in the other language, without dropout and gradients. Rows of one language
// are written together, because all begin with one token.
std::vector<std::vector<int64_t>> translations(Model& model, const Tensors& batch) {
  const at::NoGradGuard no_grad;
  const at::Tensor starts = batch.at("foreign_start").cpu(), ends = batch.at("ends").cpu(), mask = optional_input(batch, "mask");
  std::vector<std::vector<int64_t>> written(static_cast<size_t>(starts.size(0)));
  GenerationOptions how;
  how.max_new_tokens = batch.at("labels").size(1);
  how.pad = ends[2].item<int64_t>();
  how.eos = {ends[1].item<int64_t>()};
  std::map<int64_t, std::vector<int64_t>> rows_of;
  for (int64_t row = 0; row < starts.size(0); ++row) rows_of[starts[row].item<int64_t>()].push_back(row);
  const bool training = model.is_training();
  model.eval();
  for (const auto& [start, rows] : rows_of) {
    how.decoder_start = start;
    const at::Tensor chosen = at::tensor(rows, at::kLong).to(batch.at("tokens").device());
    Tensors inputs = {{"tokens", batch.at("tokens").index_select(0, chosen)}};
    if (mask.defined()) inputs["mask"] = mask.index_select(0, chosen);
    const auto results = generate(model, inputs, how);
    for (size_t i = 0; i < rows.size(); ++i) written[static_cast<size_t>(rows[i])] = results[i].front().ids;
  }
  model.train(training);
  return written;
}

// The batch with the translations as its source: first token, what was written, last token. The reference decodes and tokenises
// them again, which gives the same ids wherever the tokenizer is its own inverse.
Tensors from_translations(Model& model, const Tensors& batch) {
  const at::Tensor ends = batch.at("ends").cpu();
  std::vector<tokenizers::Encoding> sources;
  for (auto& ids : translations(model, batch)) {
    tokenizers::Encoding source;
    source.ids = {ends[0].item<int64_t>()};
    source.ids.insert(source.ids.end(), ids.begin(), ids.end());
    if (source.ids.back() != ends[1].item<int64_t>()) source.ids.back() = ends[1].item<int64_t>();
    if (source.ids.size() < 2) source.ids.push_back(ends[1].item<int64_t>());
    source.type_ids.assign(source.ids.size(), 0);
    sources.push_back(std::move(source));
  }
  Tensors moved = to_device(pad_encodings(sources, ends[2].item<int64_t>()), batch.at("tokens").device());
  moved["labels"] = batch.at("labels");
  moved["decoder_tokens"] = batch.at("decoder_tokens");
  return moved;
}

class Denoise : public Task {
 public:
  std::string name() const override { return "denoise"; }
  std::vector<std::string> option_names() const override {
    return {"langs", "start_tokens", "keywords", "back_translation", "max_length", "drop", "replace", "insert", "mask", "keyword_weight", "shuffle"};
  }
  std::string head() const override { return "seq2seq"; }
  std::string primary_metric() const override { return "loss"; }
  bool higher_is_better() const override { return false; }

  std::unique_ptr<Dataset> open(const std::filesystem::path& data, const Bundle& bundle, const DataOptions& options) const override {
    return std::make_unique<Monolingual>(data, bundle, options);
  }
  Tensors forward(Model& model, const Tensors& batch) const override {
    return model.forward(batch.count("foreign_start") ? from_translations(model, batch) : batch);
  }
  at::Tensor loss(const Tensors& outputs, const Tensors& batch, const Json& options) const override { return seq2seq_task().loss(outputs, batch, options); }
  double loss_terms(const Tensors& batch) const override { return seq2seq_task().loss_terms(batch); }
  std::unique_ptr<Metrics> metrics(const Bundle& bundle) const override { return seq2seq_task().metrics(bundle); }
  Json run(Bundle&, const RunOptions&) const override {
    throw UsageError("task denoise trains networks (zoo train) and measures them (zoo eval); to translate with one: zoo run --task seq2seq --option decoder_start_token_id=ID");
  }
};

}  // namespace denoise_detail

const Task& denoise_task() {
  static const denoise_detail::Denoise task;
  return task;
}

}  // namespace zoo::app
