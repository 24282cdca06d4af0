// Incremental decoding: the contract between a network that writes tokens one after another and whoever chooses them
// (app/engine/generation.h).
//
//   Decoding state = network.start(inputs, beams, capacity);       // reads the source, makes room
//   Tensor logits = network.decode(tokens, state);                 // [rows, T] more tokens -> [rows, vocabulary] of the next one
//   state.select(rows);                                            // row i goes on from what row rows[i] has read
//
// Keys and values are written in place, once, and never move: a table says for every row and position whose entry it reads, so
// that reordering beams costs a few numbers a row. Those of the source are kept once per input, however many beams read them.
//
// A state can be fixed: then a step has one token a row and does the same operations on the same memory whatever was read before,
// so that a GPU can record it and play it again (app/engine/recorded_decoding.h).
#pragma once
#include "models/model.h"

namespace zoo {

struct Decoding {
  struct Layer {
    at::Tensor key, value;                // [N, heads, capacity, d]: of the tokens read so far
    at::Tensor source_key, source_value;  // [B, heads, S, d]: of the encoder's output; undefined without an encoder
  };
  std::vector<Layer> layers;
  at::Tensor source_mask;  // [B, 1, 1, S] bool (true = keep), or undefined: everything
  at::Tensor token_mask;   // [rows, capacity] bool: false where a padded prompt has nothing, or undefined
  at::Tensor bias;         // what a network adds to the scores of its self-attention; its own business
  at::Tensor origin;       // [rows, capacity] int64 on the network's device: row of the cache that holds a position
  int64_t length = 0, capacity = 0;
  bool straight = true;    // every row still reads its own entries
  at::Tensor position;     // [1] int64 on the network's device, of a fixed state alone: place of the newest token
  at::Tensor visible;      // [1 or rows, 1, 1, capacity], of a fixed state: 0, or -infinity where there is nothing to be read

  // Room for `layer_count` layers of `rows` rows in the given type and place.
  void allocate(int64_t layer_count, int64_t rows, int64_t heads, int64_t capacity, int64_t width, const at::TensorOptions& options);
  // Announces tokens for `rows` rows at positions length .. length + steps - 1; afterwards length includes them. To be called
  // once at the beginning of decode(). Throws std::invalid_argument when the room is used up.
  void grow(int64_t rows, int64_t steps);
  // Row i of the next step continues what row rows[i] has read: rows [n] int64, any n up to N, with repetitions.
  void select(const at::Tensor& rows);
  // Lets go of inputs that are done: `inputs` [B'] int64 are those that stay. select() their rows as well.
  void keep_inputs(const at::Tensor& inputs);

  bool fixed() const { return position.defined(); }
  // For networks, after grow(): rows first + p of a table of positions [P, D], p the places of the newest `steps` tokens in their
  // texts (padding does not count): [steps, D] or [rows, steps, D]. Throws std::invalid_argument beyond the table.
  at::Tensor rows_at(const at::Tensor& table, int64_t steps, int64_t first = 0) const;
  // What `table` [1, heads, 1, capacity] adds to the scores of the newest `steps` tokens, if its entry i stands for capacity - 1 - i
  // tokens before: the `bias` of cached_attention(), [1 or rows, heads, steps, length].
  at::Tensor by_distance(const at::Tensor& table, int64_t steps) const;
};

// What a network implements beside Model to be used for generation.
class IncrementalDecoder {
 public:
  virtual ~IncrementalDecoder() = default;
  // Reads the source (networks with an encoder: tokens, mask) or only makes room (without): for up to `beams` rows per input and
  // `capacity` tokens a row, prompt included.
  virtual Decoding start(const Tensors& inputs, int64_t beams, int64_t capacity) = 0;
  // The next tokens [rows, T] of every row -> logits [rows, vocabulary] for the one after the last. The rows of one input stand
  // together, equally many for each.
  virtual at::Tensor decode(const at::Tensor& tokens, Decoding& state) = 0;
  // Most tokens a row may have; 0: no limit.
  virtual int64_t longest() const { return 0; }
  // Whether decode() takes fixed states: it asks rows_at() and by_distance() and never looks at the state's length itself.
  virtual bool takes_fixed_states() const { return false; }
  virtual bool has_encoder() const { return true; }
};

// Attention of the newest tokens to all tokens of their row. q, k, v [rows, heads, T, d] of the newest T; k and v enter the cache
// of the layer. `bias` is added to the scores, broadcastable to [rows, heads, T, length], or undefined; causal among the newest. In a
// fixed state it comes from by_distance().
at::Tensor cached_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, Decoding& state, size_t layer,
                            const at::Tensor& bias = {}, std::optional<double> scale = std::nullopt);
// Attention of the newest tokens to the source of their input: q [rows, heads, T, d] -> the same shape.
at::Tensor source_attention(const at::Tensor& q, const Decoding& state, size_t layer, std::optional<double> scale = std::nullopt);

}  // namespace zoo
