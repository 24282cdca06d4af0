// Embedding: sentences to vectors, as text, JSON, CSV or NumPy.
#include <spdlog/spdlog.h>

#include <charconv>
#include <chrono>
#include <iostream>

#include "app/cli.h"
#include "app/tasks/sentence_encoder.h"
#include "app/tasks/sentence_task.h"
#include "data/csv.h"
#include "models/names.h"
#include "weights/npy.h"

namespace zoo::app {
namespace embedding_detail {

constexpr size_t kProgressFrom = 64;  // texts
constexpr int64_t kShownRows = 20, kShownValues = 6;

std::string format_of(const RunOptions& options) {
  static const std::vector<std::string> known = {"text", "json", "csv", "npy"};
  std::string format = options.format;
  const std::string extension = options.out.extension().string();
  if (format.empty() && !options.out.empty()) format = extension.empty() ? "" : extension.substr(1);
  if (format.empty() && options.out.empty()) format = options.json ? "json" : "text";
  if (format == "txt") format = "text";
  if (std::find(known.begin(), known.end(), format) == known.end())
    throw UsageError("embedding: format '" + format + "' is unknown; expected one of " + join(known) + " (--format, or the ending of --out)");
  if (format == "npy" && options.out.empty()) throw UsageError("embedding: .npy is binary and needs --out FILE.npy");
  return format;
}

// The shortest digits that read back as the same float32.
std::string float_text(float value) {
  char text[32];
  return std::string(text, std::to_chars(text, text + sizeof text, value).ptr);
}

Json json_document(const std::vector<TextInput>& texts, const at::Tensor& vectors) {
  Json rows = Json::array(), inputs = Json::array();
  for (size_t i = 0; i < texts.size(); ++i) {
    const float* row = vectors.const_data_ptr<float>() + int64_t(i) * vectors.size(1);
    Json values = Json::array();
    for (int64_t k = 0; k < vectors.size(1); ++k) values.push_back(std::stod(float_text(row[k])));
    rows.push_back(std::move(values));
    inputs.push_back({{"text", texts[i].text}, {"source", texts[i].source}});
  }
  return {{"embeddings", rows}, {"dimension", vectors.size(1)}, {"inputs", inputs}};
}

std::string csv_document(const std::vector<TextInput>& texts, const at::Tensor& vectors) {
  std::vector<std::string> record = {"text"};
  for (int64_t k = 0; k < vectors.size(1); ++k) record.push_back("d" + std::to_string(k));
  std::string csv = data::csv_record(record);
  for (size_t i = 0; i < texts.size(); ++i) {
    const float* row = vectors.const_data_ptr<float>() + int64_t(i) * vectors.size(1);
    record = {texts[i].text};
    for (int64_t k = 0; k < vectors.size(1); ++k) record.push_back(float_text(row[k]));
    csv += data::csv_record(record);
  }
  return csv;
}

std::string text_document(const std::vector<TextInput>& texts, const at::Tensor& vectors) {
  std::string text;
  for (int64_t i = 0; i < std::min(kShownRows, vectors.size(0)); ++i) {
    text += "[";
    for (int64_t k = 0; k < std::min(kShownValues, vectors.size(1)); ++k) {
      char value[32];
      std::snprintf(value, sizeof value, "%s%9.6f", k ? ", " : "", vectors.const_data_ptr<float>()[i * vectors.size(1) + k]);
      text += value;
    }
    text += ", ...]  " + texts[i].text.substr(0, 100) + "\n";
  }
  if (vectors.size(0) > kShownRows) text += "... (all of them: --out FILE.npy, .json or .csv)\n";
  return text + std::to_string(vectors.size(0)) + " vectors of " + std::to_string(vectors.size(1)) + " numbers\n";
}

class Embedding : public SentenceTask {
 public:
  std::string name() const override { return "embedding"; }

  Json run(Bundle& bundle, const RunOptions& options) const override {
    const std::string format = format_of(options);
    if (!options.out.empty()) refuse_existing(options.out, options.overwrite);
    const auto inputs = read_text_inputs(options);
    const auto settings = sentence_settings(bundle, options.options);
    spdlog::info("sentence vectors: {}", settings.describe());
    std::vector<std::string> texts;
    for (const auto& input : inputs) texts.push_back(input.text);
    const auto start = std::chrono::steady_clock::now();
    const auto vectors = encode_sentences(bundle, settings, texts, texts.size() >= kProgressFrom ? "embed" : "", options.batch_size);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

    Json document = {{"task", "embedding"}, {"count", texts.size()}, {"dimension", vectors.size(1)}};
    if (format == "json" || (options.json && options.out.empty())) document = json_document(inputs, vectors);
    document["pooling"] = settings.describe();
    document["seconds"] = seconds;
    std::string content;
    if (format == "text") content = text_document(inputs, vectors);
    if (format == "csv") content = csv_document(inputs, vectors);
    if (format == "json") content = document.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
    if (!options.out.empty()) {
      if (format == "npy") weights::save_npy(options.out, vectors);
      else write_output(options.out, content, options.overwrite);
      document["out"] = options.out.string();
      if (!options.json) std::cout << texts.size() << " vectors of " << vectors.size(1) << " numbers in " << options.out.string() << "\n";
    } else if (!options.json) {
      std::cout << content;
    }
    return document;
  }
};

}  // namespace embedding_detail

const Task& embedding_task() {
  static const embedding_detail::Embedding task;
  return task;
}

}  // namespace zoo::app
