// `zoo run` on texts: batches in, rows of output out, and how predictions leave the program.
#pragma once
#include <functional>
#include <string>
#include <vector>

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

// The same of texts whose pairs the network reads apart.
EncodedTexts encode_for(const Bundle& bundle, const std::vector<TextInput>& inputs, const std::vector<std::string>& pairs, const Json& options);
void predict_rows(Bundle& bundle, const EncodedTexts& encoded, const std::string& name, int64_t batch_size,
                  const std::function<void(size_t, const at::Tensor&)>& visit);

// One document in three forms.
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

// A whole number of at least 1 from the options, which may hold a number or its text.
int64_t count_option(const Json& options, const char* key, int64_t fallback);

// "0.1234"
std::string probability_text(double value);

}  // namespace zoo::app
