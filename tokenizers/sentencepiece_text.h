// How SentencePiece itself prepares a text and puts it together again.
#pragma once

#include <optional>

#include "tokenizers/byte_trie.h"
#include "tokenizers/charsmap.h"
#include "tokenizers/decoder.h"
#include "tokenizers/normalizer.h"
#include "tokenizers/sentencepiece_model.h"

namespace zoo::tokenizers {

/// The table's longest entries replace text; white space at the ends and double spaces go; spaces become U+2581.
class SentencePieceText final : public Normalizer {
 public:
  explicit SentencePieceText(const SentencePieceModel& model);
  void apply(AlignedText& text) const override;

 private:
  std::optional<CharsMap> map_;
  ByteTrie kept_;  // user-defined symbols, which the table leaves alone
  bool dummy_prefix_, remove_extra_, escape_, suffix_;
};

class SentencePieceDecoder final : public Decoder {
 public:
  explicit SentencePieceDecoder(const SentencePieceModel& model);
  std::vector<std::string> apply(std::vector<std::string> tokens) const override;

 private:
  std::string unknown_, unknown_surface_;
  bool drops_first_, drops_all_, byte_fallback_;  // spaces at the start
};

}  // namespace zoo::tokenizers
