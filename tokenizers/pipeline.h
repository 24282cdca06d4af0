// A tokenizer made of stages: added tokens, normalizer, pre-tokenizer, model, post-processor; decoder on the
// way back.
#pragma once

#include <limits>
#include <memory>

#include "tokenizers/added_tokens.h"
#include "tokenizers/decoder.h"
#include "tokenizers/model.h"
#include "tokenizers/normalizer.h"
#include "tokenizers/post_processor.h"
#include "tokenizers/pre_tokenizer.h"
#include "tokenizers/tokenizer.h"

namespace zoo::tokenizers {

/// The texts of the tokens with a role; empty: no such token.
struct SpecialNames {
  std::string pad, unk, cls, sep, mask, bos, eos;
};

class Pipeline final : public Tokenizer {
 public:
  /// Filled in by a reader, then left alone. normalizer and pre_tokenizer may be null; model and decoder
  /// not.
  struct Parts {
    AddedTokens added;
    std::unique_ptr<Normalizer> normalizer;
    std::unique_ptr<PreTokenizer> pre_tokenizer;
    std::unique_ptr<Model> model;
    PostProcessor post_processor;
    std::unique_ptr<Decoder> decoder;
    SpecialNames names;
    size_t model_max_length = std::numeric_limits<size_t>::max();
    bool on_bytes = false;  // words reach the model as plain text, in place of the byte alphabet
    std::vector<bool> byte_pieces;  // by id; of the bytes of a character only the last stands for it in the offsets. Empty: each does
    bool truncate_left = false;
    std::optional<Truncation> truncation;
    std::optional<Padding> padding;
  };

  explicit Pipeline(Parts parts);

  Encoding encode(std::string_view text, std::optional<std::string_view> pair,
                  size_t max_length) const override;
  Encoding encode_bare(std::string_view text) const override;
  std::vector<Encoding> encode_windows(std::string_view text, std::optional<std::string_view> pair,
                                       const Truncation& truncation) const override;
  std::string decode(const std::vector<int64_t>& ids, bool skip_special) const override;
  std::optional<int64_t> token_to_id(std::string_view token) const override;
  std::string id_to_token(int64_t id) const override;
  int64_t vocab_size() const override;
  std::optional<int64_t> pad_id() const override { return pad_; }
  std::optional<int64_t> bos_id() const override { return bos_; }
  std::optional<int64_t> eos_id() const override { return eos_; }
  std::optional<int64_t> unk_id() const override { return unk_; }
  std::optional<int64_t> cls_id() const override { return cls_; }
  std::optional<int64_t> sep_id() const override { return sep_; }
  std::optional<int64_t> mask_id() const override { return mask_; }
  size_t model_max_length() const override { return parts_.model_max_length; }
  const std::optional<Truncation>& saved_truncation() const override { return parts_.truncation; }
  const std::optional<Padding>& saved_padding() const override { return parts_.padding; }

 private:
  Encoding encode_one(std::string_view text, size_t enough) const;
  void append(Encoding& out, std::string_view text, uint32_t id, Span source, std::string_view piece, bool added, int64_t word) const;
  bool is_inner_byte(const std::vector<Token>& tokens, size_t i, const AlignedText& text, size_t begin) const;
  void check_room(size_t max_length, size_t special) const;
  std::optional<int64_t> named(const std::string& name) const;

  Parts parts_;
  std::optional<int64_t> pad_, unk_, cls_, sep_, mask_, bos_, eos_;
};

}  // namespace zoo::tokenizers
