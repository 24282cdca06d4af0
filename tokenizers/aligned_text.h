// Text on its way through the normalizers that still knows which input bytes each of its characters came
// from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace zoo::tokenizers {

/// Half-open range of bytes.
struct Span {
  size_t begin = 0, end = 0;
  bool operator==(const Span&) const = default;
};

/// One character of the current text and the input bytes [begin, end) it stands for.
struct AlignedChar {
  char32_t c;
  uint32_t begin, end;
};
using AlignedChars = std::vector<AlignedChar>;

/// How a character of a new text relates to the old one, read in order: 0 replaces the next old character, 1
/// is inserted (and shares the alignment of the last old character read), -n replaces one and swallows the n
/// after it.
struct CharChange {
  char32_t c;
  int change;
};

/// Applies changes that cover all of `chars`, after skipping the first `skipped` of them.
AlignedChars apply_changes(const AlignedChars& chars, const std::vector<CharChange>& changes,
                           size_t skipped = 0);

class AlignedText {
 public:
  AlignedText() = default;
  /// Repairs malformed UTF-8. Throws std::invalid_argument for 4 GiB and more: alignments are 32 bits wide.
  explicit AlignedText(std::string_view input);

  const std::string& text() const { return text_; }
  bool empty() const { return text_.empty(); }
  /// Input bytes that text()[span] stands for; `span` is not empty. Part of a character stands for all of it.
  Span source(Span span) const;
  AlignedText slice(Span span) const;

  /// True while byte i of text() is byte i of the input (from an offset on): then edit_bytes may be used.
  bool is_verbatim() const { return align_.empty(); }
  /// For changes that keep every byte where it is.
  std::string& edit_bytes() { return text_; }

  AlignedChars chars() const;
  void assign(const AlignedChars& chars);

  /// For building a text from parts of another: append to an empty AlignedText that begin_parts() has prepared.
  void begin_parts(size_t bytes);
  void append_part(const AlignedText& from, Span span);
  void append_char(char32_t c, Span source);

 private:
  std::string text_;                                  // well-formed UTF-8
  std::vector<std::pair<uint32_t, uint32_t>> align_;  // per byte of text_; empty: verbatim
  size_t origin_ = 0;                                 // of a verbatim text in the input
};

}  // namespace zoo::tokenizers
