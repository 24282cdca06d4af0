// Image classification: one class per picture. Networks give "logits" [B, classes].
#include "app/tasks/classification_metrics.h"
#include "app/tasks/image_data.h"
#include "app/tasks/option_values.h"
#include "app/tasks/text_predictions.h"

namespace zoo::app {
namespace image_classification_detail {

std::vector<Json> top_classes(const at::Tensor& probabilities, int64_t top_k, const std::vector<std::string>& labels) {
  const auto [values, classes] = probabilities.topk(std::min<int64_t>(top_k, probabilities.size(0)));
  std::vector<Json> ranked;
  for (int64_t i = 0; i < values.size(0); ++i) {
    const auto id = classes[i].item<int64_t>();
    const auto name = id < static_cast<int64_t>(labels.size()) ? labels[id] : "LABEL_" + std::to_string(id);
    ranked.push_back({{"label", name}, {"id", id}, {"probability", values[i].item<double>()}});
  }
  return ranked;
}

PredictionForms forms_of(const std::string& model, std::vector<Json> predictions) {
  PredictionForms forms;
  forms.table.push_back({"file", "rank", "label", "probability"});
  for (const auto& prediction : predictions) {
    const auto file = prediction["file"].get<std::string>();
    forms.text += file + "\n";
    for (size_t rank = 0; rank < prediction["top"].size(); ++rank) {
      const auto& entry = prediction["top"][rank];
      const auto label = entry["label"].get<std::string>();
      const auto probability = entry["probability"].get<double>();
      forms.text += "  " + probability_text(probability) + "  " + label + "\n";
      forms.table.push_back({file, std::to_string(rank + 1), label, probability_text(probability)});
    }
  }
  forms.document = {{"task", "image_classification"}, {"model", model}, {"predictions", std::move(predictions)}};
  return forms;
}

class ImageClassification : public Task {
 public:
  std::string name() const override { return "image_classification"; }
  std::vector<std::string> option_names() const override { return {"skip_bad", "augment"}; }
  std::string primary_metric() const override { return "accuracy"; }

  std::unique_ptr<Dataset> open(const std::filesystem::path& data, const Bundle& bundle, const DataOptions& options) const override {
    return open_images(data, bundle, options);
  }
  void prepare_training(Bundle& bundle, const Dataset&) const override { bundle.preprocessor = image_transform(bundle).to_json(); }
  at::Tensor loss(const Tensors& outputs, const Tensors& batch, const Json& options) const override {
    return classification_loss(outputs.at("logits"), batch.at("labels"), options);
  }
  std::unique_ptr<Metrics> metrics(const Bundle& bundle) const override {
    return std::make_unique<ClassificationMetrics>(bundle.labels, /*top=*/5);
  }

  Json run(Bundle& bundle, const RunOptions& options) const override {
    check_prediction_options(options);
    const int64_t top_k = count_option(options.options, "top_k", 5);
    const auto files = image_inputs(options);
    std::vector<Json> predictions;
    predict_images(bundle, files, options.batch_size, [&](const Tensors& outputs, size_t begin, size_t end) {
      const at::Tensor probabilities = at::softmax(outputs.at("logits").to(at::kFloat), -1).to(at::kCPU);
      for (size_t i = begin; i < end; ++i) {
        auto top = top_classes(probabilities[static_cast<int64_t>(i - begin)], top_k, bundle.labels);
        predictions.push_back({{"file", files[i].string()}, {"label", top.front()["label"]}, {"probability", top.front()["probability"]}, {"top", top}});
      }
    });
    return deliver_predictions(forms_of(bundle.spec, std::move(predictions)), options);
  }
};

}  // namespace image_classification_detail

const Task& image_classification_task() {
  static const image_classification_detail::ImageClassification task;
  return task;
}

}  // namespace zoo::app
