// RecordedDecoding: the single steps of a network that writes tokens on a GPU, recorded once for each set of shapes as a CUDA graph
// (cuda_graph.h) and played again. A step of a small batch has hundreds of kernels of a few microseconds: launching them is most of
// its time.
#pragma once
#include <list>
#include <memory>
#include <string>

#include "app/engine/cuda_graph.h"
#include "models/decoding.h"

namespace zoo::app {

// Memory of its own for texts of one shape, and the network's step on it.
class FixedSteps {
 public:
  // For states like `state`. `record`: as a CUDA graph; throws c10::Error where the step cannot be recorded.
  FixedSteps(IncrementalDecoder& network, const Decoding& state, bool record);
  // Goes on from what `state`, of the same layout, has read.
  void load(const Decoding& state);
  // tokens [rows] int64, the next of every row -> logits [rows, vocabulary] for the one after it, valid until the next step.
  at::Tensor step(const at::Tensor& tokens);
  // Row i goes on from what row rows[i] has read; as many rows as before.
  void select(const at::Tensor& rows) { state_.select(rows); }

 private:
  IncrementalDecoder& network_;
  Decoding state_;
  at::Tensor tokens_, logits_;
  std::unique_ptr<CudaGraph> graph_;
};

// For inference alone and one thread at a time. The network must outlive it, stay in eval mode and keep its weights where they are.
class RecordedDecoding {
 public:
  explicit RecordedDecoding(Model& model);

  // Tokens to make room for where so many are needed: sizes in which steps are recorded, so that one recording serves many texts.
  int64_t room(int64_t capacity) const;
  // Takes over from `state` after its prompt; nullptr where nothing can be recorded (CPU, a build without CUDA's headers, autocast, a
  // network that takes no fixed states or waits for the GPU in its step, which a line in the log says once). Valid until the next call.
  FixedSteps* go_on(const Decoding& state);

 private:
  bool possible(const at::Tensor& keys) const;

  static constexpr size_t kMost = 8;  // each keeps the memory of its caches
  IncrementalDecoder* network_;       // nullptr: none that can be recorded
  std::list<std::pair<std::string, FixedSteps>> recordings_;  // the one used last comes first
};

}  // namespace zoo::app
