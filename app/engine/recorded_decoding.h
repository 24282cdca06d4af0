// RecordedDecoding: how a network begins a text and its single steps on a GPU, recorded once for each set of shapes as CUDA graphs
// (cuda_graph.h) and played again. A step of a small batch has hundreds of kernels of a few microseconds: launching them is most of
// its time.
#pragma once
#include <list>
#include <memory>
#include <optional>
#include <string>

#include "app/engine/cuda_graph.h"
#include "models/decoding.h"

namespace zoo::app {

// What has been read before the first token is chosen: the state of every row and the logits [rows, vocabulary], in float32.
struct Begun {
  Decoding state;
  at::Tensor logits;
};
// Reads the source and the prompt [inputs, P], which all rows of an input share, once, and spreads them over `width` rows each.
Begun begin_texts(IncrementalDecoder& network, const Tensors& inputs, const at::Tensor& prompt, int64_t width, int64_t capacity);

// Memory of its own for texts of one shape, and the network's step on it.
class FixedSteps {
 public:
  // For states like `state`. `record`: as a CUDA graph; throws c10::Error where the step cannot be recorded.
  FixedSteps(IncrementalDecoder& network, const Decoding& state, bool record);
  // Goes on from what `state`, of the same layout, has read.
  void load(const Decoding& state);
  // The same after a replay of what load() recorded, for a state of so many tokens.
  void loaded(int64_t length) { state_.length = length; }
  // tokens [rows] int64, the next of every row -> logits [rows, vocabulary] for the one after it, valid until the next step.
  at::Tensor step(const at::Tensor& tokens);
  // The likeliest token of every row after the last step, none of those barred: [rows] int64 on the CPU, valid until the next call. With `go_on` the step
  // that reads them has begun when they arrive. Recorded steps alone.
  at::Tensor choose(bool go_on);
  void bar(const std::vector<int64_t>& tokens);  // from now on these and no others
  // Row i goes on from what row rows[i] has read; as many rows as before.
  void select(const at::Tensor& rows) { state_.select(rows); }

 private:
  void replay_step();

  IncrementalDecoder& network_;
  Decoding state_;
  at::Tensor tokens_, logits_;
  std::unique_ptr<CudaGraph> graph_;
  at::Tensor barred_;                  // [1, vocabulary] added to the logits: 0 or -infinity
  at::Tensor chosen_;                  // of the last choose()
  std::unique_ptr<CudaGraph> choice_;  // from logits_ to tokens_; made at its first use
};

// For inference alone and one thread at a time. The network must outlive it, stay in eval mode and keep its weights where they are.
class RecordedDecoding {
 public:
  explicit RecordedDecoding(Model& model);
  ~RecordedDecoding();

  // Texts that go on in recorded steps. Both are valid until the next call.
  struct Writing {
    FixedSteps* steps;
    at::Tensor logits;  // [rows, vocabulary] of the first token
  };
  // begin_texts() for single steps; `capacity` and the source's length are rounded up, so that one recording serves many texts. nullopt
  // where nothing can be recorded (CPU, a build without CUDA's headers, autocast, a network that takes no fixed states or waits for the
  // GPU in its step, which a line in the log says once). Shapes that come for the second time begin from a recording, too.
  std::optional<Writing> begin(const Tensors& inputs, const at::Tensor& prompt, int64_t width, int64_t capacity);

 private:
  struct Recording;
  bool possible(const at::Tensor& tokens) const;
  // Takes over from `state` after its prompt.
  Recording& go_on(const Decoding& state);
  void record_beginning(Recording& recording, const Tensors& inputs, const at::Tensor& prompt, int64_t width, int64_t capacity);

  static constexpr size_t kMost = 8;  // each keeps the memory of its caches
  IncrementalDecoder* network_;       // nullptr: none that can be recorded
  std::list<Recording> recordings_;   // the one used last comes first
};

}  // namespace zoo::app
