// Fourth stage: joins the tokens of one or two texts and puts the special tokens where the model expects
// them.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tokenizers/json_fields.h"
#include "tokenizers/tokenizer.h"

namespace zoo::tokenizers {

/// A special token of the template (ids not empty), or the place of one of the texts.
struct TemplatePiece {
  std::vector<int64_t> ids;
  bool second_text = false;
  int64_t type_id = 0;
};

struct PostProcessor {
  std::vector<TemplatePiece> single = {{{}, false, 0}};
  std::vector<TemplatePiece> pair = {{{}, false, 0}, {{}, true, 1}};
  bool trim_offsets = false;     // byte-level: offsets leave out the spaces at a token's ends
  bool add_prefix_space = false;  // but the one space of a first token, which may be ours

  size_t special_tokens(bool is_pair) const;
  Encoding apply(const Encoding& first, const Encoding* second) const;
};

/// The BERT layout: [CLS] first [SEP], then second [SEP] of type 1.
PostProcessor bert_post_processor(int64_t cls, int64_t sep);

/// The RoBERTa layout: <s> first </s>, then </s> second </s>, all of type 0.
PostProcessor roberta_post_processor(int64_t cls, int64_t sep);

/// Builds the `post_processor` of a tokenizer.json. Throws std::runtime_error for a type or value it does
/// not know.
PostProcessor make_post_processor(const JsonField& part);

}  // namespace zoo::tokenizers
