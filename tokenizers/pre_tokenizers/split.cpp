#include "tokenizers/pre_tokenizer.h"
#include "tokenizers/utf8.h"

namespace zoo::tokenizers {
namespace split_detail {

struct Part {
  Span span;
  bool delimiter;
};

/// Matches and what lies between them, together the whole text.
std::vector<Part> parts_of(std::string_view text, const std::vector<Span>& matches, bool invert) {
  std::vector<Part> parts;
  size_t done = 0;
  for (const auto& match : matches) {
    if (done < match.begin) parts.push_back({{done, match.begin}, invert});
    parts.push_back({match, !invert});
    done = match.end;
  }
  if (done < text.size()) parts.push_back({{done, text.size()}, invert});
  return parts;
}

/// Neighbours of one kind are one.
void join_alike(std::vector<Part>& parts) {
  std::vector<Part> out;
  bool previous = false;
  for (const auto& part : parts) {
    if (part.delimiter == previous && !out.empty()) out.back().span.end = part.span.end;
    else out.push_back(part);
    previous = part.delimiter;
  }
  parts = std::move(out);
}

void join_to_previous(std::vector<Part>& parts) {
  std::vector<Part> out;
  bool previous = false;
  for (const auto& part : parts) {
    if (part.delimiter && !previous && !out.empty()) out.back().span.end = part.span.end;
    else out.push_back(part);
    previous = part.delimiter;
  }
  parts = std::move(out);
}

void join_to_next(std::vector<Part>& parts) {
  std::vector<Part> out;
  bool previous = false;
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
    if (part->delimiter && !previous && !out.empty()) out.back().span.begin = part->span.begin;
    else out.push_back(*part);
    previous = part->delimiter;
  }
  parts.assign(out.rbegin(), out.rend());
}

}  // namespace split_detail

void Split::apply(Pieces& pieces) const {
  namespace detail = split_detail;
  const std::string_view text = pieces.text.text();
  std::vector<Span> words, matches;
  words.reserve(pieces.spans.size());
  for (const auto& span : pieces.spans) {
    const auto piece = text.substr(span.begin, span.end - span.begin);
    matches.clear();
    find(piece, matches);
    auto parts = detail::parts_of(piece, matches, invert);
    if (delimiter == Delimiter::contiguous) detail::join_alike(parts);
    if (delimiter == Delimiter::merged_with_previous) detail::join_to_previous(parts);
    if (delimiter == Delimiter::merged_with_next) detail::join_to_next(parts);
    for (const auto& part : parts) {
      if (delimiter == Delimiter::removed && part.delimiter) continue;
      if (part.span.begin < part.span.end) words.push_back({span.begin + part.span.begin, span.begin + part.span.end});
    }
  }
  pieces.spans = std::move(words);
}

void FixedLength::apply(Pieces& pieces) const {
  const std::string_view text = pieces.text.text();
  std::vector<Span> words;
  for (const auto& span : pieces.spans) {
    size_t begin = span.begin, count = 0;
    for (size_t i = span.begin; i < span.end;) {
      i += decode_char(text, i).bytes;
      if (++count < length && i < span.end) continue;
      words.push_back({begin, i});
      begin = i, count = 0;
    }
  }
  pieces.spans = std::move(words);
}

}  // namespace zoo::tokenizers
