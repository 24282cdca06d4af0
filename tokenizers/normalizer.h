// First stage of a tokenizer: rewrites the text (case, accents, Unicode form) before it is cut into words.
#pragma once

#include <memory>

#include "tokenizers/aligned_text.h"
#include "tokenizers/json_fields.h"

namespace zoo::tokenizers {

struct Normalizer {
  virtual ~Normalizer() = default;
  virtual void apply(AlignedText& text) const = 0;
};

/// Builds the `normalizer` of a tokenizer.json. Throws std::runtime_error for a type or value it does not
/// know.
std::unique_ptr<Normalizer> make_normalizer(const JsonField& part);

/// BERT's cleaning: no control characters, one kind of space, spaces around CJK ideographs, accents and case
/// removed.
struct BertNormalizer final : Normalizer {
  bool clean_text = true;
  bool handle_chinese_chars = true;
  bool strip_accents = true;
  bool lowercase = true;
  void apply(AlignedText& text) const override;
};

/// Lower-cases each character on its own: no context, so a final sigma stays an ordinary one.
struct Lowercase final : Normalizer {
  void apply(AlignedText& text) const override;
};

/// Removes combining marks; decomposes nothing (put NFD before it).
struct StripAccents final : Normalizer {
  void apply(AlignedText& text) const override;
};

struct UnicodeForm final : Normalizer {
  bool compatibility = false;  // the K forms
  bool composed = false;       // the C forms
  void apply(AlignedText& text) const override;
};

/// Replaces every occurrence of a literal text.
struct Replace final : Normalizer {
  std::u32string pattern;
  std::u32string content;
  void apply(AlignedText& text) const override;
};

struct NormalizerSequence final : Normalizer {
  std::vector<std::unique_ptr<Normalizer>> steps;
  void apply(AlignedText& text) const override;
};

}  // namespace zoo::tokenizers
