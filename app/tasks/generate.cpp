// Language modelling with a decoder alone: how it goes on after each text, its perplexity on texts, and training on them.
#include <ATen/ATen.h>

#include <algorithm>

#include "app/cli.h"
#include "app/tasks/classification_metrics.h"
#include "app/tasks/labelled_text.h"
#include "app/tasks/text_batches.h"
#include "app/tasks/text_writing.h"
#include "app/tasks/token_metrics.h"
#include "data/csv.h"
#include "weights/files.h"

namespace zoo::app {
namespace generate_detail {

constexpr uint64_t kMaxText = uint64_t{1} << 30;

SplitFile file_of(const std::filesystem::path& data, const DataOptions& options) { return split_file(data, options.split, {".txt", ".jsonl", ".csv", ".tsv"}); }

// A text file is one text, line breaks and all. The rows of a table are texts of their own.
std::vector<std::string> texts_of(const std::filesystem::path& file, const DataOptions& options) {
  if (file.extension() == ".txt") return {weights::read_text_file(file, kMaxText)};
  data::TableOptions read;
  read.limit = options.limit;
  data::Table table = data::read_table(file, read);
  const size_t column = text_column(table, options.options);
  std::vector<std::string> texts;
  for (auto& row : table.rows) texts.push_back(std::move(row[column]));
  return texts;
}

// Of all texts in a row, those of a table each ended by the end-of-text token.
std::vector<int64_t> ids_of(const std::filesystem::path& file, const Bundle& bundle, const DataOptions& options) {
  const auto& tokenizer = tokenizer_of(bundle);
  const bool ended = file.extension() != ".txt" && tokenizer.eos_id().has_value();
  std::vector<int64_t> ids;
  for (const auto& text : texts_of(file, options)) {
    const auto one = tokenizer.encode_bare(text).ids;
    ids.insert(ids.end(), one.begin(), one.end());
    if (ended) ids.push_back(*tokenizer.eos_id());
  }
  return ids;
}

// From one window's beginning to the next: option "stride"; default half of `length`, for training all of it.
int64_t stride_of(const DataOptions& options, int64_t length) {
  const auto wanted = options.options.find("stride");
  if (wanted == options.options.end()) return options.training ? length : std::max<int64_t>(1, length / 2);
  const int64_t stride = wanted->is_number_integer() ? wanted->get<int64_t>() : 0;
  if (stride < 1 || stride > length) {
    throw UsageError("stride is " + wanted->dump() + "; a whole number from 1 to the window's " + std::to_string(length) + " tokens (max_length) is expected");
  }
  return stride;
}

// Windows of at most `length` tokens over a long row of them. Where windows overlap, the later one only reads what the earlier one
// predicted, so that each token is predicted once, from at least length - stride tokens before it where there are so many; where they
// do not overlap, the first token of each is not predicted.
class Windows : public Dataset {
 public:
  Windows(const std::filesystem::path& data, const Bundle& bundle, const DataOptions& options)
      : length_(text_limit(bundle, options.options)), stride_(stride_of(options, length_)) {
    const SplitFile found = file_of(data, options);
    split_ = found.split;
    tokenizers::Encoding all;
    all.ids = ids_of(found.path, bundle, options);
    check_ids(bundle, {&all, 1});
    ids_ = std::move(all.ids);
    const auto count = static_cast<int64_t>(ids_.size());
    if (count < 2) throw UsageError(found.path.string() + ": " + std::to_string(count) + " tokens; a text of two at least is expected");
    size_ = count <= length_ ? 1 : 1 + (count - length_ + stride_ - 1) / stride_;
    if (size_ > 1 && stride_ == length_ && count - (size_ - 1) * stride_ < 2) --size_;  // a last token alone predicts nothing
    if (options.limit > 0 && found.path.extension() == ".txt") size_ = std::min(size_, options.limit);
  }
  int64_t size() const override { return size_; }
  int64_t batch_size() const override { return std::max<int64_t>(1, 2048 / length_); }
  int64_t length(int64_t index) const override { return end(index) - index * stride_; }
  std::string split() const override { return split_; }

  // tokens [B, T], labels [B, T]: the next token, -100 where there is none or another window predicts it. Padding stands on the right,
  // where a causal network needs no mask.
  Tensors get(std::span<const int64_t> indices, bool /*training*/, uint64_t /*seed*/) const override {
    int64_t longest = 0;
    for (const int64_t index : indices) longest = std::max(longest, length(index));
    const auto rows = static_cast<int64_t>(indices.size());
    const at::Tensor tokens = at::zeros({rows, longest}, at::kLong), labels = at::full({rows, longest}, -100, at::kLong);
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t begin = indices[row] * stride_, stop = end(indices[row]);
      const int64_t predicted = indices[row] == 0 ? 0 : end(indices[row] - 1);  // tokens before this one are the windows' before
      std::copy(ids_.begin() + begin, ids_.begin() + stop, tokens.mutable_data_ptr<int64_t>() + row * longest);
      const int64_t from = std::max(begin + 1, predicted);
      std::copy(ids_.begin() + from, ids_.begin() + stop, labels.mutable_data_ptr<int64_t>() + row * longest + (from - begin - 1));
    }
    return {{"tokens", tokens}, {"labels", labels}};
  }

 private:
  int64_t end(int64_t index) const { return std::min(index * stride_ + length_, static_cast<int64_t>(ids_.size())); }

  int64_t length_, stride_, size_ = 0;
  std::string split_;
  std::vector<int64_t> ids_;
};

class Generate : public Task {
 public:
  std::string name() const override { return "generate"; }
  std::vector<std::string> option_names() const override { return {"max_length", "stride", "column"}; }
  std::string primary_metric() const override { return "loss"; }
  bool higher_is_better() const override { return false; }

  std::unique_ptr<Dataset> open(const std::filesystem::path& data, const Bundle& bundle, const DataOptions& options) const override {
    return std::make_unique<Windows>(data, bundle, options);
  }
  std::vector<std::string> training_texts(const std::filesystem::path& data, const DataOptions& options) const override {
    return generate_detail::texts_of(file_of(data, options).path, options);
  }
  at::Tensor loss(const Tensors& outputs, const Tensors& batch, const Json& options) const override {
    return classification_loss(outputs.at("logits"), batch.at("labels"), options);
  }
  double loss_terms(const Tensors& batch) const override { return static_cast<double>(batch.at("labels").ge(0).sum().item<int64_t>()); }
  std::unique_ptr<Metrics> metrics(const Bundle&) const override { return std::make_unique<TokenMetrics>(); }
  bool resumes() const override { return true; }
  Json run(Bundle& bundle, const RunOptions& options) const override { return run_writing(bundle, options, /*continues=*/true); }
};

}  // namespace generate_detail

const Task& generate_task() {
  static const generate_detail::Generate task;
  return task;
}

}  // namespace zoo::app
