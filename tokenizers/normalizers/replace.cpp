#include <algorithm>

#include "tokenizers/normalizer.h"

namespace zoo::tokenizers {

void Replace::apply(AlignedText& text) const {
  const AlignedChars chars = text.chars();
  const auto same = [](const AlignedChar& x, char32_t c) { return x.c == c; };
  AlignedChars out;
  for (auto at = chars.begin(); at != chars.end();) {
    const auto found = std::search(at, chars.end(), pattern.begin(), pattern.end(), same);
    out.insert(out.end(), at, found);
    if (found == chars.end()) break;
    at = found + static_cast<std::ptrdiff_t>(pattern.size());
    const auto& last =
        *std::prev(at);  // the reference aligns all of the content with the last character replaced
    for (const char32_t c : content) out.push_back({c, last.begin, last.end});
  }
  text.assign(out);
}

}  // namespace zoo::tokenizers
