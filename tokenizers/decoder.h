// Last stage, the way back: joins tokens into text.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tokenizers/json_fields.h"

namespace zoo::tokenizers {

struct Decoder {
  virtual ~Decoder() = default;
  /// Rewrites the tokens, in order.
  virtual std::vector<std::string> apply(std::vector<std::string> tokens) const = 0;
  /// The tokens rewritten and put together.
  std::string text(std::vector<std::string> tokens) const;
};

/// Without a `decoder`: tokens with a space between them.
struct JoinDecoder final : Decoder {
  std::vector<std::string> apply(std::vector<std::string> tokens) const override;
};

/// Glues continuing pieces to their word; `cleanup` takes the spaces before punctuation and English
/// contractions out.
struct WordPieceDecoder final : Decoder {
  std::string prefix = "##";
  bool cleanup = true;
  std::vector<std::string> apply(std::vector<std::string> tokens) const override;
};

/// Letters of the byte alphabet back to bytes; what is not UTF-8 then becomes U+FFFD. A token with another character
/// counts as it is.
struct ByteLevelDecoder final : Decoder {
  std::vector<std::string> apply(std::vector<std::string> tokens) const override;
};

/// The visible mark back to a space; at the very start it goes, when marks were put there.
struct MetaspaceDecoder final : Decoder {
  char32_t replacement = 0x2581;
  bool drops_first = true;
  std::vector<std::string> apply(std::vector<std::string> tokens) const override;
};

/// Builds the `decoder` of a tokenizer.json. Throws std::runtime_error for a type or value it does not know.
std::unique_ptr<Decoder> make_decoder(const JsonField& part);

}  // namespace zoo::tokenizers
