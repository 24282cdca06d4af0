// What changes the scores of the next token before one is chosen, in transformers' order.
#pragma once
#include <span>

#include "app/engine/generation.h"

namespace zoo::app {

// What a row has read and written so far.
struct RowHistory {
  std::vector<int64_t> ids;                // prompt and new tokens
  const std::vector<int64_t>* source = nullptr;  // the input's own tokens; without an encoder the prompt
  int64_t padding = 0;                     // leading ids that only pad: they count as no repetition
  std::vector<int64_t> chosen_by_others;   // beam groups: what the groups before have just chosen
};

// scores [rows, vocabulary] float32, logits or log-probabilities; `written`: new tokens so far. The beams of an input stand together.
// `scores` may be overwritten.
at::Tensor constrained(at::Tensor scores, std::span<const RowHistory> rows, int64_t written, const GenerationOptions& options);

// Whether rows write their likeliest token, and what they have written changes nothing but that a text of fewer than min_new_tokens does not end.
bool chosen_by_logits_alone(const GenerationOptions& options);

// Temperature, top-h, top-k, top-p, min-p, typical, epsilon, eta: what is left out becomes -infinity.
at::Tensor warped(at::Tensor scores, const GenerationOptions& options);

}  // namespace zoo::app
