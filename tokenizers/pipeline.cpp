#include "tokenizers/pipeline.h"

#include <algorithm>
#include <stdexcept>

#include "tokenizers/byte_alphabet.h"
#include "tokenizers/unicode.h"
#include "tokenizers/utf8.h"

namespace zoo::tokenizers {
namespace pipeline_detail {

template <typename Values>
void keep(Values& values, size_t begin, size_t end) {
  values.resize(end);
  values.erase(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(begin));
}

void keep(Encoding& text, size_t begin, size_t end) {
  keep(text.ids, begin, end);
  keep(text.special, begin, end);
  keep(text.offsets, begin, end);
  keep(text.word_ids, begin, end);
}

void shorten(Encoding& text, size_t length, bool left) {
  const size_t size = text.ids.size();
  if (size <= length) return;
  keep(text, left ? size - length : 0, left ? size : length);
}

/// Longest first, as the reference does it: the shorter text stays whole while the longer one fits beside
/// it, else both get half, the longer one the odd token.
std::pair<size_t, size_t> shared_lengths(size_t first, size_t second, size_t room) {
  const bool swapped = first > second;
  size_t shorter = std::min(first, second), longer = shorter;
  if (shorter <= room) longer = std::max(shorter, room - shorter);
  if (shorter + longer > room) {
    shorter = room / 2;
    longer = room - shorter;
  }
  return swapped ? std::pair(longer, shorter) : std::pair(shorter, longer);
}

void truncate(Encoding& first, Encoding* second, size_t room, bool left) {
  if (first.ids.size() + (second ? second->ids.size() : 0) <= room) return;
  if (!second) return shorten(first, room, left);
  const auto [keep_first, keep_second] = shared_lengths(first.ids.size(), second->ids.size(), room);
  shorten(first, keep_first, left);
  shorten(*second, keep_second, left);
}

/// Begin and end of the windows over `tokens`, in the reference's order: from the side that is kept first.
std::vector<Span> windows(size_t tokens, size_t length, size_t stride, bool left) {
  std::vector<Span> out;
  if (tokens <= length) return {{0, tokens}};
  for (size_t done = 0;; done += length - stride) {
    const size_t end = std::min(done + length, tokens);
    out.push_back(left ? Span{tokens - end, tokens - done} : Span{done, end});
    if (end == tokens) return out;
  }
}

struct Edges {
  size_t leading, trailing;  // characters
};

/// Spaces at either end of a token's text.
template <typename IsSpace>
Edges edges_of(std::string_view piece, IsSpace is_space) {
  size_t run = 0, leading = 0;
  bool all = true;
  for (size_t i = 0; i < piece.size();) {
    const auto c = decode_char(piece, i);
    i += c.bytes;
    if (is_space(c.code_point)) {
      ++run;
      continue;
    }
    if (all) leading = run;
    all = false, run = 0;
  }
  return {all ? run : leading, run};
}

bool is_letter_or_space(char32_t c) {
  constexpr char32_t kSpaceLetter = 0x120;  // of the byte alphabet
  return c == kSpaceLetter || has_property(c, kSpace);
}

size_t forward(std::string_view text, size_t at, size_t characters, size_t limit) {
  while (characters > 0 && at < limit) {
    at += decode_char(text, at).bytes;
    --characters;
  }
  return std::min(at, limit);
}

size_t backward(std::string_view text, size_t at, size_t characters, size_t limit) {
  for (; characters > 0 && at > limit; --characters) {
    do --at;
    while (at > limit && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80);
  }
  return at;
}

}  // namespace pipeline_detail

Tokenizer::~Tokenizer() = default;

Pipeline::Pipeline(Parts parts) : parts_(std::move(parts)) {
  pad_ = named(parts_.names.pad);
  unk_ = named(parts_.names.unk);
  cls_ = named(parts_.names.cls);
  sep_ = named(parts_.names.sep);
  mask_ = named(parts_.names.mask);
  bos_ = named(parts_.names.bos);
  eos_ = named(parts_.names.eos);
}

std::optional<int64_t> Pipeline::named(const std::string& name) const {
  if (name.empty()) return std::nullopt;
  return token_to_id(name);
}

/// `piece` is the part of the normalized text that became the token; `text` the whole input. Byte-level tokenizers leave
/// the space that a token starts with out of its offsets: by a count of characters, as the reference does, so that a space
/// which was never in the input takes a letter away instead.
void Pipeline::append(Encoding& out, std::string_view text, uint32_t id, Span source, std::string_view piece, bool added,
                      int64_t word) const {
  namespace detail = pipeline_detail;
  const auto& post = parts_.post_processor;
  if (post.trim_offsets) {
    const bool plain = parts_.on_bytes && !added;
    if (!plain || piece.front() == ' ' || piece.back() == ' ') {
      std::string name;
      if (!plain && !added) name = parts_.model->id_to_token(id).value_or("");
      detail::Edges edges = plain ? detail::edges_of(piece, [](char32_t c) { return c == ' '; })
                                  : detail::edges_of(added ? piece : std::string_view(name), detail::is_letter_or_space);
      const bool is_first = out.ids.empty() || source.begin == 0;
      if (is_first && post.add_prefix_space && edges.leading == 1) edges.leading = 0;
      source.begin = detail::forward(text, source.begin, edges.leading, source.end);
      source.end = detail::backward(text, source.end, edges.trailing, source.begin);
    }
  }
  out.ids.push_back(id);
  out.special.push_back(false);
  out.offsets.emplace_back(source.begin, source.end);
  out.word_ids.push_back(word);
}

/// Whether the character that token i is a byte of goes on in the next token. `begin`: of the word in `text`.
bool Pipeline::is_inner_byte(const std::vector<Token>& tokens, size_t i, const AlignedText& text, size_t begin) const {
  const auto is_byte = [&](const Token& token) { return token.id < parts_.byte_pieces.size() && parts_.byte_pieces[token.id]; };
  if (i + 1 >= tokens.size() || !is_byte(tokens[i]) || !is_byte(tokens[i + 1])) return false;
  const auto source = [&](const Token& token) { return text.source({begin + token.span.begin, begin + token.span.end}); };
  return source(tokens[i]) == source(tokens[i + 1]);
}

/// Stops after the word that brings the count to `enough` tokens (0: never); the rest would be truncated
/// anyway.
Encoding Pipeline::encode_one(std::string_view text, size_t enough) const {
  Encoding out;
  int64_t word = 0;
  std::vector<Token> tokens;
  for (auto& section : parts_.added.split(AlignedText(text), parts_.normalizer.get())) {
    if (section.text.empty()) continue;
    const size_t length = section.text.text().size();
    if (section.id) {
      append(out, text, *section.id, section.text.source({0, length}), section.text.text(), true, word++);
      continue;
    }
    Pieces pieces{std::move(section.text), {{0, length}}};
    if (parts_.pre_tokenizer) parts_.pre_tokenizer->apply(pieces);
    const std::string_view all = pieces.text.text();
    for (const auto& span : pieces.spans) {
      tokens.clear();
      parts_.model->tokenize(all.substr(span.begin, span.end - span.begin), tokens);
      for (size_t i = 0; i < tokens.size(); ++i) {
        const Span part{span.begin + tokens[i].span.begin, span.begin + tokens[i].span.end};
        Span source = pieces.text.source(part);
        if (!parts_.byte_pieces.empty() && is_inner_byte(tokens, i, pieces.text, span.begin)) source.end = source.begin;
        append(out, text, tokens[i].id, source, all.substr(part.begin, part.end - part.begin), false, word);
      }
      ++word;
      if (enough > 0 && out.ids.size() >= enough) return out;
    }
  }
  return out;
}

void Pipeline::check_room(size_t max_length, size_t special) const {
  if (max_length >= special) return;
  throw std::invalid_argument("tokenizer: max_length is " + std::to_string(max_length) + "; at least " + std::to_string(special) +
                              " are needed for the special tokens alone (0: no limit)");
}

Encoding Pipeline::encode(std::string_view text, std::optional<std::string_view> pair,
                          size_t max_length) const {
  const size_t special = parts_.post_processor.special_tokens(pair.has_value());
  if (max_length > 0) check_room(max_length, special);
  const size_t enough = parts_.truncate_left ? 0 : max_length;
  Encoding first = encode_one(text, enough);
  std::optional<Encoding> second;
  if (pair) second = encode_one(*pair, enough);
  Encoding* const other = second ? &*second : nullptr;
  if (max_length > 0) pipeline_detail::truncate(first, other, max_length - special, parts_.truncate_left);
  return parts_.post_processor.apply(first, other);
}

Encoding Pipeline::encode_bare(std::string_view text) const {
  Encoding out = encode_one(text, 0);
  out.type_ids.assign(out.ids.size(), 0);
  return out;
}

std::vector<Encoding> Pipeline::encode_windows(std::string_view text, std::optional<std::string_view> pair,
                                               const Truncation& truncation) const {
  namespace detail = pipeline_detail;
  const size_t special = parts_.post_processor.special_tokens(pair.has_value());
  check_room(truncation.max_length, special);
  const size_t room = truncation.max_length - special;
  Encoding first = encode_one(text, 0);
  std::optional<Encoding> second;
  if (pair) second = encode_one(*pair, 0);
  Encoding* const other = second ? &*second : nullptr;
  const size_t total = first.ids.size() + (other ? other->ids.size() : 0);
  const bool longest = truncation.strategy == Truncation::Strategy::longest_first;
  if (total <= room) return {parts_.post_processor.apply(first, other)};
  if (other && longest) {
    detail::truncate(first, other, room, truncation.left);
    return {parts_.post_processor.apply(first, other)};
  }
  const bool cut_second = truncation.strategy == Truncation::Strategy::only_second;
  if (cut_second && !other) throw std::invalid_argument("tokenizer: truncation only_second needs a second text");
  const Encoding whole = cut_second ? *other : first;
  const size_t fixed = total - whole.ids.size();
  if (fixed >= room || truncation.stride >= room - fixed) {
    throw std::invalid_argument("tokenizer: max_length " + std::to_string(truncation.max_length) + " leaves " +
                                std::to_string(room > fixed ? room - fixed : 0) + " tokens for a window beside the special tokens and the other text; more than the stride of " +
                                std::to_string(truncation.stride) + " are needed");
  }
  std::vector<Encoding> out;
  for (const auto& window : detail::windows(whole.ids.size(), room - fixed, truncation.stride, truncation.left)) {
    Encoding& target = cut_second ? *other : first;
    target = whole;
    detail::keep(target, window.begin, window.end);
    out.push_back(parts_.post_processor.apply(first, other));
  }
  return out;
}

std::string Pipeline::decode(const std::vector<int64_t>& ids, bool skip_special) const {
  std::vector<std::string> tokens;
  tokens.reserve(ids.size());
  for (const int64_t id : ids) {
    if (id < 0 || id > std::numeric_limits<uint32_t>::max()) continue;
    const auto known = static_cast<uint32_t>(id);
    const auto* added = parts_.added.decoded_form(known);
    auto token = added ? std::optional(*added) : parts_.model->id_to_token(known);
    if (!token || (skip_special && parts_.added.is_special(*token))) continue;
    tokens.push_back(std::move(*token));
  }
  return parts_.decoder->text(std::move(tokens));
}

std::optional<int64_t> Pipeline::token_to_id(std::string_view token) const {
  const auto added = parts_.added.find(std::string(token));
  const auto id = added ? added : parts_.model->token_to_id(token);
  return id ? std::optional<int64_t>(*id) : std::nullopt;
}

std::string Pipeline::id_to_token(int64_t id) const {
  if (id >= 0 && id <= std::numeric_limits<uint32_t>::max()) {
    const auto known = static_cast<uint32_t>(id);
    if (const auto* added = parts_.added.content(known)) return *added;
    if (const auto token = parts_.model->id_to_token(known)) return *token;
  }
  throw std::out_of_range("tokenizer: no token has the id " + std::to_string(id) + "; the vocabulary has " +
                          std::to_string(vocab_size()) + " tokens");
}

int64_t Pipeline::vocab_size() const {
  return static_cast<int64_t>(parts_.model->size() + parts_.added.count_outside(*parts_.model));
}

void pad(std::vector<Encoding>& batch, const Padding& padding) {
  size_t length = padding.length.value_or(0);
  if (!padding.length)
    for (const auto& encoding : batch) length = std::max(length, encoding.ids.size());
  if (padding.multiple_of > 0 && length % padding.multiple_of > 0) length += padding.multiple_of - length % padding.multiple_of;
  for (auto& encoding : batch) {
    if (encoding.ids.size() >= length) continue;
    const size_t missing = length - encoding.ids.size();
    const auto add = [&](auto& values, auto value) { values.insert(padding.left ? values.begin() : values.end(), missing, value); };
    add(encoding.ids, padding.id);
    add(encoding.type_ids, padding.type_id);
    add(encoding.special, true);
    add(encoding.offsets, std::pair<size_t, size_t>(0, 0));
    add(encoding.word_ids, int64_t{-1});
  }
}

}  // namespace zoo::tokenizers
