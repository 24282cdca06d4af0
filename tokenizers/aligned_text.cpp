#include "tokenizers/aligned_text.h"

#include <algorithm>
#include <limits>
#include <stdexcept>

#include "tokenizers/utf8.h"

namespace zoo::tokenizers {

AlignedChars apply_changes(const AlignedChars& chars, const std::vector<CharChange>& changes,
                           size_t skipped) {
  AlignedChars out;
  out.reserve(changes.size());
  size_t read = skipped;  // old characters consumed so far
  for (const auto& [c, change] : changes) {
    if (change > 0) {
      const bool first = read == 0;
      out.push_back({c, first ? 0 : chars[read - 1].begin, first ? 0 : chars[read - 1].end});
    } else {
      const auto& old = chars.at(read);
      out.push_back({c, old.begin, old.end});
      read += 1 + static_cast<size_t>(-change);
    }
  }
  return out;
}

AlignedText::AlignedText(std::string_view input) {
  if (input.size() >= std::numeric_limits<uint32_t>::max()) {
    throw std::invalid_argument("tokenizer: text has " + std::to_string(input.size()) +
                                " bytes; at most 4294967294 fit (split the text)");
  }
  if (is_valid_utf8(input)) {
    text_ = input;
    return;
  }
  AlignedChars chars;
  for (size_t i = 0; i < input.size();) {
    const auto c = decode_char(input, i);
    chars.push_back({c.code_point, static_cast<uint32_t>(i), static_cast<uint32_t>(i + c.bytes)});
    i += c.bytes;
  }
  assign(chars);
}

Span AlignedText::source(Span span) const {
  if (is_verbatim()) {
    const auto inside = [&](size_t at) { return at < text_.size() && (static_cast<uint8_t>(text_[at]) & 0xC0) == 0x80; };
    while (inside(span.begin)) --span.begin;
    while (inside(span.end)) ++span.end;
    return {origin_ + span.begin, origin_ + span.end};
  }
  return {align_[span.begin].first, align_[span.end - 1].second};
}

AlignedText AlignedText::slice(Span span) const {
  AlignedText part;
  part.text_ = text_.substr(span.begin, span.end - span.begin);
  part.origin_ = origin_ + span.begin;
  if (!is_verbatim()) part.align_.assign(align_.begin() + span.begin, align_.begin() + span.end);
  return part;
}

AlignedChars AlignedText::chars() const {
  AlignedChars out;
  out.reserve(text_.size());
  for (size_t i = 0; i < text_.size();) {
    const auto c = decode_char(text_, i);
    const Span from = source({i, i + c.bytes});
    out.push_back({c.code_point, static_cast<uint32_t>(from.begin), static_cast<uint32_t>(from.end)});
    i += c.bytes;
  }
  return out;
}

void AlignedText::assign(const AlignedChars& chars) {
  text_.clear();
  align_.clear();
  text_.reserve(chars.size());
  align_.reserve(chars.size());
  for (const auto& [c, begin, end] : chars) {
    append_utf8(text_, c);
    align_.resize(text_.size(), {begin, end});
  }
}

void AlignedText::begin_parts(size_t bytes) {
  text_.clear();
  align_.clear();
  text_.reserve(bytes);
  align_.reserve(bytes);
}

void AlignedText::append_part(const AlignedText& from, Span span) {
  text_.append(from.text_, span.begin, span.end - span.begin);
  if (!from.is_verbatim()) {
    align_.insert(align_.end(), from.align_.begin() + static_cast<std::ptrdiff_t>(span.begin),
                  from.align_.begin() + static_cast<std::ptrdiff_t>(span.end));
    return;
  }
  for (size_t i = span.begin; i < span.end;) {
    const size_t bytes = static_cast<uint8_t>(from.text_[i]) < 0x80 ? 1 : decode_char(from.text_, i).bytes;
    const auto begin = static_cast<uint32_t>(from.origin_ + i);
    align_.resize(align_.size() + bytes, {begin, begin + static_cast<uint32_t>(bytes)});
    i += bytes;
  }
}

void AlignedText::append_char(char32_t c, Span source) {
  append_utf8(text_, c);
  align_.resize(text_.size(), {static_cast<uint32_t>(source.begin), static_cast<uint32_t>(source.end)});
}

}  // namespace zoo::tokenizers
