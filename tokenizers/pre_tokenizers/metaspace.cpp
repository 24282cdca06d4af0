#include "tokenizers/pre_tokenizer.h"
#include "tokenizers/utf8.h"

namespace zoo::tokenizers {
namespace metaspace_detail {

/// Words of [begin, end): a new one starts at each mark.
void cut_at_marks(std::string_view text, std::string_view mark, size_t begin, size_t end, std::vector<Span>& words) {
  size_t start = begin;
  for (size_t at = text.find(mark, begin + 1); at < end; at = text.find(mark, at + mark.size())) {
    if (at > start) words.push_back({start, at});
    start = at;
  }
  if (start < end) words.push_back({start, end});
}

}  // namespace metaspace_detail

void Metaspace::apply(Pieces& pieces) const {
  const std::string& text = pieces.text.text();
  std::string mark;
  append_utf8(mark, replacement);
  AlignedText out;
  out.begin_parts(text.size() + 3 * pieces.spans.size() + text.size() / 2);
  std::vector<Span> words;
  words.reserve(pieces.spans.size());
  for (const auto& span : pieces.spans) {
    const size_t begin = out.text().size();
    const Span first = pieces.text.source({span.begin, span.begin + decode_char(text, span.begin).bytes});
    const bool marked = text[span.begin] == ' ' || std::string_view(text).substr(span.begin, span.end - span.begin).starts_with(mark);
    if (!marked && (prepend == Prepend::always || (prepend == Prepend::first && first.begin == 0)))
      out.append_char(replacement, first);
    for (size_t i = span.begin; i < span.end;) {
      const size_t space = std::min(text.find(' ', i), span.end);
      if (space > i) out.append_part(pieces.text, {i, space});
      if (space < span.end) out.append_char(replacement, pieces.text.source({space, space + 1}));
      i = space + 1;
    }
    if (split) metaspace_detail::cut_at_marks(out.text(), mark, begin, out.text().size(), words);
    else words.push_back({begin, out.text().size()});
  }
  pieces.text = std::move(out);
  pieces.spans = std::move(words);
}

}  // namespace zoo::tokenizers
