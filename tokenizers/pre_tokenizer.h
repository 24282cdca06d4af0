// Second stage: cuts the normalized text into words, which the model then splits further on its own.
#pragma once

#include <memory>
#include <vector>

#include "tokenizers/aligned_text.h"
#include "tokenizers/json_fields.h"

namespace zoo::tokenizers {

/// A text and the pieces of it that are words so far, in order; what lies between them is dropped.
struct Pieces {
  AlignedText text;
  std::vector<Span> spans;
};

struct PreTokenizer {
  virtual ~PreTokenizer() = default;
  virtual void apply(Pieces& pieces) const = 0;
};

/// Builds the `pre_tokenizer` of a tokenizer.json. Throws std::runtime_error for a type it does not know.
std::unique_ptr<PreTokenizer> make_pre_tokenizer(const JsonField& part);

/// At white space, which goes, and around each punctuation character, which stays as a word of its own.
struct BertPreTokenizer final : PreTokenizer {
  void apply(Pieces& pieces) const override;
};

/// \w+|[^\w\s]+
struct Whitespace final : PreTokenizer {
  void apply(Pieces& pieces) const override;
};

struct WhitespaceSplit final : PreTokenizer {
  void apply(Pieces& pieces) const override;
};

struct PreTokenizerSequence final : PreTokenizer {
  std::vector<std::unique_ptr<PreTokenizer>> steps;
  void apply(Pieces& pieces) const override;
};

}  // namespace zoo::tokenizers
