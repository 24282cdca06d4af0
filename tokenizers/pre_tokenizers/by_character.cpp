// Pre-tokenizers that look at one character at a time: each belongs to a class, and words end where the
// class changes.
#include <array>

#include "tokenizers/pre_tokenizer.h"
#include "tokenizers/unicode.h"
#include "tokenizers/utf8.h"

namespace zoo::tokenizers {
namespace by_character_detail {

enum class CharClass : uint8_t { gap, word, symbols, alone };  // gap is dropped; alone is a word by itself

CharClass bert_class(char32_t c) {
  if (has_property(c, kSpace)) return CharClass::gap;
  return has_property(c, kPunctuation) ? CharClass::alone : CharClass::word;
}

CharClass regex_class(char32_t c) {
  if (has_property(c, kSpace)) return CharClass::gap;
  return has_property(c, kWord) ? CharClass::word : CharClass::symbols;
}

CharClass space_class(char32_t c) { return has_property(c, kSpace) ? CharClass::gap : CharClass::word; }

using Classify = CharClass (*)(char32_t);

void split(Pieces& pieces, Classify classify) {
  std::array<CharClass, 128> ascii;
  for (char32_t c = 0; c < ascii.size(); ++c) ascii[c] = classify(c);
  const std::string& text = pieces.text.text();
  std::vector<Span> words;
  words.reserve(pieces.spans.size() + text.size() / 6);
  for (const auto& span : pieces.spans) {
    CharClass previous = CharClass::gap;
    for (size_t i = span.begin; i < span.end;) {
      const auto byte = static_cast<uint8_t>(text[i]);
      const auto c = byte < 128 ? DecodedChar{byte, 1, true} : decode_char(text, i);
      const CharClass now = byte < 128 ? ascii[byte] : classify(c.code_point);
      if (now != CharClass::gap) {
        const bool continues = now == previous && now != CharClass::alone;
        if (continues) words.back().end = i + c.bytes;
        else words.push_back({i, i + c.bytes});
      }
      previous = now;
      i += c.bytes;
    }
  }
  pieces.spans = std::move(words);
}

}  // namespace by_character_detail

void BertPreTokenizer::apply(Pieces& pieces) const {
  by_character_detail::split(pieces, by_character_detail::bert_class);
}

void Whitespace::apply(Pieces& pieces) const {
  by_character_detail::split(pieces, by_character_detail::regex_class);
}

void WhitespaceSplit::apply(Pieces& pieces) const {
  by_character_detail::split(pieces, by_character_detail::space_class);
}

}  // namespace zoo::tokenizers
