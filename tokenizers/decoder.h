// Last stage, the way back: joins tokens into text.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tokenizers/json_fields.h"

namespace zoo::tokenizers {

struct Decoder {
  virtual ~Decoder() = default;
  virtual std::string apply(const std::vector<std::string>& tokens) const = 0;
};

/// Without a `decoder`: tokens with a space between them.
struct JoinDecoder final : Decoder {
  std::string apply(const std::vector<std::string>& tokens) const override;
};

/// Glues continuing pieces to their word; `cleanup` takes the spaces before punctuation and English
/// contractions out.
struct WordPieceDecoder final : Decoder {
  std::string prefix = "##";
  bool cleanup = true;
  std::string apply(const std::vector<std::string>& tokens) const override;
};

/// Builds the `decoder` of a tokenizer.json. Throws std::runtime_error for a type or value it does not know.
std::unique_ptr<Decoder> make_decoder(const JsonField& part);

}  // namespace zoo::tokenizers
