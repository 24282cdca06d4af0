// Second stage: cuts the normalized text into words, which the model then splits further on its own.
#pragma once

#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "tokenizers/aligned_text.h"
#include "tokenizers/json_fields.h"

namespace zoo::tokenizers {

/// A text and the pieces of it that are words so far, in order; what lies between them is dropped.
struct Pieces {
  AlignedText text;
  std::vector<Span> spans;
};

struct PreTokenizer {
  virtual ~PreTokenizer() = default;
  virtual void apply(Pieces& pieces) const = 0;
};

/// Builds the `pre_tokenizer` of a tokenizer.json. Throws std::runtime_error for a type it does not know.
std::unique_ptr<PreTokenizer> make_pre_tokenizer(const JsonField& part);

/// Also builds a Metaspace decoder, which has the same fields.
std::unique_ptr<struct Metaspace> make_metaspace(const JsonField& part);

/// At white space, which goes, and around each punctuation character, which stays as a word of its own.
struct BertPreTokenizer final : PreTokenizer {
  void apply(Pieces& pieces) const override;
};

/// \w+|[^\w\s]+
struct Whitespace final : PreTokenizer {
  void apply(Pieces& pieces) const override;
};

struct WhitespaceSplit final : PreTokenizer {
  void apply(Pieces& pieces) const override;
};

/// Splits as GPT-2 does (words with the space before them, numbers, symbols, white space) and spells the bytes of each
/// word in the byte alphabet, unless the model works on plain text.
struct ByteLevel final : PreTokenizer {
  bool add_prefix_space = true;  // before each piece that has none
  bool use_regex = true;         // else only the spelling
  bool spell = true;
  void apply(Pieces& pieces) const override;
};

/// Spaces become a visible mark, U+2581, and words start at one.
struct Metaspace final : PreTokenizer {
  enum class Prepend { always, first, never };  // a mark at the start of each piece; of the text; of none
  char32_t replacement = 0x2581;
  Prepend prepend = Prepend::always;
  bool split = true;
  void apply(Pieces& pieces) const override;
};

/// What becomes of the text that separates.
enum class Delimiter { removed, isolated, merged_with_previous, merged_with_next, contiguous };

/// Cuts at whatever `find` finds in a piece.
struct Split final : PreTokenizer {
  /// Appends the matches in `text`, in order; they do not overlap.
  using Find = std::function<void(std::string_view text, std::vector<Span>& matches)>;
  Find find;
  Delimiter delimiter = Delimiter::removed;
  bool invert = false;  // what is found are the words, the rest separates
  void apply(Pieces& pieces) const override;
};

/// So many characters a word.
struct FixedLength final : PreTokenizer {
  size_t length = 5;
  void apply(Pieces& pieces) const override;
};

struct PreTokenizerSequence final : PreTokenizer {
  std::vector<std::unique_ptr<PreTokenizer>> steps;
  void apply(Pieces& pieces) const override;
};

}  // namespace zoo::tokenizers
