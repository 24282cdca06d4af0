// Generation: token after token from a network that decodes incrementally (models/decoding.h): greedy, beam search, sampling,
// with the options and the arithmetic of transformers' generate(), so that the same weights give the same ids.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "models/decoding.h"

namespace zoo::app {

// When beam search ends for one input (transformers' early_stopping): no = false: when the best running beam, at its present
// length, cannot beat the worst finished one; yes = true: when num_beams have finished; never: as `no`, but for the most
// favourable length.
enum class BeamStop { no, yes, never };

// Field names are those of generation_config.json.
struct GenerationOptions {
  // max_length and min_length, when these alone are given (else 0), count what the decoder begins with: a start token, or the prompt.
  int64_t max_length = 0, min_length = 0;
  int64_t max_new_tokens = 20, min_new_tokens = 0, num_beams = 1, num_return_sequences = 1;
  int64_t no_repeat_ngram_size = 0, encoder_no_repeat_ngram_size = 0;
  double length_penalty = 1.0, repetition_penalty = 1.0;
  BeamStop early_stopping = BeamStop::no;
  bool do_sample = false;
  double temperature = 1.0, top_p = 1.0, min_p = 0.0, typical_p = 1.0;  // min_p 0, the others 1: off
  int64_t top_k = 50;                                                   // 0: off
  uint64_t seed = 0;                                                    // input i of a call samples with seed + i
  int64_t decoder_start = -1, pad = -1, forced_bos = -1;                // -1: none
  std::vector<int64_t> eos, forced_eos, suppress_tokens, begin_suppress_tokens;
  std::vector<std::vector<int64_t>> bad_words;
};

// Defaults, then generation_config.json (`stored`; where there is none, the same keys of config.json), then `wanted`, an object
// with the same keys, whose values may be texts. Throws std::invalid_argument that names the key, the value and what is expected;
// also for keys of `wanted` that are not known and for combinations that make no sense.
GenerationOptions generation_options(const Json& config, const Json& stored, const Json& wanted);
// The keys that `wanted` may have.
const std::vector<std::string>& generation_keys();

struct Generated {
  std::vector<int64_t> ids;  // the new tokens, the end of sequence included
  double score = 0.0;        // beam search: sum of log-probabilities / length^length_penalty; otherwise 0
};

// inputs: tokens [B, S], mask [B, S]; on the network's device. For networks without an encoder tokens are the prompts, padded on
// the left. Returns for each input its num_return_sequences results, best first.
// Throws std::invalid_argument when the network cannot decode incrementally, or the options ask for what it has not.
std::vector<std::vector<Generated>> generate(Model& model, const Tensors& inputs, const GenerationOptions& options);

}  // namespace zoo::app
