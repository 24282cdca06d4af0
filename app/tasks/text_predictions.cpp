#include "app/tasks/text_predictions.h"

#include <ATen/ATen.h>

#include <cstdio>
#include <iostream>
#include <memory>
#include <optional>
#include <stdexcept>

#include "app/cli.h"
#include "app/report/progress.h"
#include "app/tasks/labelled_text.h"
#include "app/tasks/text_stream.h"
#include "data/csv.h"

namespace zoo::app {
namespace text_predictions_detail {

constexpr size_t kShowProgressFrom = 256;  // texts; fewer are done before a bar would help

std::string format_of(const RunOptions& options) {
  if (!options.format.empty()) return options.format;
  const auto extension = options.out.extension();
  if (extension == ".json") return "json";
  if (extension == ".csv") return "csv";
  return "text";
}

std::string rendered(const PredictionForms& forms, const std::string& format) {
  if (format == "json") return forms.document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  if (format == "text") return forms.text;
  std::string csv;
  for (const auto& row : forms.table) csv += data::csv_record(row);
  return csv;
}

}  // namespace text_predictions_detail

std::vector<tokenizers::Encoding> encode_inputs(const Bundle& bundle, const std::vector<TextInput>& inputs,
                                                const std::vector<std::string>& pairs, const Json& options) {
  std::vector<std::string> texts;
  for (const auto& input : inputs) texts.push_back(input.text);
  const int64_t limit = text_limit(bundle, options);
  auto encodings = encode_texts(tokenizer_of(bundle), texts, pairs, limit);
  note_cut_texts(encodings, texts, pairs, limit);
  return encodings;
}

namespace text_predictions_detail {

// `pad` makes the inputs of a batch.
void predict(Bundle& bundle, const std::vector<int64_t>& lengths, const std::function<Tensors(std::span<const int64_t>)>& pad,
             const std::string& name, int64_t batch_size, const std::function<void(size_t, const at::Tensor&)>& visit,
             const std::function<void(int64_t)>& done = {}) {
  std::optional<Progress> progress;
  if (!done && lengths.size() >= kShowProgressFrom) progress.emplace("predict", static_cast<int64_t>(lengths.size()), "texts");
  const auto rows_of = [&](std::span<const int64_t> batch) {
    const Tensors outputs = bundle.model->forward(to_device(pad(batch), bundle.device));
    const auto found = outputs.find(name);
    if (found == outputs.end())
      throw UsageError(bundle.spec + ": the network gives no " + name +
                       "; it was loaded without the head for this task");
    return Tensors{{name, found->second.to(at::kCPU, at::kFloat)}};
  };
  for_each_batch(bundle, lengths, batch_size, rows_of, [&](std::span<const int64_t> batch, const Tensors& outputs) {
    const at::Tensor& rows = outputs.at(name);
    for (size_t i = 0; i < batch.size(); ++i)
      visit(batch[i], rows.dim() == 3 ? rows[i].narrow(0, 0, lengths[batch[i]]) : rows[i]);
    if (progress) progress->add(static_cast<int64_t>(batch.size()));
    if (done) done(static_cast<int64_t>(batch.size()));
  });
}

}  // namespace text_predictions_detail

void predict_rows(Bundle& bundle, const std::vector<tokenizers::Encoding>& encodings, const std::string& name,
                  int64_t batch_size, const std::function<void(size_t, const at::Tensor&)>& visit) {
  std::vector<int64_t> lengths;
  for (const auto& encoding : encodings) lengths.push_back(static_cast<int64_t>(encoding.ids.size()));
  const auto pad = [&](std::span<const int64_t> batch) {
    std::vector<const tokenizers::Encoding*> members;
    for (const int64_t index : batch) members.push_back(&encodings[index]);
    return pad_encodings(members, pad_id_of(bundle));
  };
  text_predictions_detail::predict(bundle, lengths, pad, name, batch_size, visit);
}

void predict_rows(Bundle& bundle, const EncodedTexts& encoded, const std::string& name, int64_t batch_size,
                  const std::function<void(size_t, const at::Tensor&)>& visit, const std::function<void(int64_t)>& done) {
  std::vector<int64_t> lengths;
  for (int64_t i = 0; i < encoded.size(); ++i) lengths.push_back(encoded.length(i));
  const auto pad = [&](std::span<const int64_t> batch) { return pad_texts(encoded, batch, pad_id_of(bundle)); };
  text_predictions_detail::predict(bundle, lengths, pad, name, batch_size, visit, done);
}

namespace text_predictions_detail {

class StreamedInputs {
 public:
  StreamedInputs(const RunOptions& options, const std::vector<std::string>& columns) : stream_(options, columns) {}

  bool next(TextInput& input) {
    for (StreamedText text; stream_.next(text);) {
      if (!text.trouble.empty()) troubles_.add(text.source, text.trouble);
      const bool blank = text.text.find_first_not_of(" \t") == std::string::npos;
      if (text.lost || (blank && !text.in_table)) continue;
      input = {std::move(text.text), std::move(text.source), std::move(text.pair)};
      return true;
    }
    troubles_.close();
    return false;
  }

 private:
  TextStream stream_;
  Troubles troubles_;
};

}  // namespace text_predictions_detail

RunInputs text_run_inputs(const RunOptions& options, const std::vector<std::string>& columns) {
  namespace d = text_predictions_detail;
  const auto inputs = std::make_shared<d::StreamedInputs>(options, columns);
  return {[inputs](TextInput& input) { return inputs->next(input); }, count_texts(options, columns)};
}

RunInputs held_run_inputs(std::vector<TextInput> inputs) {
  const auto total = static_cast<int64_t>(inputs.size());
  return {[held = std::move(inputs), at = size_t{0}](TextInput& input) mutable {
            if (at == held.size()) return false;
            input = std::move(held[at++]);
            return true;
          }, total};
}

Json run_predictions(const Bundle& bundle, const RunOptions& options, OutputForms forms, RunInputs inputs, const std::string& nothing,
                     const PredictWindow& predict) {
  RowRun run;
  run.forms = std::move(forms);
  run.forms.formats = {"text", "json", "jsonl", "csv"};
  run.settings = [&] {
    Json settings = run_settings(bundle, options);
    settings["task"] = run.forms.head.at("task");
    return settings;
  };
  run.total = inputs.total;
  run.next = std::move(inputs.next);
  run.predict = [&](const auto& window, int64_t, const auto&, const auto& done) -> RowRun::Rows { return predict(window, done); };
  return run_rows(options, run, nothing);
}

void check_prediction_options(const RunOptions& options) {
  const std::string format = text_predictions_detail::format_of(options);
  if (format != "text" && format != "json" && format != "csv")
    throw UsageError("format '" + format + "'; expected text, json or csv");
  if (!options.out.empty()) refuse_existing(options.out, options.overwrite);
}

Json deliver_predictions(PredictionForms forms, const RunOptions& options) {
  const std::string text =
      text_predictions_detail::rendered(forms, text_predictions_detail::format_of(options));
  if (!options.out.empty())
    write_output(options.out, text, options.overwrite);
  else if (!options.json)
    std::cout << text << std::flush;
  return std::move(forms.document);
}

std::string probability_text(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4f", value);
  return text;
}

}  // namespace zoo::app
