// NFD, NFC, NFKD, NFKC (Unicode Standard Annex #15) with the reference's bookkeeping of where each character
// came from.
#include <algorithm>

#include "tokenizers/normalizer.h"
#include "tokenizers/unicode.h"
#include "tokenizers/utf8.h"

namespace zoo::tokenizers {
namespace unicode_form_detail {

struct Part {
  CharChange change;
  uint8_t combining;
};

/// Full decomposition in canonical order: runs of combining marks sorted by class, equal classes in text
/// order.
std::vector<Part> decomposed(const AlignedChars& chars, bool compatibility) {
  std::vector<Part> out;
  out.reserve(chars.size());
  for (const auto& x : chars) {
    int change = 0;
    if (x.c < 0xA0) {
      out.push_back({{x.c, 0}, 0});
      continue;
    }
    for (const char32_t c : decompose(x.c, compatibility)) {
      out.push_back({{c, change}, combining_class(c)});
      change = 1;
    }
  }
  for (auto run = out.begin(); run != out.end();) {
    const auto is_mark = [](const Part& part) { return part.combining != 0; };
    run = std::find_if(run, out.end(), is_mark);
    const auto end = std::find_if_not(run, out.end(), is_mark);
    std::stable_sort(run, end, [](const Part& a, const Part& b) { return a.combining < b.combining; });
    run = end;
  }
  return out;
}

/// Canonical composition: a mark joins the last starter unless a mark of its own or a higher class stands
/// between them.
std::vector<CharChange> composed_changes(const std::vector<Part>& parts) {
  std::vector<CharChange> out;
  size_t starter = 0;  // index into out
  bool has_starter = false;
  int last_class = -1;  // of the marks kept since the starter; -1: none
  for (const auto& [change, combining] : parts) {
    const bool blocked = last_class >= static_cast<int>(combining);
    if (has_starter && !blocked) {
      if (const char32_t c = compose(out[starter].c, change.c)) {
        out[starter] = {c, out[starter].change + change.change - 1};
        continue;
      }
    }
    out.push_back(change);
    if (combining == 0) {
      starter = out.size() - 1;
      has_starter = true;
      last_class = -1;
    } else {
      last_class = combining;
    }
  }
  return out;
}

}  // namespace unicode_form_detail

void UnicodeForm::apply(AlignedText& text) const {
  if (is_ascii(text.text())) return;
  const AlignedChars chars = text.chars();
  const auto parts = unicode_form_detail::decomposed(chars, compatibility);
  std::vector<CharChange> changes;
  if (composed) {
    changes = unicode_form_detail::composed_changes(parts);
  } else {
    changes.reserve(parts.size());
    for (const auto& part : parts) changes.push_back(part.change);
  }
  text.assign(apply_changes(chars, changes));
}

}  // namespace zoo::tokenizers
