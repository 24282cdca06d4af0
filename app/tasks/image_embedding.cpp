// Image embedding: pictures to vectors, as text, JSON, CSV or NumPy. Networks give "embedding" [B, D], or "hidden" [B, T, D] with
// the class token first, or "pooled" [B, D].
#include <iostream>

#include "app/cli.h"
#include "app/tasks/image_data.h"
#include "app/tasks/text_batches.h"
#include "data/csv.h"
#include "models/names.h"
#include "weights/npy.h"

namespace zoo::app {
namespace image_embedding_detail {

constexpr int64_t kShownRows = 20, kShownValues = 6;

std::string format_of(const RunOptions& options) {
  static const std::vector<std::string> known = {"text", "json", "csv", "npy"};
  std::string format = options.format;
  const std::string extension = options.out.extension().string();
  if (format.empty() && !extension.empty()) format = extension == ".txt" ? "text" : extension.substr(1);
  if (format.empty()) format = "text";
  if (std::find(known.begin(), known.end(), format) == known.end()) {
    throw UsageError("image_embedding: format '" + format.substr(0, 80) + "' is unknown; expected one of " + join(known) + " (--format, or the ending of --out)");
  }
  if (format == "npy" && options.out.empty()) throw UsageError("image_embedding: .npy is binary and needs --out FILE.npy");
  return format;
}

// One vector per picture from what the network returns: [B, D] float32 on the CPU.
at::Tensor vectors_of(const Tensors& outputs, const std::string& pooling) {
  at::Tensor vectors;
  if (outputs.contains("embedding") && pooling == "class") vectors = outputs.at("embedding");
  else if (pooling == "pooler" && outputs.contains("pooled")) vectors = outputs.at("pooled");
  else if (pooling == "class" && outputs.contains("hidden")) vectors = outputs.at("hidden").select(1, 0);
  else if (pooling == "mean" && outputs.contains("hidden")) vectors = outputs.at("hidden").mean(1);
  else throw UsageError("image_embedding: the network gives no output for pooling '" + pooling.substr(0, 80) + "'; expected class, mean or pooler");
  return vectors.to(at::kCPU, at::kFloat).contiguous();
}

std::string csv_of(const std::vector<std::filesystem::path>& files, const at::Tensor& vectors) {
  std::vector<std::string> record = {"file"};
  for (int64_t k = 0; k < vectors.size(1); ++k) record.push_back("d" + std::to_string(k));
  std::string csv = data::csv_record(record);
  for (size_t i = 0; i < files.size(); ++i) {
    record = {files[i].string()};
    const float* row = vectors.const_data_ptr<float>() + static_cast<int64_t>(i) * vectors.size(1);
    for (int64_t k = 0; k < vectors.size(1); ++k) record.push_back(Json(row[k]).dump());
    csv += data::csv_record(record);
  }
  return csv;
}

std::string text_of(const std::vector<std::filesystem::path>& files, const at::Tensor& vectors) {
  std::string text;
  for (int64_t i = 0; i < std::min(kShownRows, vectors.size(0)); ++i) {
    text += "[";
    for (int64_t k = 0; k < std::min(kShownValues, vectors.size(1)); ++k) {
      char value[32];
      std::snprintf(value, sizeof value, "%s%9.6f", k ? ", " : "", vectors.const_data_ptr<float>()[i * vectors.size(1) + k]);
      text += value;
    }
    text += ", ...]  " + files[i].string() + "\n";
  }
  if (vectors.size(0) > kShownRows) text += "... (all of them: --out FILE.npy, .json or .csv)\n";
  return text + std::to_string(vectors.size(0)) + " vectors of " + std::to_string(vectors.size(1)) + " numbers\n";
}

Json json_of(const std::vector<std::filesystem::path>& files, const at::Tensor& vectors, bool with_values) {
  Json document = {{"task", "image_embedding"}, {"count", vectors.size(0)}, {"dimension", vectors.size(1)}, {"files", Json::array()}};
  for (const auto& file : files) document["files"].push_back(file.string());
  if (!with_values) return document;
  for (int64_t i = 0; i < vectors.size(0); ++i) {
    const float* row = vectors.const_data_ptr<float>() + i * vectors.size(1);
    document["embeddings"].push_back(std::vector<float>(row, row + vectors.size(1)));
  }
  return document;
}

[[noreturn]] void run_only() {
  throw UsageError("image_embedding makes vectors (zoo run); to train or measure a network on pictures use --task image_classification");
}

class ImageEmbedding : public Task {
 public:
  std::string name() const override { return "image_embedding"; }
  std::string primary_metric() const override { return ""; }
  std::unique_ptr<Dataset> open(const std::filesystem::path&, const Bundle&, const DataOptions&) const override { run_only(); }
  at::Tensor loss(const Tensors&, const Tensors&, const Json&) const override { run_only(); }
  std::unique_ptr<Metrics> metrics(const Bundle&) const override { run_only(); }

  Json run(Bundle& bundle, const RunOptions& options) const override {
    const std::string format = format_of(options), pooling = options.options.value("pooling", std::string("class"));
    if (!options.out.empty()) refuse_existing(options.out, options.overwrite);
    const auto files = image_inputs(options);
    std::vector<at::Tensor> parts;
    predict_images(bundle, files, options.batch_size,
                   [&](const Tensors& outputs, size_t, size_t) { parts.push_back(vectors_of(outputs, pooling)); });
    const at::Tensor vectors = at::cat(parts);
    Json document = json_of(files, vectors, format == "json" || (options.json && options.out.empty()));
    document["pooling"] = pooling;
    std::string content;
    if (format == "text") content = text_of(files, vectors);
    if (format == "csv") content = csv_of(files, vectors);
    if (format == "json") content = document.dump(1) + "\n";
    if (!options.out.empty()) {
      if (format == "npy") weights::save_npy(options.out, vectors);
      else write_output(options.out, content, options.overwrite);
      document["out"] = options.out.string();
    } else if (!options.json) {
      std::cout << content;
    }
    return document;
  }
};

}  // namespace image_embedding_detail

const Task& image_embedding_task() {
  static const image_embedding_detail::ImageEmbedding task;
  return task;
}

}  // namespace zoo::app
