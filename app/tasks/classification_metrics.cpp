#include "app/tasks/classification_metrics.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace zoo::app {
namespace classification_detail {

double ratio(int64_t part, int64_t whole) {
  return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
}

std::string label_of(const std::vector<std::string>& labels, int64_t id) {
  return id < static_cast<int64_t>(labels.size()) ? labels[id] : "LABEL_" + std::to_string(id);
}

at::Tensor to_host_ids(const at::Tensor& ids) { return ids.to(at::kCPU, at::kLong).contiguous().flatten(); }

}  // namespace classification_detail

ConfusionMatrix::ConfusionMatrix(int64_t classes) : classes_(classes) {
  if (classes < 1)
    throw std::invalid_argument("confusion matrix: " + std::to_string(classes) + " classes; at least 1");
  counts_.assign(classes * classes, 0);
}

void ConfusionMatrix::add(int64_t truth, int64_t prediction) {
  if (truth < 0) return;
  if (truth >= classes_ || prediction < 0 || prediction >= classes_)
    throw std::invalid_argument("confusion matrix: truth " + std::to_string(truth) + ", prediction " +
                                std::to_string(prediction) + "; classes are 0 to " +
                                std::to_string(classes_ - 1));
  ++counts_[truth * classes_ + prediction];
  ++total_;
}

void ConfusionMatrix::add(const at::Tensor& truths, const at::Tensor& predictions) {
  const at::Tensor t = classification_detail::to_host_ids(truths),
                   p = classification_detail::to_host_ids(predictions);
  if (t.numel() != p.numel())
    throw std::invalid_argument("confusion matrix: " + std::to_string(t.numel()) + " truths but " +
                                std::to_string(p.numel()) + " predictions");
  for (int64_t i = 0; i < t.numel(); ++i) add(t.const_data_ptr<int64_t>()[i], p.const_data_ptr<int64_t>()[i]);
}

int64_t ConfusionMatrix::truths(int64_t c) const {
  int64_t sum = 0;
  for (int64_t p = 0; p < classes_; ++p) sum += count(c, p);
  return sum;
}

int64_t ConfusionMatrix::predictions(int64_t c) const {
  int64_t sum = 0;
  for (int64_t t = 0; t < classes_; ++t) sum += count(t, c);
  return sum;
}

double ConfusionMatrix::accuracy() const {
  int64_t right = 0;
  for (int64_t c = 0; c < classes_; ++c) right += count(c, c);
  return classification_detail::ratio(right, total_);
}

double ConfusionMatrix::precision(int64_t c) const {
  return classification_detail::ratio(count(c, c), predictions(c));
}
double ConfusionMatrix::recall(int64_t c) const {
  return classification_detail::ratio(count(c, c), truths(c));
}
double ConfusionMatrix::f1(int64_t c) const {
  return classification_detail::ratio(2 * count(c, c), truths(c) + predictions(c));
}

double ConfusionMatrix::macro(double (ConfusionMatrix::*figure)(int64_t) const) const {
  double sum = 0;
  int64_t present = 0;
  for (int64_t c = 0; c < classes_; ++c) {
    if (truths(c) + predictions(c) == 0) continue;
    sum += (this->*figure)(c);
    ++present;
  }
  return present == 0 ? 0.0 : sum / static_cast<double>(present);
}

double ConfusionMatrix::macro_precision() const { return macro(&ConfusionMatrix::precision); }
double ConfusionMatrix::macro_recall() const { return macro(&ConfusionMatrix::recall); }
double ConfusionMatrix::macro_f1() const { return macro(&ConfusionMatrix::f1); }
double ConfusionMatrix::micro_f1() const { return accuracy(); }

Json ConfusionMatrix::details(const std::vector<std::string>& labels) const {
  Json names = Json::array(), rows = Json::array(), per_class = Json::array();
  for (int64_t c = 0; c < classes_; ++c) {
    const std::string label = classification_detail::label_of(labels, c);
    names.push_back(label);
    rows.push_back(
        std::vector<int64_t>(counts_.begin() + c * classes_, counts_.begin() + (c + 1) * classes_));
    per_class.push_back({{"label", label},
                         {"precision", precision(c)},
                         {"recall", recall(c)},
                         {"f1", f1(c)},
                         {"support", truths(c)}});
  }
  return {{"labels", names}, {"confusion", rows}, {"per_class", per_class}};
}

ClassificationMetrics::ClassificationMetrics(std::vector<std::string> labels, int64_t top, size_t mistakes)
    : labels_(std::move(labels)), matrix_(static_cast<int64_t>(labels_.size())), top_(top), kept_(mistakes) {}

void ClassificationMetrics::add(const Tensors& outputs, const Tensors& batch,
                                std::span<const int64_t> indices) {
  at::NoGradGuard no_grad;
  const at::Tensor logits = outputs.at("logits").detach().to(at::kCPU, at::kFloat);
  const at::Tensor truths = batch.at("labels").to(at::kCPU, at::kLong);
  const at::Tensor known = truths.ge(0);
  const at::Tensor log_p = at::log_softmax(logits, -1, at::kDouble);
  matrix_.add(truths, logits.argmax(-1));  // before the gather: it checks the range of the labels
  const at::Tensor picked = log_p.gather(-1, truths.clamp_min(0).unsqueeze(-1)).squeeze(-1);
  loss_sum_ -= at::where(known, picked, at::zeros_like(picked)).sum().item<double>();
  if (top_ > 1 && matrix_.classes() > top_) {
    const at::Tensor hits = std::get<1>(logits.topk(top_, -1)).eq(truths.unsqueeze(-1)).any(-1);
    top_hits_ += hits.logical_and(known).sum().item<int64_t>();
  }
  remember_mistakes(log_p.exp(), truths, indices);
}

void ClassificationMetrics::remember_mistakes(const at::Tensor& probabilities, const at::Tensor& truths,
                                              std::span<const int64_t> indices) {
  const auto [best, guesses] = probabilities.max(-1);
  const at::Tensor ids = classification_detail::to_host_ids(truths),
                   predicted = classification_detail::to_host_ids(guesses);
  const double* sure = best.const_data_ptr<double>();
  for (int64_t i = 0; i < ids.numel(); ++i) {
    const int64_t truth = ids.const_data_ptr<int64_t>()[i], guess = predicted.const_data_ptr<int64_t>()[i];
    if (truth < 0 || truth == guess) continue;
    const int64_t index = i < static_cast<int64_t>(indices.size()) ? indices[i] : i;
    mistakes_.push_back({index, truth, guess, sure[i]});
  }
  // Ties by index, so that the list does not depend on the order of the batches.
  std::sort(mistakes_.begin(), mistakes_.end(), [](const Mistake& a, const Mistake& b) {
    return a.probability != b.probability ? a.probability > b.probability : a.index < b.index;
  });
  if (mistakes_.size() > kept_) mistakes_.resize(kept_);
}

Json ClassificationMetrics::result() const {
  Json result{
      {"accuracy", matrix_.accuracy()}, {"macro_f1", matrix_.macro_f1()}, {"micro_f1", matrix_.micro_f1()}};
  if (top_ > 1 && matrix_.classes() > top_)
    result["top" + std::to_string(top_) + "_accuracy"] =
        classification_detail::ratio(top_hits_, matrix_.total());
  result["loss"] = matrix_.total() == 0 ? 0.0 : loss_sum_ / static_cast<double>(matrix_.total());
  result["samples"] = matrix_.total();
  return result;
}

Json ClassificationMetrics::details() const {
  Json details = matrix_.details(labels_);
  Json& mistakes = details["mistakes"] = Json::array();
  for (const Mistake& m : mistakes_)
    mistakes.push_back({{"index", m.index},
                        {"truth", classification_detail::label_of(labels_, m.truth)},
                        {"prediction", classification_detail::label_of(labels_, m.prediction)},
                        {"probability", m.probability}});
  return details;
}

at::Tensor classification_loss(const at::Tensor& logits, const at::Tensor& labels, const Json& options) {
  const double smoothing = options.is_object() ? options.value("label_smoothing", 0.0) : 0.0;
  if (!(smoothing >= 0 && smoothing < 1))
    throw std::invalid_argument("label_smoothing " + std::to_string(smoothing) +
                                "; expected 0 <= label_smoothing < 1");
  const at::Tensor rows = logits.reshape({-1, logits.size(-1)}).to(at::kFloat);
  return at::cross_entropy_loss(rows, labels.reshape({-1}).to(rows.device()), {}, at::Reduction::Mean, -100,
                                smoothing);
}

}  // namespace zoo::app
