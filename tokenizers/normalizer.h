// First stage of a tokenizer: rewrites the text (case, accents, Unicode form) before it is cut into words.
#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "tokenizers/aligned_text.h"
#include "tokenizers/charsmap.h"
#include "tokenizers/json_fields.h"

namespace zoo::tokenizers {

struct Normalizer {
  virtual ~Normalizer() = default;
  virtual void apply(AlignedText& text) const = 0;
};

/// A Replace of a literal text of at least one byte.
std::unique_ptr<Normalizer> replace_literal(const std::string& literal, const std::u32string& content);

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

/// Replaces every match.
struct Replace final : Normalizer {
  /// Appends the matches in `text`, in order; they do not overlap.
  std::function<void(std::string_view text, std::vector<Span>& matches)> find;
  std::u32string content;
  void apply(AlignedText& text) const override;
};

/// White space at the ends goes.
struct Strip final : Normalizer {
  bool left = true, right = true;
  void apply(AlignedText& text) const override;
};

/// Puts a text before every text that is not empty.
struct Prepend final : Normalizer {
  std::u32string content;
  void apply(AlignedText& text) const override;
};

/// Spells the bytes of the text in the byte alphabet (byte_alphabet.h).
struct SpellBytes final : Normalizer {
  void apply(AlignedText& text) const override;
};

/// Drops control characters and turns all kinds of white space into spaces.
struct Nmt final : Normalizer {
  void apply(AlignedText& text) const override;
};

/// Replaces characters by a table of SentencePiece, as the reference library does: of a grapheme of up to five bytes the
/// shortest entry that it starts with stands for all of it, longer graphemes go character by character.
struct Precompiled final : Normalizer {
  std::shared_ptr<const CharsMap> map;
  void apply(AlignedText& text) const override;
};

struct NormalizerSequence final : Normalizer {
  std::vector<std::unique_ptr<Normalizer>> steps;
  void apply(AlignedText& text) const override;
};

}  // namespace zoo::tokenizers
