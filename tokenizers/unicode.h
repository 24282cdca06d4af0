// Properties of code points and Unicode normal forms, exactly as the reference `tokenizers` library sees
// them.
//
// The reference mixes Unicode versions (one per Rust crate), so the properties come from tables read off it
// (tests/reference/unicode_tables.py); decompositions come from utf8proc, less the code points too young for
// the reference.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace zoo::tokenizers {

enum CodePointProperty : uint16_t {
  kOther = 1,           // control, format, private use, unassigned (crate unicode_categories)
  kNonspacingMark = 2,  // category Mn (same crate): what BertNormalizer strips as an accent
  kCombiningMark = 4,   // what StripAccents removes
  kPunctuation = 8,     // ASCII punctuation and symbols, and category P*: BertPreTokenizer splits there
  kWord = 16,           // \w of the crate regex
  kSpace = 32,          // White_Space
  kHasLower = 64,       // differs from its lower-case form
  kNormalizationUnknown = 128,  // assigned after the Unicode version of the reference's normalization tables
  kNumeric = 256,      // category N*: where Digits splits (Rust's own tables)
  kLetter = 512,       // \p{L} of the reference's regular expressions (Oniguruma)
  kNumber = 1024,      // \p{N} there
  kRegexSpace = 2048   // \s there
};

bool has_property(char32_t c, CodePointProperty property);

/// Lower-case form of one code point without context. U+0130 gives "i" and U+0307, every other one a single
/// code point.
std::u32string lower(char32_t c);

/// Canonical combining class; 0 for a starter.
uint8_t combining_class(char32_t c);

/// Full canonical (NFD) or compatibility (NFKD) decomposition of one code point.
std::u32string decompose(char32_t c, bool compatibility);

/// The primary composite of two code points, or 0 when there is none.
char32_t compose(char32_t first, char32_t second);

/// Blocks that BERT sets apart, one ideograph a word.
bool is_cjk_ideograph(char32_t c);

}  // namespace zoo::tokenizers
