// Unigram language model: of all ways to cut a word into tokens the most probable one ("Subword Regularization", Kudo,
// 2018; SentencePiece).
#pragma once

#include "tokenizers/byte_trie.h"
#include "tokenizers/model.h"
#include "tokenizers/vocabulary.h"

namespace zoo::tokenizers {

class Unigram final : public Model {
 public:
  struct Piece {
    std::string text;
    double score;
    bool rates_unknown = true;  // its score counts for how improbable an unknown character is
    bool in_text = true;        // may be found in a text
  };
  /// The id of a piece is its place. Without `unk_id` encoding an unknown character throws std::runtime_error. With
  /// `byte_fallback` unknown text becomes the tokens <0x00> ... <0xFF> of its bytes where the vocabulary has them all.
  /// Throws std::runtime_error for an empty vocabulary, a score that is not a number, an unk_id outside of it.
  Unigram(std::vector<Piece> pieces, std::optional<uint32_t> unk_id, bool byte_fallback);

  /// As SentencePiece itself has it, where the reference library differs: scores are added up in single precision, which
  /// decides ties, and unknown characters side by side never spell a piece.
  void follow_sentencepiece() { in_floats_ = true; }

  void tokenize(std::string_view word, std::vector<Token>& out) const override;
  std::optional<uint32_t> token_to_id(std::string_view token) const override { return vocab_.find(token); }
  std::optional<std::string> id_to_token(uint32_t id) const override;
  size_t size() const override { return scores_.size(); }
  std::string unknown_token() const override;

 private:
  void append_unknown(std::string_view word, Span span, std::vector<Token>& out) const;

  Vocabulary vocab_;
  std::vector<double> scores_;
  std::optional<uint32_t> unk_id_;
  bool byte_fallback_;
  std::vector<uint32_t> byte_ids_;  // empty unless all 256 bytes can be written
  bool in_floats_ = false;
  double unknown_score_ = 0;
  ByteTrie trie_;
};

/// From the `model` of a tokenizer.json.
std::unique_ptr<Model> make_unigram(const JsonField& part);

}  // namespace zoo::tokenizers
