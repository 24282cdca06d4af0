#include "models/blocks/seq2seq.h"

#include <stdexcept>

namespace zoo {
namespace seq2seq_detail {

void read_id(const Fields& f, const char* key, int64_t& id) {
  const auto found = f.json().find(key);
  if (found == f.json().end()) return;
  const Json& value = found->is_array() && !found->empty() ? found->front() : *found;
  if (value.is_null()) { id = -1; return; }
  f.require(value.is_number_integer(), std::string("config key '") + key + "' is " + found->dump().substr(0, 80) + "; expected the id of a token");
  id = value.get<int64_t>();
}

}  // namespace seq2seq_detail

void SpecialTokens::read(const Fields& f) {
  seq2seq_detail::read_id(f, "pad_token_id", pad);
  seq2seq_detail::read_id(f, "eos_token_id", eos);
  seq2seq_detail::read_id(f, "decoder_start_token_id", decoder_start);
}

at::Tensor shifted_right(const at::Tensor& labels, const SpecialTokens& special) {
  TORCH_CHECK_VALUE(special.decoder_start >= 0, "config.json has no decoder_start_token_id, with which the decoder begins (add it)");
  TORCH_CHECK_VALUE(special.pad >= 0, "config.json has no pad_token_id, which fills what has no label (add it)");
  at::Tensor shifted = at::full_like(labels, special.decoder_start);
  shifted.slice(1, 1).copy_(labels.slice(1, 0, -1));
  return shifted.masked_fill(shifted == -100, special.pad);
}

at::Tensor decoder_tokens(const Tensors& inputs, const SpecialTokens& special) {
  if (const auto found = inputs.find("decoder_tokens"); found != inputs.end()) return found->second;
  const auto labels = inputs.find("labels");
  const bool sequences = labels != inputs.end() && labels->second.dim() == 2;
  return shifted_right(sequences ? labels->second : inputs.at("tokens"), special);
}

at::Tensor at_last_eos(const at::Tensor& hidden, const Tensors& inputs, const SpecialTokens& special) {
  const at::Tensor& tokens = inputs.at("tokens");
  const at::Tensor mask = optional_input(inputs, "mask");
  const at::Tensor kept = mask.defined() ? mask.to(at::kBool) : at::ones_like(tokens, at::kBool);
  const at::Tensor place = at::arange(tokens.size(1), tokens.options());
  const at::Tensor end = at::where(tokens.eq(special.eos).logical_and(kept), place, -1).amax(1);  // [B]; -1: none
  const at::Tensor last = at::where(kept, place, 0).amax(1);
  const at::Tensor at_place = at::where(end >= 0, end, last).view({-1, 1, 1}).expand({-1, 1, hidden.size(2)});
  return hidden.gather(1, at_place).squeeze(1);
}

Tensors span_logits(const at::Tensor& x) { return {{"start_logits", x.select(-1, 0)}, {"end_logits", x.select(-1, 1)}}; }

}  // namespace zoo
