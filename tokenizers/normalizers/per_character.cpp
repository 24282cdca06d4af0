#include <algorithm>

#include "tokenizers/normalizer.h"
#include "tokenizers/unicode.h"
#include "tokenizers/utf8.h"

namespace zoo::tokenizers {

void Lowercase::apply(AlignedText& text) const {
  if (is_ascii(text.text())) {  // every byte stays where it is
    for (char& c : text.edit_bytes())
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
    return;
  }
  AlignedChars out;
  for (const auto& x : text.chars()) {
    if (!has_property(x.c, kHasLower)) {
      out.push_back(x);
      continue;
    }
    for (const char32_t c : lower(x.c)) out.push_back({c, x.begin, x.end});
  }
  text.assign(out);
}

void StripAccents::apply(AlignedText& text) const {
  if (is_ascii(text.text())) return;
  AlignedChars chars = text.chars();
  std::erase_if(chars, [](const AlignedChar& x) { return has_property(x.c, kCombiningMark); });
  text.assign(chars);
}

void Strip::apply(AlignedText& text) const {
  AlignedChars chars = text.chars();
  const auto is_text = [](const AlignedChar& x) { return !has_property(x.c, kSpace); };
  if (right) chars.erase(std::find_if(chars.rbegin(), chars.rend(), is_text).base(), chars.end());
  if (left) chars.erase(chars.begin(), std::find_if(chars.begin(), chars.end(), is_text));
  text.assign(chars);
}

void Nmt::apply(AlignedText& text) const {
  const auto is_control = [](char32_t c) {
    return (c >= 0x1 && c <= 0x8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F;
  };
  const auto is_space = [](char32_t c) {
    return c == 0x9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 || (c >= 0x200B && c <= 0x200F) || c == 0x2028 ||
           c == 0x2029 || c == 0x2581 || c == 0xFEFF || c == 0xFFFD;
  };
  AlignedChars chars = text.chars();
  std::erase_if(chars, [&](const AlignedChar& x) { return is_control(x.c); });
  for (auto& x : chars)
    if (is_space(x.c)) x.c = ' ';
  text.assign(chars);
}

}  // namespace zoo::tokenizers
