#include <utf8proc.h>

#include <algorithm>

#include "tokenizers/normalizer.h"
#include "tokenizers/utf8.h"

namespace zoo::tokenizers {
namespace precompiled_detail {

constexpr size_t kLongestWhole = 5;  // bytes of a grapheme that is looked up as one

struct Letter {
  char32_t c;
  size_t bytes;
};

/// The characters of the grapheme that starts at `begin`.
size_t grapheme(std::string_view text, size_t begin, std::vector<Letter>& letters) {
  letters.clear();
  utf8proc_int32_t state = 0;
  for (size_t i = begin; i < text.size();) {
    const auto c = decode_char(text, i);
    if (!letters.empty()) {
      const bool plain = letters.back().c < 0x80 && c.code_point < 0x80 && letters.back().c != '\r';
      if (plain || utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(letters.back().c),
                                                    static_cast<utf8proc_int32_t>(c.code_point), &state))
        return i;
    }
    letters.push_back({c.code_point, c.bytes});
    i += c.bytes;
  }
  return text.size();
}

/// Puts `by` in place of `old_count` characters. What goes without a replacement goes with the character before it, and
/// at the very start of a text is not accounted for: alignments then are the reference's, if not the truth.
void put(std::vector<CharChange>& changes, int old_count, std::string_view by) {
  const size_t first = changes.size();
  for (size_t i = 0; i < by.size();) {
    const auto c = decode_char(by, i);
    changes.push_back({c.code_point, 0});
    i += c.bytes;
  }
  const int more = static_cast<int>(changes.size() - first) - old_count;
  for (int i = 0; i < more; ++i) changes[changes.size() - 1 - static_cast<size_t>(i)].change = 1;
  if (more < 0 && !changes.empty()) changes.back().change += more;
}

bool is_plain(const CharsMap& map, const std::string& text) {
  return std::all_of(text.begin(), text.end(), [&](char c) { return static_cast<uint8_t>(c) < 0x80 && map.leaves_alone(c); });
}

}  // namespace precompiled_detail

void Precompiled::apply(AlignedText& text) const {
  namespace detail = precompiled_detail;
  const std::string& all = text.text();
  if (detail::is_plain(*map, all)) return;
  std::vector<CharChange> changes;
  changes.reserve(all.size());
  std::vector<detail::Letter> letters;
  bool modified = false;
  for (size_t begin = 0; begin < all.size();) {
    const size_t end = detail::grapheme(all, begin, letters);
    if (end - begin <= detail::kLongestWhole) {
      if (const auto match = map->shortest(std::string_view(all).substr(begin, end - begin))) {
        detail::put(changes, static_cast<int>(letters.size()), match->by);
        modified = true;
        begin = end;
        continue;
      }
    }
    for (const auto& letter : letters) {
      if (const auto match = map->shortest(std::string_view(all).substr(begin, letter.bytes))) {
        detail::put(changes, 1, match->by);
        modified = true;
      } else {
        changes.push_back({letter.c, 0});
      }
      begin += letter.bytes;
    }
  }
  if (modified) text.assign(apply_changes(text.chars(), changes));
}

}  // namespace zoo::tokenizers
