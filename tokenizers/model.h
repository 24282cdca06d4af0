// Third stage: splits one word into tokens of the vocabulary.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizers/aligned_text.h"
#include "tokenizers/json_fields.h"

namespace zoo::tokenizers {

struct Token {
  uint32_t id;
  Span span;  // bytes of the word
};

struct Model {
  virtual ~Model() = default;
  /// Appends the tokens of `word` (well-formed UTF-8, not empty).
  virtual void tokenize(std::string_view word, std::vector<Token>& out) const = 0;
  virtual std::optional<uint32_t> token_to_id(std::string_view token) const = 0;
  /// Empty when no token has this id.
  virtual std::optional<std::string> id_to_token(uint32_t id) const = 0;
  virtual size_t size() const = 0;
  /// The text of the unknown token; empty when the model has none.
  virtual std::string unknown_token() const = 0;
};

/// Builds the `model` of a tokenizer.json. Throws std::runtime_error for a type or value it does not know.
std::unique_ptr<Model> make_model(const JsonField& part);

}  // namespace zoo::tokenizers
