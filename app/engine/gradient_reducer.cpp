#include "app/engine/gradient_reducer.h"

#include <torch/csrc/distributed/c10d/reducer.hpp>

#include <algorithm>
#include <type_traits>

#include "app/engine/ranks_group.h"

namespace zoo::app {
namespace gradient_reducer_detail {

using Process = c10::intrusive_ptr<c10d::ProcessGroup>;

// The constructor's last arguments differ between LibTorch 2.11 and 2.13.
template <class Reducer>
std::unique_ptr<Reducer> make(std::vector<at::Tensor> parameters, std::vector<std::vector<size_t>> buckets, const Process& group) {
  const size_t count = parameters.size();
  using Names = std::unordered_map<size_t, std::string>;
  constexpr int64_t kFirst = c10d::kDefaultFirstBucketBytes, kCap = c10d::kDefaultBucketBytesCap;
  if constexpr (std::is_constructible_v<Reducer, std::vector<at::Tensor>, std::vector<std::vector<size_t>>, Process, std::vector<bool>, int64_t, bool,
                                        bool, Names, int64_t, bool, bool, std::vector<int64_t>>) {
    return std::make_unique<Reducer>(std::move(parameters), std::move(buckets), group, std::vector<bool>(count, false), kCap, true, false, Names(),
                                     kFirst, false, false, std::vector<int64_t>());
  } else {
    return std::make_unique<Reducer>(std::move(parameters), std::move(buckets), group, std::vector<bool>(count, false), kCap, true, false, Names(),
                                     kFirst, false, false);
  }
}

// The sum, not the mean that is the Reducer's own choice: ranks have different numbers of terms. (LibTorch's hook for it is
// not exported.)
class SumHook : public c10d::CommHookInterface {
 public:
  explicit SumHook(Process group) : group_(std::move(group)) {}
  c10::intrusive_ptr<c10::ivalue::Future> runHook(c10d::GradBucket& bucket) override {
    std::vector<at::Tensor> buffer = {bucket.getBufferRef()};
    return group_->allreduce(buffer)->getFuture();
  }
  at::Tensor parseHookResult(const c10::IValue& result) override { return result.toTensorVector().front(); }

 private:
  Process group_;
};

}  // namespace gradient_reducer_detail

// The Reducer sums when the backward pass of a rank reaches its parameters. The anchor is a parameter of no network: a pass
// to it alone lets a rank take part that has nothing to add.
struct GradientReducer::Engine {
  at::Tensor anchor;
  std::unique_ptr<c10d::Reducer> reducer;
  bool overlap;
};

GradientReducer::GradientReducer(const Ranks& ranks, std::vector<at::Tensor> parameters, bool overlap) : ranks_(ranks) {
  if (!ranks.group() || parameters.empty()) return;
  engine_ = std::make_unique<Engine>();
  engine_->overlap = overlap;
  engine_->anchor = at::zeros({1}, parameters.front().options().requires_grad(false)).set_requires_grad(true);
  parameters.push_back(engine_->anchor);
  // Gradients appear from the last layer to the first: so do the buckets, the first of them small, to begin early.
  std::reverse(parameters.begin(), parameters.end());
  const std::vector<size_t> limits = {static_cast<size_t>(c10d::kDefaultFirstBucketBytes), static_cast<size_t>(c10d::kDefaultBucketBytesCap)};
  auto buckets = std::get<0>(c10d::compute_bucket_assignment_by_size(parameters, limits));
  try {
    engine_->reducer = gradient_reducer_detail::make<c10d::Reducer>(std::move(parameters), std::move(buckets), ranks.group()->process_group);
    engine_->reducer->register_comm_hook(std::make_unique<gradient_reducer_detail::SumHook>(ranks.group()->process_group));
  } catch (const std::exception&) {
    ranks.blame("preparing the gradients' sum");
  }
}

GradientReducer::~GradientReducer() = default;

void GradientReducer::backward(const at::Tensor& loss, bool last) {
  if (!engine_) {
    if (loss.defined()) loss.backward();
    return;
  }
  const bool together = last && engine_->overlap && loss.defined();
  if (loss.defined() && !together) loss.backward();
  if (!last) return;
  try {
    const at::Tensor final = together ? loss : engine_->anchor.sum() * 0;
    engine_->reducer->prepare_for_backward({final});
    final.backward();
  } catch (const std::exception&) {
    ranks_.blame("summing gradients");
  }
  engine_->anchor.mutable_grad().reset();
}

}  // namespace zoo::app
