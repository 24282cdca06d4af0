// Generation: token after token from a network that decodes incrementally (models/decoding.h): greedy, beam search, beam groups,
// sampling, with the options and the arithmetic of transformers' generate(), so that the same weights give the same ids.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/decoding.h"

namespace zoo::app {

class RecordedDecoding;
class StopStrings;
class TokenTrie;

// When beam search ends for one input (transformers' early_stopping): no = false: when the best running beam, at its present
// length, cannot beat the worst finished one; yes = true: when num_beams have finished; never: as `no`, but for the most
// favourable length.
enum class BeamStop { no, yes, never };

// Tokens that get a bonus (or, negative, a malus) in their score where the tokens before their last one have just been written.
struct SequenceBias {
  std::vector<int64_t> ids;
  float bias = 0.0F;
};

// Field names are those of generation_config.json.
struct GenerationOptions {
  // max_length and min_length, when these alone are given (else 0), count what the decoder begins with: a start token, or the prompt.
  int64_t max_length = 0, min_length = 0;
  int64_t max_new_tokens = 20, min_new_tokens = 0, num_beams = 1, num_beam_groups = 1, num_return_sequences = 1;
  int64_t no_repeat_ngram_size = 0, encoder_no_repeat_ngram_size = 0;
  double length_penalty = 1.0, repetition_penalty = 1.0, encoder_repetition_penalty = 1.0, diversity_penalty = 0.0;
  int64_t decay_start = -1;   // exponential_decay_length_penalty: the ends' scores grow after so many new tokens (-1: never),
  double decay_factor = 1.0;  // by so much a token
  BeamStop early_stopping = BeamStop::no;
  bool do_sample = false, renormalize_logits = false, remove_invalid_values = false;
  double temperature = 1.0, top_p = 1.0, typical_p = 1.0;                   // 1: off
  double min_p = 0.0, top_h = 0.0, epsilon_cutoff = 0.0, eta_cutoff = 0.0;  // 0: off
  int64_t top_k = 50;                                                       // 0: off
  int64_t decoder_start = -1, pad = -1, forced_bos = -1;                    // -1: none
  std::vector<int64_t> eos, forced_eos, suppress_tokens, begin_suppress_tokens;
  std::vector<std::vector<int64_t>> bad_words;
  std::vector<SequenceBias> sequence_bias;
  std::vector<std::string> stop_strings;

  // What no file holds: it comes from whoever calls.
  uint64_t seed = 0;             // input i of a call samples with seed + i, or with
  std::vector<uint64_t> seeds;   // seeds[i], when these are given
  std::shared_ptr<StopStrings> stop;         // stop_strings with the tokenizer that they need
  std::shared_ptr<const TokenTrie> allowed;  // the only outputs there may be, each with its end of sequence
  std::vector<int64_t> prefix;   // what the decoder of a network with an encoder has written already
  std::function<void(int64_t input, int64_t id)> on_token;  // greedy and sampling: each new token of an input's first row
};

// Defaults, then generation_config.json (`stored`; where there is none, the same keys of config.json), then `wanted`, an object
// with the same keys, whose values may be texts. Throws std::invalid_argument that names the key, the value and what is expected;
// also for keys of `wanted` that are not known and for combinations that make no sense.
GenerationOptions generation_options(const Json& config, const Json& stored, const Json& wanted);
// The keys that `wanted` may have.
const std::vector<std::string>& generation_keys();
// Keys of a generation_config.json that would change what transformers writes and change nothing here.
std::vector<std::string> unfollowed_keys(const Json& stored);

// Why the network cannot go on after a prompt of so many tokens (or, with an encoder, begin); empty: it can.
std::string prompt_trouble(Model& model, const GenerationOptions& options, int64_t tokens);

struct Generated {
  std::vector<int64_t> ids;  // the new tokens, the end of sequence included; `prefix` stands before them
  double score = 0.0;        // beam search: sum of log-probabilities / length^length_penalty; otherwise 0
};

// inputs: tokens [B, S], mask [B, S]; on the network's device. For networks without an encoder tokens are the prompts, padded on
// the left. Returns for each input its num_return_sequences results, best first; fewer where `allowed` has no more.
// Throws std::invalid_argument when the network cannot decode incrementally, or the options ask for what it has not.
std::vector<std::vector<Generated>> generate(Model& model, const Tensors& inputs, const GenerationOptions& options);

// The same, many times over with weights that stay as they are: on a GPU the steps are recorded and played again (recorded_decoding.h).
// For one thread at a time; the network, in eval mode, must outlive it.
class Generator {
 public:
  explicit Generator(Model& model);
  ~Generator();
  std::vector<std::vector<Generated>> operator()(const Tensors& inputs, const GenerationOptions& options);

 private:
  Model& model_;
  std::unique_ptr<RecordedDecoding> recorded_;
};

}  // namespace zoo::app
