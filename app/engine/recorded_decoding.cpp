#include "app/engine/recorded_decoding.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>
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

// The source in a length that recordings have. What is added is hidden by the mask.
Tensors padded(const Tensors& inputs) {
  Tensors longer = inputs;
  for (auto& [name, tensor] : longer) tensor = at::constant_pad_nd(tensor, {0, rounded_up(tensor.size(1), kSource) - tensor.size(1)});
  return longer;
}

// Only a source with a mask can be made longer.
bool has_source(const Tensors& inputs) { return inputs.size() == 2 && inputs.contains("tokens") && inputs.contains("mask"); }

std::string shapes_of(const Tensors& inputs, const at::Tensor& prompt, int64_t width, int64_t capacity) {
  std::string key = std::to_string(width) + ' ' + std::to_string(capacity) + ' ' + std::to_string(prompt.size(1));
  for (const auto& [name, tensor] : inputs) key += ' ' + name + c10::toString(tensor.scalar_type()) + std::to_string(tensor.size(0)) + 'x' + std::to_string(tensor.size(1));
  return key;
}

}  // namespace recorded_detail

Begun begin_texts(IncrementalDecoder& network, const Tensors& inputs, const at::Tensor& prompt, int64_t width, int64_t capacity) {
  Begun begun{network.start(inputs, width, capacity), {}};
  begun.logits = network.decode(prompt, begun.state).to(at::kFloat);
  if (width == 1) return begun;
  const at::Tensor spread = at::arange(prompt.size(0), prompt.options()).unsqueeze(1).expand({-1, width}).flatten();
  begun.state.select(spread);
  begun.logits = begun.logits.index_select(0, spread);
  return begun;
}

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
  replay_step();
  return logits_;
}

void FixedSteps::replay_step() {
  TORCH_CHECK_VALUE(state_.length < state_.capacity, "decoding: ", state_.length + 1, " tokens, but start() made room for ", state_.capacity);
  ++state_.length;  // the device counts by itself
  graph_->replay();
}

void FixedSteps::bar(const std::vector<int64_t>& tokens) {
  if (!barred_.defined()) barred_ = at::zeros({1, logits_.size(1)}, logits_.options());
  barred_.zero_();
  std::vector<int64_t> known = tokens;  // files may name more than a network has
  std::erase_if(known, [&](int64_t id) { return id < 0 || id >= barred_.size(1); });
  if (!known.empty()) barred_.index_fill_(1, at::tensor(known, at::kLong).to(barred_.device()), -INFINITY);
}

at::Tensor FixedSteps::choose(bool go_on) {
  if (!choice_) {
    if (!barred_.defined()) bar({});
    chosen_ = at::empty({tokens_.size(0)}, at::TensorOptions(at::kLong).pinned_memory(true));
    choice_ = std::make_unique<CudaGraph>();
    choice_->record(tokens_.device(), [this] { tokens_.copy_(at::argmax(logits_ + barred_, 1, /*keepdim=*/true)); });
  }
  choice_->replay();
  chosen_.copy_(tokens_.squeeze(1), /*non_blocking=*/true);
  c10::Event arrived(at::kCUDA);
  arrived.record(c10::impl::VirtualGuardImpl(at::kCUDA).getStream(tokens_.device()));
  if (go_on) replay_step();
  arrived.synchronize();
  return chosen_;
}

struct RecordedDecoding::Recording {
  std::string layout;   // of the state
  FixedSteps steps;
  std::string shapes;   // of the inputs that it last began with
  Tensors inputs;       // what a recorded beginning reads
  at::Tensor prompt;
  at::Tensor logits;    // and writes, beside the memory of `steps`
  std::unique_ptr<CudaGraph> beginning;
};

RecordedDecoding::RecordedDecoding(Model& model) : network_(dynamic_cast<IncrementalDecoder*>(&model)) {
  const auto parameters = model.parameters();
  const bool on_gpu = !parameters.empty() && parameters.front().is_cuda();
  if (!CudaGraph::built_in() || !on_gpu || (network_ && !network_->takes_fixed_states())) network_ = nullptr;
}

RecordedDecoding::~RecordedDecoding() = default;

// Autocast keeps casts of the weights that a recording would outlive.
bool RecordedDecoding::possible(const at::Tensor& tokens) const {
  return network_ && tokens.is_cuda() && !at::autocast::is_autocast_enabled(at::kCUDA);
}

RecordedDecoding::Recording& RecordedDecoding::go_on(const Decoding& state) {
  const std::string layout = recorded_detail::layout_of(state);
  const auto found = std::find_if(recordings_.begin(), recordings_.end(), [&](const Recording& one) { return one.layout == layout; });
  if (found == recordings_.end()) {
    recordings_.push_front({layout, FixedSteps(*network_, state, /*record=*/true), {}, {}, {}, {}, {}});
    if (recordings_.size() > kMost) recordings_.pop_back();
  } else {
    recordings_.splice(recordings_.begin(), recordings_, found);
  }
  recordings_.front().steps.load(state);
  return recordings_.front();
}

void RecordedDecoding::record_beginning(Recording& recording, const Tensors& inputs, const at::Tensor& prompt, int64_t width, int64_t capacity) {
  for (const auto& [name, tensor] : inputs) recording.inputs[name] = tensor.clone();
  recording.prompt = prompt.clone();
  auto graph = std::make_unique<CudaGraph>();
  graph->record(prompt.device(), [&] {
    const Begun begun = begin_texts(*network_, recording.inputs, recording.prompt, width, capacity);
    recording.steps.load(begun.state);
    recording.logits = begun.logits;
  });
  recording.beginning = std::move(graph);
}

std::optional<RecordedDecoding::Writing> RecordedDecoding::begin(const Tensors& inputs, const at::Tensor& prompt, int64_t width, int64_t capacity) {
  namespace d = recorded_detail;
  if (!possible(prompt)) return std::nullopt;
  const bool source = network_->has_encoder() && d::has_source(inputs);
  const Tensors read = source ? d::padded(inputs) : inputs;
  const int64_t room = d::rounded_up(capacity, d::kRoom);
  const std::string shapes = d::shapes_of(read, prompt, width, room);
  try {
    const auto known = std::find_if(recordings_.begin(), recordings_.end(), [&](const Recording& one) { return source && one.shapes == shapes; });
    if (known == recordings_.end()) {
      const Begun begun = begin_texts(*network_, read, prompt, width, room);
      Recording& recording = go_on(begun.state);
      if (!recording.beginning) recording.shapes = shapes;
      return Writing{&recording.steps, begun.logits};
    }
    recordings_.splice(recordings_.begin(), recordings_, known);
    if (!known->beginning) record_beginning(*known, read, prompt, width, room);
    for (const auto& [name, tensor] : read) known->inputs.at(name).copy_(tensor, /*non_blocking=*/true);
    known->prompt.copy_(prompt, /*non_blocking=*/true);
    known->beginning->replay();
    known->steps.loaded(prompt.size(1));
    return Writing{&known->steps, known->logits};
  } catch (const std::exception& error) {  // of c10, or what is wrong with the inputs: then it comes again
    network_ = nullptr;
    const std::string text = error.what();
    spdlog::info("this network's steps are not recorded as a CUDA graph: {}", text.substr(0, text.find('\n')));
    return std::nullopt;
  }
}

}  // namespace zoo::app
