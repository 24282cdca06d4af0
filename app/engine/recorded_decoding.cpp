#include "app/engine/recorded_decoding.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>

namespace zoo::app {
namespace recorded_detail {

constexpr int64_t kRoom = 64, kSource = 32;  // lengths are rounded up to multiples of these; kernels like multiples of 8, too

int64_t rounded_up(int64_t value, int64_t to) { return (value + to - 1) / to * to; }

int64_t rows_of(const Decoding& state) { return state.origin.size(0); }

int64_t source_length(const Decoding& state) {
  const at::Tensor& keys = state.layers.front().source_key;
  return keys.defined() ? rounded_up(keys.size(2), kSource) : 0;
}

std::string layout_of(const Decoding& state) {
  const at::Tensor& source = state.layers.front().source_key;
  std::string key;
  for (const int64_t one : {rows_of(state), state.capacity, source.defined() ? source.size(0) : 0, source_length(state), int64_t{state.straight},
                            int64_t{state.token_mask.defined()}, int64_t{state.bias.defined()}})
    key += std::to_string(one) + ' ';
  return key;
}

// Zeros, for what is hidden is multiplied by nothing but must be numbers.
at::Tensor resized(const at::Tensor& like, int64_t dim, int64_t size) {
  auto shape = like.sizes().vec();
  shape[static_cast<size_t>(dim)] = size;
  return at::zeros(shape, like.options());
}

Decoding fixed_like(const Decoding& state) {
  Decoding fixed;
  fixed.capacity = state.capacity;
  fixed.straight = state.straight;
  for (const auto& layer : state.layers) {
    Decoding::Layer own{resized(layer.key, 0, rows_of(state)), resized(layer.value, 0, rows_of(state)), {}, {}};
    if (layer.source_key.defined()) {
      own.source_key = resized(layer.source_key, 2, source_length(state));
      own.source_value = resized(layer.source_value, 2, source_length(state));
    }
    fixed.layers.push_back(own);
  }
  const at::Tensor& source = fixed.layers.front().source_key;
  if (source.defined()) fixed.source_mask = at::zeros({source.size(0), 1, 1, source.size(2)}, source.options());  // added to the scores
  if (state.token_mask.defined()) fixed.token_mask = at::ones_like(state.token_mask);
  if (state.bias.defined()) fixed.bias = at::zeros_like(state.bias);
  fixed.origin = at::zeros_like(state.origin);
  fixed.position = at::full({1}, -1, state.origin.options());
  return fixed;
}

void copy_source(const Decoding& from, Decoding& to) {
  const int64_t length = from.layers.front().source_key.size(2);
  for (size_t i = 0; i < to.layers.size(); ++i) {
    to.layers[i].source_key.narrow(2, 0, length).copy_(from.layers[i].source_key);
    to.layers[i].source_value.narrow(2, 0, length).copy_(from.layers[i].source_value);
  }
  to.source_mask.fill_(-INFINITY);
  const at::Tensor own = to.source_mask.narrow(3, 0, length).fill_(0);
  if (from.source_mask.defined()) own.masked_fill_(from.source_mask.logical_not(), -INFINITY);
}

}  // namespace recorded_detail

FixedSteps::FixedSteps(IncrementalDecoder& network, const Decoding& state, bool record) : network_(network), state_(recorded_detail::fixed_like(state)) {
  tokens_ = at::zeros({recorded_detail::rows_of(state), 1}, state.origin.options());
  if (!record) return;
  graph_ = std::make_unique<CudaGraph>();
  graph_->record(tokens_.device(), [this] { logits_ = network_.decode(tokens_, state_).to(at::kFloat); });
}

void FixedSteps::load(const Decoding& state) {
  const int64_t rows = tokens_.size(0);
  for (size_t i = 0; i < state_.layers.size(); ++i) {
    state_.layers[i].key.narrow(2, 0, state.length).copy_(state.layers[i].key.narrow(0, 0, rows).narrow(2, 0, state.length));
    state_.layers[i].value.narrow(2, 0, state.length).copy_(state.layers[i].value.narrow(0, 0, rows).narrow(2, 0, state.length));
  }
  if (state_.source_mask.defined()) recorded_detail::copy_source(state, state_);
  if (state_.token_mask.defined()) state_.token_mask.copy_(state.token_mask);
  if (state_.bias.defined()) state_.bias.copy_(state.bias);
  state_.origin.copy_(state.origin);
  state_.position.fill_(state.length - 1);
  state_.length = state.length;
}

at::Tensor FixedSteps::step(const at::Tensor& tokens) {
  tokens_.copy_(tokens.unsqueeze(1), /*non_blocking=*/true);
  if (!graph_) return network_.decode(tokens_, state_).to(at::kFloat);
  TORCH_CHECK_VALUE(state_.length < state_.capacity, "decoding: ", state_.length + 1, " tokens, but start() made room for ", state_.capacity);
  ++state_.length;  // the device counts by itself
  graph_->replay();
  return logits_;
}

RecordedDecoding::RecordedDecoding(Model& model) : network_(dynamic_cast<IncrementalDecoder*>(&model)) {
  const auto parameters = model.parameters();
  const bool on_gpu = !parameters.empty() && parameters.front().is_cuda();
  if (!CudaGraph::built_in() || !on_gpu || (network_ && !network_->takes_fixed_states())) network_ = nullptr;
}

int64_t RecordedDecoding::room(int64_t capacity) const {
  return network_ ? recorded_detail::rounded_up(capacity, recorded_detail::kRoom) : capacity;
}

// Autocast keeps casts of the weights that a recording would outlive.
bool RecordedDecoding::possible(const at::Tensor& keys) const {
  return network_ && keys.is_cuda() && !at::autocast::is_autocast_enabled(at::kCUDA);
}

FixedSteps* RecordedDecoding::go_on(const Decoding& state) {
  if (state.layers.empty() || !possible(state.layers.front().key)) return nullptr;
  const std::string layout = recorded_detail::layout_of(state);
  auto found = std::find_if(recordings_.begin(), recordings_.end(), [&](const auto& one) { return one.first == layout; });
  try {
    if (found == recordings_.end()) {
      recordings_.emplace_front(std::piecewise_construct, std::forward_as_tuple(layout), std::forward_as_tuple(*network_, state, /*record=*/true));
      if (recordings_.size() > kMost) recordings_.pop_back();
    } else {
      recordings_.splice(recordings_.begin(), recordings_, found);
    }
  } catch (const c10::Error& error) {
    network_ = nullptr;
    const std::string text = error.what_without_backtrace();
    spdlog::info("this network's steps are not recorded as a CUDA graph: {}", text.substr(0, text.find('\n')));
    return nullptr;
  }
  recordings_.front().second.load(state);
  return &recordings_.front().second;
}

}  // namespace zoo::app
