// Text to text: what a network with an encoder and a decoder writes for each line (translation, summaries, code refinement), and
// training and evaluation on texts in pairs.
#include <ATen/ATen.h>
#include <spdlog/spdlog.h>

#include <algorithm>

#include "app/cli.h"
#include "app/tasks/classification_metrics.h"
#include "app/tasks/labelled_text.h"
#include "app/tasks/option_values.h"
#include "app/tasks/text_batches.h"
#include "app/tasks/text_pairs.h"
#include "app/tasks/text_scores.h"
#include "app/tasks/text_writing.h"
#include "app/tasks/token_metrics.h"

namespace zoo::app {
namespace seq2seq_detail {

constexpr int64_t kRowsAtOnce = 32;

// The most tokens of a target: option "max_target_length", else as many as of a source.
int64_t target_limit(const Bundle& bundle, const Json& options) {
  const auto wanted = options.find("max_target_length");
  if (wanted == options.end()) return text_limit(bundle, options);
  try {
    return text_limit(bundle, {{"max_length", *wanted}});
  } catch (const UsageError& error) {
    throw UsageError(std::string("max_target_length: ") + error.what());
  }
}

// What was asked of an evaluation beyond the loss.
struct Writing {
  TextMetrics metrics;
  GenerationOptions how;
};

TextRows rows_of(TextPairs& pairs) {
  return pairs.in_file.size() > 0 ? std::move(pairs.in_file) : TextRows(std::move(pairs.sources), std::move(pairs.targets));
}

// Sources as the texts, targets as the second ones.
RowEncodings::Encode encoder_of(const Bundle& bundle, const Json& options) {
  const int64_t limit = text_limit(bundle, options), most = target_limit(bundle, options), vocabulary = vocabulary_of(bundle);
  return [&tokenizer = tokenizer_of(bundle), limit, most, vocabulary](const auto& sources, const auto& targets, bool all) {
    EncodedTexts encoded{encode_texts(tokenizer, sources, {}, limit), encode_texts(tokenizer, targets, {}, most), {}};
    check_ids(tokenizer, vocabulary, encoded.texts);
    check_ids(tokenizer, vocabulary, encoded.pairs);
    if (all) note_cut_texts(encoded.texts, sources, {}, limit), note_cut_texts(encoded.pairs, targets, {}, most);
    return encoded;
  };
}

class Pairs : public Dataset {
 public:
  Pairs(const Bundle& bundle, TextPairs pairs, const Json& options)
      : split_(std::move(pairs.split)), pad_(pad_id_of(bundle)), texts_(rows_of(pairs), encoder_of(bundle, options)) {
    writing_.metrics = text_metrics(options);
    if (writing_.metrics.names.empty()) return;
    Json wanted = options;
    if (!wanted.contains("max_new_tokens") && options.contains("max_target_length")) wanted["max_new_tokens"] = options.at("max_target_length");
    writing_.how = generation_of(bundle, wanted);
    writing_.how.num_return_sequences = 1;
  }
  int64_t size() const override { return texts_.size(); }
  int64_t batch_size() const override { return kRowsAtOnce; }
  int64_t length(int64_t index) const override { return texts_.length(index); }
  std::string split() const override { return split_; }
  std::string describe(int64_t index) const override { return texts_.rows().row(index).front(); }

  // tokens [B, S], mask [B, S] where lengths differ, labels [B, T] (-100: padding); the network shifts them for its decoder.
  Tensors get(std::span<const int64_t> indices, bool /*training*/, uint64_t /*seed*/) const override {
    const EncodedTexts encoded = texts_.of(indices);
    size_t longest = 1;
    for (const auto& target : encoded.pairs) longest = std::max(longest, target.ids.size());
    Tensors batch = pad_encodings(encoded.texts, pad_);
    const at::Tensor labels = at::full({static_cast<int64_t>(indices.size()), static_cast<int64_t>(longest)}, -100, at::kLong);
    for (size_t row = 0; row < indices.size(); ++row) {
      const auto& ids = encoded.pairs[row].ids;
      std::copy(ids.begin(), ids.end(), labels.mutable_data_ptr<int64_t>() + row * longest);
    }
    batch["labels"] = labels;
    return batch;
  }

  const RowEncodings& texts() const { return texts_; }
  const Writing& writing() const { return writing_; }

 private:
  std::string split_;
  int64_t pad_;
  RowEncodings texts_;
  Writing writing_;
};

void note_unfinished(const std::vector<Json>& answers, const GenerationOptions& how) {
  int64_t unfinished = 0;
  for (const auto& answer : answers) {
    if (answer.empty()) continue;
    const auto& ids = answer[0].at("ids");
    unfinished += static_cast<int64_t>(ids.size()) >= how.max_new_tokens && std::count(how.eos.begin(), how.eos.end(), ids.back().get<int64_t>()) == 0;
  }
  if (unfinished > 0)
    spdlog::warn("{} of {} texts were cut at {} tokens before their end (option max_new_tokens)", unfinished, answers.size(), how.max_new_tokens);
}

// Option "copy_targets": every target once more, as its own source: copied monolingual data (Currey, Miceli Barone & Heafield, WMT 2017). What source
// and target have in common, names above all, is then learnt to be copied long before it would be from the pairs alone.
void copy_targets(TextPairs& pairs, const Json& options) {
  if (!flag_option(options, "copy_targets", false)) return;
  if (pairs.in_file.size() > 0) throw UsageError("copy_targets needs the pairs in memory, and " + pairs.file + " is above stream_above_mb");
  std::vector<std::string> copies = pairs.targets;
  std::erase(copies, "");
  pairs.sources.insert(pairs.sources.end(), copies.begin(), copies.end());
  pairs.targets.insert(pairs.targets.end(), copies.begin(), copies.end());
}

class Seq2Seq : public Task {
 public:
  std::string name() const override { return "seq2seq"; }
  std::vector<std::string> option_names() const override {
    auto names = pair_option_names();
    names.emplace_back("copy_targets");
    return names;
  }
  std::string primary_metric() const override { return "loss"; }
  bool higher_is_better() const override { return false; }

  std::unique_ptr<Dataset> open(const std::filesystem::path& data, const Bundle& bundle, const DataOptions& options) const override {
    text_metrics(options.options);  // a wrong name is told before the data is read
    TextPairs pairs = read_text_pairs(data, options.split, options.options, options.limit);
    if (options.training) copy_targets(pairs, options.options);
    return std::make_unique<Pairs>(bundle, std::move(pairs), options.options);
  }
  std::vector<std::string> training_texts(const std::filesystem::path& data, const DataOptions& options) const override {
    TextPairs pairs = read_text_pairs(data, options.split, options.options, options.limit);
    return all_texts(rows_of(pairs));
  }
  at::Tensor loss(const Tensors& outputs, const Tensors& batch, const Json& options) const override {
    return classification_loss(outputs.at("logits"), batch.at("labels"), options);
  }
  double loss_terms(const Tensors& batch) const override { return static_cast<double>(batch.at("labels").ge(0).sum().item<int64_t>()); }
  std::unique_ptr<Metrics> metrics(const Bundle&) const override { return std::make_unique<TokenMetrics>(); }

  WrittenTexts write_texts(Bundle& bundle, const Dataset& data, std::span<const int64_t> indices) const override {
    const auto& set = dynamic_cast<const Pairs&>(data);
    const Writing& writing = set.writing();
    if (writing.metrics.names.empty()) return {};
    std::vector<int64_t> order(indices.begin(), indices.end());
    std::sort(order.begin(), order.end());
    std::vector<std::string> sources, targets, written;
    for (const int64_t index : order) {
      auto row = set.texts().rows().row(index);
      sources.push_back(std::move(row.at(0)));
      targets.push_back(std::move(row.at(1)));
    }
    const auto answers = write_texts_for(bundle, writing.how, sources, set.texts().of(order).texts);
    note_unfinished(answers, writing.how);
    for (const auto& answer : answers) written.push_back(line_of(answer));
    WrittenTexts result{text_figures(writing.metrics, written, {targets}), Json::array()};
    for (size_t i = 0; i < written.size(); ++i) result.details.push_back({{"source", sources[i]}, {"target", targets[i]}, {"output", written[i]}});
    return result;
  }

  bool resumes() const override { return true; }
  Json run(Bundle& bundle, const RunOptions& options) const override { return run_writing(bundle, options, /*continues=*/false); }
};

}  // namespace seq2seq_detail

std::vector<std::string> pair_option_names() {
  std::vector<std::string> names = {"columns", "target", "max_length", "stream_above_mb", "max_target_length", "metrics", "tokenize", "lang", "use_stemmer", "prefix", "allowed"};
  for (const auto& key : generation_keys())
    if (key != "max_length") names.push_back(key);
  return names;
}

std::unique_ptr<Dataset> pairs_dataset(const Bundle& bundle, TextPairs pairs, const Json& options) {
  return std::make_unique<seq2seq_detail::Pairs>(bundle, std::move(pairs), options);
}

const Task& seq2seq_task() {
  static const seq2seq_detail::Seq2Seq task;
  return task;
}

}  // namespace zoo::app
