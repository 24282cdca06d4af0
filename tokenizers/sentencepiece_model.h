// What a SentencePiece model file holds (sentencepiece_model.proto, protocol buffers): read here without the library, because
// the tokens, offsets and normal forms all come from the models and normalizers that tokenizer.json needs anyway.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace zoo::tokenizers {

struct SentencePieceModel {
  enum Type : uint32_t { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };
  enum Kind : uint32_t { unigram = 1, bpe = 2, word = 3, character = 4 };
  struct Piece {
    std::string text;
    float score = 0;
    uint32_t type = normal;
  };
  std::vector<Piece> pieces;
  uint32_t kind = unigram;
  uint32_t unk_id = 0;
  int32_t bos_id = 1, eos_id = 2, pad_id = -1;
  bool byte_fallback = false;
  std::string unk_surface = " \xE2\x81\x87 ";
  std::string charsmap;
  bool add_dummy_prefix = true, remove_extra_whitespaces = true, escape_whitespaces = true, whitespace_as_suffix = false;
};

/// Throws std::runtime_error: not such a file, cut short, no pieces, pieces that are not UTF-8.
SentencePieceModel parse_sentencepiece(std::string_view file);

}  // namespace zoo::tokenizers
