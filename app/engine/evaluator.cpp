#include "app/engine/evaluator.h"

#include <algorithm>
#include <chrono>
#include <numeric>

#include "app/cli.h"
#include "app/engine/sharing.h"
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

// CBOR keeps what JSON's text does not: figures that are not finite.
Json share_figures(const Ranks& ranks, const Json& figures) {
  if (ranks.size() == 1) return figures;
  std::string bytes;
  if (ranks.first()) Json::to_cbor(figures, bytes);
  return Json::from_cbor(ranks.broadcast(bytes));
}

// Rank 0 writes for all.
void add_written(const Task& task, Bundle& bundle, const Dataset& dataset, std::span<const int64_t> order, Evaluation& result) {
  WrittenTexts written = task.write_texts(bundle, dataset, order);
  result.metrics.update(written.figures);
  if (!written.details.is_null()) result.details["texts"] = std::move(written.details);
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
  const Ranks alone;
  const Ranks& ranks = options.ranks ? *options.ranks : alone;
  const int64_t batches = (total + size - 1) / size, rounds = (batches + ranks.size() - 1) / ranks.size();
  const auto number_of = [&](int64_t round) { return round * ranks.size() + ranks.rank(); };
  data::Loader loader(number_of(rounds - 1) < batches ? rounds : rounds - 1,
                      [&](int64_t round) { return dataset.get(indices(number_of(round)), /*training=*/false, 0); }, options.workers);
  const auto metrics = task.metrics(bundle, dataset);
  std::optional<Progress> progress;
  if (!options.title.empty()) progress.emplace(options.title, total, "examples");
  MetricsGatherer gatherer(ranks, *metrics);
  for (int64_t round = 0; round < rounds; ++round) {
    const auto batch = loader.next();
    const Tensors moved = batch ? to_device(*batch, bundle.device) : Tensors();
    gatherer.add(batch ? task.forward(*bundle.model, moved) : Tensors(), moved, batch ? indices(number_of(round)) : std::span<const int64_t>());
    if (progress) progress->add(std::min(size * ranks.size(), total - round * size * ranks.size()));
  }
  Evaluation result{Json(), Json(), total, 0};
  if (ranks.first()) {
    result.metrics = metrics->result();
    result.details = metrics->details();
    evaluator_detail::add_written(task, bundle, dataset, order, result);
  }
  result.metrics = evaluator_detail::share_figures(ranks, result.metrics);
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace zoo::app
