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
  std::string pad, unk, cls, sep, mask;
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
  };

  explicit Pipeline(Parts parts);

  Encoding encode(std::string_view text, std::optional<std::string_view> pair,
                  size_t max_length) const override;
  std::string decode(const std::vector<int64_t>& ids, bool skip_special) const override;
  std::optional<int64_t> token_to_id(std::string_view token) const override;
  std::string id_to_token(int64_t id) const override;
  int64_t vocab_size() const override;
  std::optional<int64_t> pad_id() const override { return pad_; }
  std::optional<int64_t> unk_id() const override { return unk_; }
  std::optional<int64_t> cls_id() const override { return cls_; }
  std::optional<int64_t> sep_id() const override { return sep_; }
  std::optional<int64_t> mask_id() const override { return mask_; }
  size_t model_max_length() const override { return parts_.model_max_length; }

 private:
  Encoding encode_one(std::string_view text, size_t enough) const;
  std::optional<int64_t> named(const std::string& name) const;

  Parts parts_;
  std::optional<int64_t> pad_, unk_, cls_, sep_, mask_;
};

}  // namespace zoo::tokenizers
