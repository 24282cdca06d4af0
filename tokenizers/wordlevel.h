// A word is a token, or unknown.
#pragma once

#include "tokenizers/model.h"
#include "tokenizers/vocabulary.h"

namespace zoo::tokenizers {

class WordLevel final : public Model {
 public:
  /// Unknown words are `unk_token`; when the vocabulary does not have that either, encoding one throws std::runtime_error.
  WordLevel(std::vector<std::pair<std::string, uint32_t>> vocab, std::string unk_token);

  void tokenize(std::string_view word, std::vector<Token>& out) const override;
  std::optional<uint32_t> token_to_id(std::string_view token) const override { return vocab_.find(token); }
  std::optional<std::string> id_to_token(uint32_t id) const override;
  size_t size() const override { return vocab_.size(); }
  std::string unknown_token() const override { return unk_token_; }

 private:
  Vocabulary vocab_;
  std::string unk_token_;
};

/// From the `model` of a tokenizer.json.
std::unique_ptr<Model> make_wordlevel(const JsonField& part);

}  // namespace zoo::tokenizers
