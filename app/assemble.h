// An encoder-decoder from one encoder: both halves begin with its weights (Rothe et al., 2020, arXiv:1907.12461).
#pragma once
#include <string>
#include <vector>

#include "app/bundle.h"

namespace zoo::app {

struct Assembled {
  Bundle bundle;                   // network "encoder_decoder"; its folder is the encoder's, for the tokenizer
  int64_t loaded = 0;              // tensors with the encoder's values
  std::vector<std::string> fresh;  // tensors that the encoder's file does not have: cross-attention, perhaps the head and a pooler
};

// `folder`: a checkpoint of BERT, RoBERTa, XLM-RoBERTa or CamemBERT with any head; the language model's head is taken along.
// Padding and the end of a text are the tokenizer's; the decoder begins with its [CLS] (<s>). Throws std::invalid_argument for
// another network, weights::LoadError when tensors other than those above are missing.
Assembled assemble(const std::string& folder);

}  // namespace zoo::app
