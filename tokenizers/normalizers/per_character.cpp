#include "tokenizers/normalizer.h"
#include "tokenizers/unicode.h"

namespace zoo::tokenizers {

void Lowercase::apply(AlignedText& text) const {
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
  AlignedChars chars = text.chars();
  std::erase_if(chars, [](const AlignedChar& x) { return has_property(x.c, kCombiningMark); });
  text.assign(chars);
}

}  // namespace zoo::tokenizers
