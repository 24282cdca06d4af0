#include <stdexcept>
#include <string>

#include "tokenizers/byte_alphabet.h"
#include "tokenizers/normalizer.h"
#include "tokenizers/utf8.h"

namespace zoo::tokenizers {
namespace replace_detail {

/// The reference aligns all that is put in with the last character before it, replaced or not.
Span source_before(const AlignedText& text, size_t at) {
  if (at == 0) return {0, 0};
  return text.source({at - 1, at});
}

/// A file may not blow texts up: a chain of replacements that each double what they find fills any memory.
void check_growth(const AlignedText& text, size_t added) {
  constexpr size_t kMostTimes = 64, kAlwaysFine = 1 << 20;
  const size_t size = text.text().size(), input = text.source({size - 1, size}).end;
  if (size + added <= kMostTimes * input + kAlwaysFine) return;
  throw std::runtime_error("tokenizer: the normalizer Replace would make more than " + std::to_string(added) + " characters of a text of " +
                           std::to_string(input) + " bytes; at most " + std::to_string(kMostTimes) + " times its length is accepted");
}

}  // namespace replace_detail

void Replace::apply(AlignedText& text) const {
  std::vector<Span> matches;
  find(text.text(), matches);
  if (matches.empty()) return;
  replace_detail::check_growth(text, matches.size() * content.size());
  AlignedText out;
  out.begin_parts(text.text().size());
  size_t done = 0;
  for (const auto& match : matches) {
    if (match.begin > done) out.append_part(text, {done, match.begin});
    for (const char32_t c : content) out.append_char(c, replace_detail::source_before(text, match.end));
    done = match.end;
  }
  if (done < text.text().size()) out.append_part(text, {done, text.text().size()});
  text = std::move(out);
}

void Prepend::apply(AlignedText& text) const {
  if (text.empty()) return;
  AlignedText out;
  out.begin_parts(text.text().size() + content.size());
  const Span first = text.source({0, decode_char(text.text(), 0).bytes});
  for (const char32_t c : content) out.append_char(c, first);
  out.append_part(text, {0, text.text().size()});
  text = std::move(out);
}

void SpellBytes::apply(AlignedText& text) const {
  AlignedText out;
  out.begin_parts(text.text().size() * 2);
  for (size_t i = 0; i < text.text().size(); ++i)
    out.append_char(byte_to_letter(static_cast<uint8_t>(text.text()[i])), text.source({i, i + 1}));
  text = std::move(out);
}

}  // namespace zoo::tokenizers
