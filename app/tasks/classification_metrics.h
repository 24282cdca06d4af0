// Figures of single-label classification over a whole set, from counts alone: exact whatever the batches
// were.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "app/tasks/task.h"

namespace zoo::app {

// How often true class t was predicted as class p. Definitions as in scikit-learn; 0 where a denominator is 0
// (zero_division=0). Macro means run over the classes that occur, as a truth or as a prediction.
class ConfusionMatrix {
 public:
  explicit ConfusionMatrix(int64_t classes);
  // Both [N] int64 on any device; truths below 0 (-100) are skipped. Throws std::invalid_argument outside [0,
  // classes).
  void add(const at::Tensor& truths, const at::Tensor& predictions);
  void add(int64_t truth, int64_t prediction);

  int64_t classes() const { return classes_; }
  int64_t total() const { return total_; }
  int64_t count(int64_t truth, int64_t prediction) const { return counts_[truth * classes_ + prediction]; }
  int64_t truths(int64_t c) const;       // row sum
  int64_t predictions(int64_t c) const;  // column sum

  double accuracy() const;
  double precision(int64_t c) const;
  double recall(int64_t c) const;
  double f1(int64_t c) const;
  double macro_precision() const;
  double macro_recall() const;
  double macro_f1() const;
  double micro_f1() const;  // = accuracy when every example has one label

  // {"labels": [...], "confusion": [[...]], "per_class": [{"label", "precision", "recall", "f1", "support"}]}
  Json details(const std::vector<std::string>& labels) const;

 private:
  double macro(double (ConfusionMatrix::*figure)(int64_t) const) const;
  int64_t classes_, total_ = 0;
  std::vector<int64_t> counts_;
};

// Metrics of a task whose outputs hold "logits" [B, C] and whose batches hold "labels" [B] int64 (negative:
// unknown, skipped): accuracy, macro_f1, micro_f1, loss (mean cross entropy without smoothing), samples; with
// `top` > 1 and more than `top` classes also "top<k>_accuracy". details() adds the most confident mistakes:
// [{"index", "truth", "prediction", "probability"}] beside the confusion matrix.
class ClassificationMetrics : public Metrics {
 public:
  explicit ClassificationMetrics(std::vector<std::string> labels, int64_t top = 1, size_t mistakes = 32);
  void add(const Tensors& outputs, const Tensors& batch, std::span<const int64_t> indices) override;
  Json result() const override;
  Json details() const override;
  const ConfusionMatrix& matrix() const { return matrix_; }

 private:
  struct Mistake {
    int64_t index, truth, prediction;
    double probability;
  };
  void remember_mistakes(const at::Tensor& probabilities, const at::Tensor& truths,
                         std::span<const int64_t> indices);

  std::vector<std::string> labels_;
  ConfusionMatrix matrix_;
  int64_t top_, top_hits_ = 0;
  size_t kept_;
  double loss_sum_ = 0;
  std::vector<Mistake> mistakes_;  // most confident first, at most kept_
};

// Cross entropy over labels >= 0, in float32; options["label_smoothing"] in [0, 1) (default 0). logits [...,
// C], labels [...].
at::Tensor classification_loss(const at::Tensor& logits, const at::Tensor& labels, const Json& options);

}  // namespace zoo::app
