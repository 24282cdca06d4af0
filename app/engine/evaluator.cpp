#include "app/engine/evaluator.h"

#include <algorithm>
#include <chrono>
#include <numeric>

#include "app/cli.h"
#include "app/report/progress.h"
#include "app/tasks/text_batches.h"
#include "data/loader.h"

namespace zoo::app {
namespace evaluator_detail {

std::vector<int64_t> by_length(const Dataset& dataset, std::span<const int64_t> subset) {
  std::vector<int64_t> order(subset.begin(), subset.end());
  if (subset.empty()) {
    order.resize(dataset.size());
    std::iota(order.begin(), order.end(), int64_t{0});
  }
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return dataset.length(a) > dataset.length(b); });
  return order;
}

}  // namespace evaluator_detail

Evaluation evaluate(const Task& task, Bundle& bundle, const Dataset& dataset, const EvaluationOptions& options) {
  if (dataset.size() == 0) throw UsageError("the data holds no examples to evaluate on");
  const at::NoGradGuard no_grad;
  bundle.model->eval();
  const auto start = std::chrono::steady_clock::now();
  const auto order = evaluator_detail::by_length(dataset, options.subset);
  const auto total = static_cast<int64_t>(order.size()), size = std::max<int64_t>(options.batch_size, 1);
  const auto indices = [&](int64_t number) { return std::span(order).subspan(number * size, std::min(size, total - number * size)); };
  data::Loader loader((total + size - 1) / size, [&](int64_t number) { return dataset.get(indices(number), /*training=*/false, 0); },
                      options.workers);
  const auto metrics = task.metrics(bundle);
  std::optional<Progress> progress;
  if (!options.title.empty()) progress.emplace(options.title, total, "examples");
  for (int64_t number = 0; auto batch = loader.next(); ++number) {
    const Tensors moved = to_device(*batch, bundle.device);
    metrics->add(task.forward(*bundle.model, moved), moved, indices(number));
    if (progress) progress->add(static_cast<int64_t>(indices(number).size()));
  }
  Evaluation result{metrics->result(), metrics->details(), total, 0};
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace zoo::app
