// Text classification: one class for a sentence or a pair of sentences.
#include <ATen/ATen.h>

#include <utility>

#include "app/cli.h"
#include "app/tasks/classification_metrics.h"
#include "app/tasks/labelled_text.h"
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

struct Inputs {
  std::vector<TextInput> texts;
  std::vector<std::string> pairs;  // empty: single texts
};

// Texts from everywhere; pairs of texts from --input with --pair, or from tables with --columns text,pair.
Inputs read_inputs(const RunOptions& options) {
  const std::string pair = options.options.value("pair", ""), columns = options.options.value("columns", "");
  if (pair.empty() && columns.empty()) return {read_text_inputs(options), {}};
  if (!pair.empty()) {
    if (options.text.empty() || !options.inputs.empty())
      throw UsageError("--pair is the second text of --input; for pairs in files give --columns text,pair");
    return {{{options.text, "argument"}}, {pair}};
  }
  const auto comma = columns.find(',');
  if (comma == std::string::npos) throw UsageError("--columns is '" + columns + "'; expected text,pair");
  Inputs inputs;
  for (const auto& file : options.inputs) {
    const data::Table table = data::read_table(file);
    const size_t first = table.column(columns.substr(0, comma)),
                 second = table.column(columns.substr(comma + 1));
    for (size_t i = 0; i < table.rows.size(); ++i) {
      inputs.texts.push_back({table.rows[i][first], file + ":" + std::to_string(table.lines[i])});
      inputs.pairs.push_back(table.rows[i][second]);
    }
  }
  if (inputs.texts.empty())
    throw UsageError("--columns needs .csv, .tsv or .jsonl files with rows to read pairs of texts from");
  return inputs;
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

PredictionForms forms_of(Json predictions, const std::vector<std::string>& labels, size_t top) {
  PredictionForms forms;
  forms.table.push_back({"source", "text", "label", "probability"});
  for (const auto& label : labels) forms.table[0].push_back("probability of " + label);
  for (const Json& one : predictions) {
    const Json& shares = one.at("probabilities");
    size_t shown = 0;
    for (const auto& [label, share] : shares.items())
      if (shown++ < top)
        forms.text += (shown > 1 ? "  " : "") + label + " " + probability_text(share.get<double>());
    forms.text += "  " + one.at("text").get<std::string>() + "\n";
    forms.table.push_back({one.at("source").get<std::string>(), one.at("text").get<std::string>(),
                           one.at("label").get<std::string>(), one.at("probability").dump()});
    for (const auto& label : labels) forms.table.back().push_back(shares.at(label).dump());
  }
  forms.document = {{"task", "text_classification"}, {"predictions", std::move(predictions)}};
  return forms;
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

  Json run(Bundle& bundle, const RunOptions& options) const override {
    check_prediction_options(options);
    const auto top = static_cast<size_t>(count_option(options.options, "top_k", 1));
    const Inputs inputs = read_inputs(options);
    const EncodedTexts encoded = encode_for(bundle, inputs.texts, inputs.pairs, options.options);
    std::vector<Json> predictions(inputs.texts.size());
    predict_rows(
        bundle, encoded, "logits", options.batch_size, [&](size_t index, const at::Tensor& logits) {
          predictions[index] =
              prediction_of(inputs.texts[index], probabilities_of(logits, bundle.config), bundle.labels);
        });
    return deliver_predictions(forms_of(Json(std::move(predictions)), bundle.labels, top), options);
  }
};

}  // namespace text_classification_detail

const Task& text_classification_task() {
  static const text_classification_detail::TextClassification task;
  return task;
}

}  // namespace zoo::app
