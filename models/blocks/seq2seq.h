// What encoder-decoder language models share beside attention: their special tokens, the decoder's input, and the reading of
// their outputs by heads.
#pragma once
#include "models/config.h"
#include "models/model.h"

namespace zoo {

// Ids that a config.json names; -1: none. Of several ends of a sequence the first counts here (generation knows them all).
struct SpecialTokens {
  int64_t pad = -1, eos = -1, decoder_start = -1;
  // Reads pad_token_id, eos_token_id and decoder_start_token_id; what is absent keeps its value, null is none.
  void read(const Fields& f);
};

// labels [B, T] -> the start token, then all labels but the last; -100 becomes padding. Throws std::invalid_argument when the
// config names no start or padding.
at::Tensor shifted_right(const at::Tensor& labels, const SpecialTokens& special);

// What the decoder reads: "decoder_tokens" if given, else the shifted "labels", else the shifted "tokens".
at::Tensor decoder_tokens(const Tensors& inputs, const SpecialTokens& special);

// hidden [B, T, D] -> [B, D] at the last end-of-sequence among the kept "tokens" of each row, else at the last kept token.
at::Tensor at_last_eos(const at::Tensor& hidden, const Tensors& inputs, const SpecialTokens& special);

// [B, T, 2] -> "start_logits" and "end_logits" [B, T] of an answer's span.
Tensors span_logits(const at::Tensor& x);

}  // namespace zoo
