// What tasks on sentence vectors share: the vectors are trained and judged by what they are for, pairs with a score.
#pragma once
#include <memory>
#include <string>

#include "app/tasks/task.h"

namespace zoo::app {

// A task whose training and metrics are those of similarity; only `run` is its own.
class SentenceTask : public Task {
 public:
  std::string primary_metric() const override { return similarity_task().primary_metric(); }
  std::unique_ptr<Dataset> open(const std::filesystem::path& data, const Bundle& bundle, const DataOptions& options) const override {
    return similarity_task().open(data, bundle, options);
  }
  std::unique_ptr<Metrics> metrics(const Bundle& bundle) const override { return similarity_task().metrics(bundle); }
  Tensors forward(Model& model, const Tensors& batch) const override { return similarity_task().forward(model, batch); }
  at::Tensor loss(const Tensors& outputs, const Tensors& batch, const Json& options) const override {
    return similarity_task().loss(outputs, batch, options);
  }
};

}  // namespace zoo::app
