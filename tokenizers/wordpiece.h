// WordPiece: greedy longest match from the left ("Japanese and Korean Voice Search", Schuster and Nakajima,
// 2012; BERT).
#pragma once

#include "tokenizers/model.h"
#include "tokenizers/vocabulary.h"

namespace zoo::tokenizers {

class WordPiece final : public Model {
 public:
  struct Options {
    std::string unk_token = "[UNK]";
    std::string continuing_subword_prefix = "##";
    size_t max_input_chars_per_word = 100;  // a longer word is one unknown token
  };

  /// Throws std::runtime_error when the vocabulary is empty or has no unknown token.
  WordPiece(std::vector<std::pair<std::string, uint32_t>> vocab, Options options);

  void tokenize(std::string_view word, std::vector<Token>& out) const override;
  std::optional<uint32_t> token_to_id(std::string_view token) const override { return vocab_.find(token); }
  std::optional<std::string> id_to_token(uint32_t id) const override;
  size_t size() const override { return vocab_.size(); }
  std::string unknown_token() const override { return options_.unk_token; }

 private:
  using Pieces = std::unordered_map<std::string_view, uint32_t>;
  static std::optional<Token> longest_match(std::string_view word, size_t begin, const Pieces& pieces,
                                            size_t longest);

  Options options_;
  Vocabulary vocab_;
  Pieces initial_, continuing_;  // keys view into vocab_; continuing_ without the prefix
  size_t longest_initial_ = 0, longest_continuing_ = 0;  // bytes
  uint32_t unknown_ = 0;
};

/// From the `model` of a tokenizer.json.
std::unique_ptr<Model> make_wordpiece(const JsonField& part);

}  // namespace zoo::tokenizers
