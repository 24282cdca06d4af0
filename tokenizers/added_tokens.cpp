#include "tokenizers/added_tokens.h"

#include <algorithm>

#include "tokenizers/unicode.h"
#include "tokenizers/utf8.h"

namespace zoo::tokenizers {
namespace added_tokens_detail {

char32_t char_before(std::string_view text, size_t end) {
  size_t begin = end - 1;
  while (begin > 0 && (static_cast<uint8_t>(text[begin]) & 0xC0) == 0x80) --begin;
  return decode_char(text, begin).code_point;
}

bool stands_alone(std::string_view text, Span span) {
  const bool left = span.begin == 0 || !has_property(char_before(text, span.begin), kWord);
  const bool right = span.end == text.size() || !has_property(decode_char(text, span.end).code_point, kWord);
  return left && right;
}

size_t without_space_before(std::string_view text, size_t begin) {
  while (begin > 0) {
    const char32_t c = char_before(text, begin);
    if (!has_property(c, kSpace)) break;
    std::string bytes;
    append_utf8(bytes, c);
    begin -= bytes.size();
  }
  return begin;
}

size_t without_space_after(std::string_view text, size_t end) {
  while (end < text.size()) {
    const auto c = decode_char(text, end);
    if (!has_property(c.code_point, kSpace)) break;
    end += c.bytes;
  }
  return end;
}

}  // namespace added_tokens_detail

void TextFinder::add(std::string pattern, uint32_t id) {
  if (pattern.empty()) return;
  auto& lengths = lengths_[static_cast<uint8_t>(pattern[0])];
  const auto place = std::lower_bound(lengths.begin(), lengths.end(), pattern.size(), std::greater<>());
  if (place == lengths.end() || *place != pattern.size()) lengths.insert(place, pattern.size());
  patterns_.emplace(std::move(pattern), id);
}

std::optional<TextFinder::Match> TextFinder::find(std::string_view text, size_t from) const {
  if (patterns_.empty()) return std::nullopt;
  for (size_t i = from; i < text.size(); ++i) {
    for (const size_t length : lengths_[static_cast<uint8_t>(text[i])]) {
      if (length > text.size() - i) continue;
      const auto found = patterns_.find(text.substr(i, length));
      if (found != patterns_.end()) return Match{{i, i + length}, found->second};
    }
  }
  return std::nullopt;
}

void AddedTokens::add(const AddedToken& token, const Model& model, const Normalizer* normalizer) {
  if (token.content.empty() || ids_.contains(token.content)) return;
  const auto in_model = model.token_to_id(token.content);
  const uint32_t id = in_model ? *in_model : std::max(first_free_, static_cast<uint32_t>(model.size()));
  first_free_ = std::max(first_free_, id + 1);
  ids_[token.content] = id;
  by_id_[id] = token;
  if (token.special) special_.insert(token.content);
  if (!token.normalized) {
    verbatim_.add(token.content, id);
    return;
  }
  AlignedText form(token.content);
  if (normalizer) normalizer->apply(form);
  normalized_form_[id] = form.text();
  normalized_.add(form.text(), id);
}

void AddedTokens::mark_special(const std::string& content, uint32_t id) {
  ids_[content] = id;
  by_id_[id] = {content, false, false, false, /*normalized=*/false, /*special=*/true};
  special_.insert(content);
}

void AddedTokens::cut(AlignedText text, const TextFinder& finder, std::vector<Section>& out) const {
  namespace detail = added_tokens_detail;
  const std::string_view all = text.text();
  size_t done = 0;
  for (auto match = finder.find(all, 0); match; match = finder.find(all, match->span.end)) {
    const auto& token = by_id_.at(match->id);
    Span span = match->span;
    if (token.single_word && !detail::stands_alone(all, span)) continue;
    if (token.lstrip) span.begin = std::max(detail::without_space_before(all, span.begin), done);
    if (token.rstrip) span.end = detail::without_space_after(all, span.end);
    if (done < span.begin) out.push_back({text.slice({done, span.begin}), std::nullopt});
    out.push_back({text.slice(span), match->id});
    done = span.end;
  }
  if (done == all.size()) return;
  if (done == 0) out.push_back({std::move(text), std::nullopt});
  else out.push_back({text.slice({done, all.size()}), std::nullopt});
}

std::vector<Section> AddedTokens::split(AlignedText text, const Normalizer* normalizer) const {
  std::vector<Section> verbatim, out;
  cut(std::move(text), verbatim_, verbatim);
  for (auto& section : verbatim) {
    if (section.id) {
      out.push_back(std::move(section));
      continue;
    }
    if (normalizer) normalizer->apply(section.text);
    cut(std::move(section.text), normalized_, out);
  }
  return out;
}

std::optional<uint32_t> AddedTokens::find(const std::string& content) const {
  const auto found = ids_.find(content);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

const std::string* AddedTokens::content(uint32_t id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : &found->second.content;
}

const std::string* AddedTokens::decoded_form(uint32_t id) const {
  const auto form = normalized_form_.find(id);
  return form == normalized_form_.end() ? content(id) : &form->second;
}

size_t AddedTokens::count_outside(const Model& model) const {
  return static_cast<size_t>(std::count_if(
      ids_.begin(), ids_.end(), [&](const auto& entry) { return !model.token_to_id(entry.first); }));
}

}  // namespace zoo::tokenizers
