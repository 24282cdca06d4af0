// `zoo run` on texts: batches in, rows of output out, and how predictions leave the program.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "app/tasks/row_output.h"
#include "app/tasks/text_batches.h"

namespace zoo::app {

// The texts encoded, each with its second text when `pairs` is not empty, cut to the bundle's limit or option
// max_length with a note on the log.
std::vector<tokenizers::Encoding> encode_inputs(const Bundle& bundle, const std::vector<TextInput>& inputs,
                                                const std::vector<std::string>& pairs, const Json& options);

// Runs the network over all encodings, in batches sorted by length, and hands each example its row of output
// `name` on the CPU in float32: [C], or [T, C] cut to the example's own tokens. The order of the calls is not
// that of the examples.
void predict_rows(Bundle& bundle, const std::vector<tokenizers::Encoding>& encodings, const std::string& name,
                  int64_t batch_size, const std::function<void(size_t, const at::Tensor&)>& visit);

// The same of texts whose pairs the network may read apart. `done`: told how many were predicted; else there is a progress bar.
void predict_rows(Bundle& bundle, const EncodedTexts& encoded, const std::string& name, int64_t batch_size,
                  const std::function<void(size_t, const at::Tensor&)>& visit, const std::function<void(int64_t)>& done = {});

// ---- runs of any length ----

// What a run predicts on, one after the other.
struct RunInputs {
  std::function<bool(TextInput&)> next;
  int64_t total = 0;  // 0: not known
};
// The texts of --input and the inputs as TextStream reads them, blank lines left out. `columns`: two names: pairs of texts,
// from tables. Lines that cannot be read are told on the log and left out.
RunInputs text_run_inputs(const RunOptions& options, const std::vector<std::string>& columns = {});
RunInputs held_run_inputs(std::vector<TextInput> inputs);

// Through the inputs window by window (run_rows). `predict` gives a window's rows in its order and tells `done` how many inputs it is through.
using PredictWindow = std::function<std::vector<OutputRow>(const std::vector<TextInput>& window, const std::function<void(int64_t)>& done)>;
Json run_predictions(const Bundle& bundle, const RunOptions& options, OutputForms forms, RunInputs inputs, const std::string& nothing,
                     const PredictWindow& predict);

// For tasks of short runs: one document in three forms.
struct PredictionForms {
  Json document;
  std::string text;                             // for people
  std::vector<std::vector<std::string>> table;  // the header first
};
// Writes to options.out, in options.format (text, json, csv; empty: by the file's extension), or prints;
// prints nothing with options.json, because the caller prints the returned document. Throws UsageError for
// another format.
Json deliver_predictions(PredictionForms forms, const RunOptions& options);
// The mistakes in `options` that deliver_predictions would find, found before the work starts.
void check_prediction_options(const RunOptions& options);

// "0.1234"
std::string probability_text(double value);

}  // namespace zoo::app
