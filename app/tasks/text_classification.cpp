// Text classification: one class for a sentence or a pair of sentences.
#include <ATen/ATen.h>

#include <utility>

#include "app/cli.h"
#include "app/tasks/classification_metrics.h"
#include "app/tasks/labelled_text.h"
#include "app/tasks/option_values.h"
#include "app/tasks/text_batches.h"
#include "app/tasks/text_predictions.h"
#include "data/csv.h"
#include "models/names.h"

namespace zoo::app {
namespace text_classification_detail {

class Texts : public Dataset {
 public:
  Texts(const Bundle& bundle, std::string split, LabelledTexts examples, LabelIds labels, int64_t max_length)
      : split_(std::move(split)),
        names_(std::move(labels.names)),
        texts_(std::move(examples.rows),
               [encoder = TextEncoder(bundle, max_length)](const auto& texts, const auto& pairs, bool all) { return encoder.encode(texts, pairs, all); }),
        labels_(std::move(examples.labels)),
        pad_(pad_id_of(bundle)) {
    for (const auto& name : examples.names) ids_.push_back(labels.ids.at(name));
  }
  int64_t size() const override { return texts_.size(); }
  int64_t length(int64_t index) const override { return texts_.length(index); }
  std::vector<std::string> labels() const override { return names_; }
  std::string split() const override { return split_; }
  std::string describe(int64_t index) const override { return join(texts_.rows().row(index), " | "); }
  Tensors get(std::span<const int64_t> indices, bool /*training*/, uint64_t /*seed*/) const override {
    std::vector<int64_t> labels;
    for (const int64_t index : indices) labels.push_back(ids_[labels_[index]]);
    Tensors batch = pad_texts(texts_.of(indices), pad_);
    batch["labels"] = at::tensor(labels, at::kLong);  // [B]
    return batch;
  }

 private:
  std::string split_;
  std::vector<std::string> names_;
  RowEncodings texts_;
  std::vector<int32_t> labels_;  // as the file numbers them
  std::vector<int64_t> ids_;     // and what the network calls each of those
  int64_t pad_;
};

// Texts from everywhere; pairs of texts from --input with --pair, or from tables with --columns text,pair.
RunInputs run_inputs(const RunOptions& options) {
  const std::string pair = options.options.value("pair", ""), columns = options.options.value("columns", "");
  if (!pair.empty()) {
    if (options.text.empty() || !options.inputs.empty())
      throw UsageError("--pair is the second text of --input; for pairs in files give --columns text,pair");
    return held_run_inputs({{options.text, "argument", pair}});
  }
  if (columns.empty()) return text_run_inputs(options);
  const auto comma = columns.find(',');
  if (comma == std::string::npos) throw UsageError("--columns is '" + columns + "'; expected text,pair");
  return text_run_inputs(options, {columns.substr(0, comma), columns.substr(comma + 1)});
}

bool reads_pairs(const RunOptions& options) {
  return !options.options.value("pair", "").empty() || !options.options.value("columns", "").empty();
}

// As transformers' text-classification pipeline: one output is a sigmoid of its own, several share a softmax.
at::Tensor probabilities_of(const at::Tensor& logits, const Json& config) {
  const std::string problem =
      config.value("problem_type", Json()).is_string() ? config.at("problem_type").get<std::string>() : "";
  if (problem == "regression") return logits;
  return problem == "multi_label_classification" || logits.size(-1) == 1 ? logits.sigmoid()
                                                                         : logits.softmax(-1);
}

Json prediction_of(const TextInput& input, const at::Tensor& probabilities,
                   const std::vector<std::string>& labels) {
  const auto [sorted, order] = probabilities.sort(/*stable=*/true, /*dim=*/-1, /*descending=*/true);
  Json shares = Json::object();
  for (int64_t i = 0; i < order.size(0); ++i)
    shares[labels.at(order[i].item<int64_t>())] = sorted[i].item<double>();
  return {{"source", input.source},
          {"text", input.text},
          {"label", shares.begin().key()},
          {"probability", shares.begin().value()},
          {"probabilities", std::move(shares)}};
}

OutputForms forms_of(const std::vector<std::string>& labels) {
  OutputForms forms;
  forms.head = {{"task", "text_classification"}};
  forms.header = {"source", "text", "label", "probability"};
  for (const auto& label : labels) forms.header.push_back("probability of " + label);
  return forms;
}

OutputRow row_of(Json prediction, const std::vector<std::string>& labels, size_t top) {
  OutputRow row;
  const Json& shares = prediction.at("probabilities");
  size_t shown = 0;
  for (const auto& [label, share] : shares.items())
    if (shown++ < top) row.text += (shown > 1 ? "  " : "") + label + " " + probability_text(share.get<double>());
  row.text += "  " + prediction.at("text").get<std::string>() + "\n";
  row.table.push_back({prediction.at("source").get<std::string>(), prediction.at("text").get<std::string>(),
                       prediction.at("label").get<std::string>(), prediction.at("probability").dump()});
  for (const auto& label : labels) row.table.back().push_back(shares.at(label).dump());
  row.json = std::move(prediction);
  return row;
}

SplitFile file_of(const std::filesystem::path& data, const std::string& split) {
  return split_file(data, split, clone_texts_of(data) ? std::vector<std::string>{".txt"} : std::vector<std::string>{".tsv", ".csv", ".jsonl", ".json"});
}

class TextClassification : public Task {
 public:
  std::string name() const override { return "text_classification"; }
  std::vector<std::string> option_names() const override {
    return {"columns", "text_column", "pair_column", "label_column", "header", "single_spaces", "max_length", "stream_above_mb"};
  }
  std::string primary_metric() const override { return "accuracy"; }

  std::unique_ptr<Dataset> open(const std::filesystem::path& data, const Bundle& bundle,
                                const DataOptions& options) const override {
    const auto file = file_of(data, options.split);
    LabelledTexts examples = read_labelled_texts(file.path, options.options, options.limit);
    LabelIds labels = match_labels(examples.first_lines, bundle.labels, options.training, file.path.string());
    return std::make_unique<Texts>(bundle, file.split, std::move(examples), std::move(labels),
                                   text_limit(bundle, options.options));
  }

  std::vector<std::string> training_texts(const std::filesystem::path& data, const DataOptions& options) const override {
    return all_texts(read_labelled_texts(file_of(data, options.split).path, options.options, options.limit).rows);
  }
  at::Tensor loss(const Tensors& outputs, const Tensors& batch, const Json& options) const override {
    return classification_loss(outputs.at("logits"), batch.at("labels"), options);
  }

  std::unique_ptr<Metrics> metrics(const Bundle& bundle) const override {
    return std::make_unique<ClassificationMetrics>(bundle.labels);
  }

  bool resumes() const override { return true; }
  Json run(Bundle& bundle, const RunOptions& options) const override {
    const auto top = static_cast<size_t>(count_option(options.options, "top_k", 1));
    const int64_t limit = text_limit(bundle, options.options);
    const TextEncoder encoder(bundle, limit);
    const bool paired = reads_pairs(options);
    int64_t cut = 0, read = 0;
    Json document = run_predictions(bundle, options, forms_of(bundle.labels), run_inputs(options), kNoTexts, [&](const auto& window, const auto& done) {
      std::vector<std::string> texts, pairs;
      for (const auto& input : window) {
        texts.push_back(input.text);
        if (paired) pairs.push_back(input.pair);
      }
      const EncodedTexts encoded = encoder.encode(texts, pairs, /*tell=*/false);
      cut += encoded.cut, read += encoded.size();
      std::vector<OutputRow> rows(window.size());
      predict_rows(bundle, encoded, "logits", options.batch_size, [&](size_t index, const at::Tensor& logits) {
        rows[index] = row_of(prediction_of(window[index], probabilities_of(logits, bundle.config), bundle.labels), bundle.labels, top);
      }, done);
      return rows;
    });
    tell_cut_texts(cut, read, limit);
    return document;
  }
};

}  // namespace text_classification_detail

const Task& text_classification_task() {
  static const text_classification_detail::TextClassification task;
  return task;
}

}  // namespace zoo::app
