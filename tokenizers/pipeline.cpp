#include "tokenizers/pipeline.h"

#include <algorithm>
#include <stdexcept>

namespace zoo::tokenizers {
namespace pipeline_detail {

void shorten(Encoding& text, size_t length) {
  if (text.ids.size() <= length) return;
  text.ids.resize(length);
  text.special.resize(length);
  text.offsets.resize(length);
  text.word_ids.resize(length);
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

void truncate(Encoding& first, Encoding* second, size_t room) {
  if (first.ids.size() + (second ? second->ids.size() : 0) <= room) return;
  if (!second) return shorten(first, room);
  const auto [keep_first, keep_second] = shared_lengths(first.ids.size(), second->ids.size(), room);
  shorten(first, keep_first);
  shorten(*second, keep_second);
}

void append(Encoding& out, uint32_t id, Span source, int64_t word) {
  out.ids.push_back(id);
  out.special.push_back(false);
  out.offsets.emplace_back(source.begin, source.end);
  out.word_ids.push_back(word);
}

}  // namespace pipeline_detail

Tokenizer::~Tokenizer() = default;

Pipeline::Pipeline(Parts parts) : parts_(std::move(parts)) {
  pad_ = named(parts_.names.pad);
  unk_ = named(parts_.names.unk);
  cls_ = named(parts_.names.cls);
  sep_ = named(parts_.names.sep);
  mask_ = named(parts_.names.mask);
}

std::optional<int64_t> Pipeline::named(const std::string& name) const {
  if (name.empty()) return std::nullopt;
  return token_to_id(name);
}

/// Stops after the word that brings the count to `enough` tokens (0: never); the rest would be truncated
/// anyway.
Encoding Pipeline::encode_one(std::string_view text, size_t enough) const {
  Encoding out;
  int64_t word = 0;
  std::vector<Token> tokens;
  for (auto& section : parts_.added.split(AlignedText(text), parts_.normalizer.get())) {
    if (section.text.empty()) continue;
    if (section.id) {
      pipeline_detail::append(out, *section.id, section.text.source({0, section.text.text().size()}),
                              word++);
      continue;
    }
    const size_t length = section.text.text().size();
    Pieces pieces{std::move(section.text), {{0, length}}};
    if (parts_.pre_tokenizer) parts_.pre_tokenizer->apply(pieces);
    const std::string_view all = pieces.text.text();
    for (const auto& span : pieces.spans) {
      tokens.clear();
      parts_.model->tokenize(all.substr(span.begin, span.end - span.begin), tokens);
      for (const auto& token : tokens) {
        const Span source = pieces.text.source({span.begin + token.span.begin, span.begin + token.span.end});
        pipeline_detail::append(out, token.id, source, word);
      }
      ++word;
      if (enough > 0 && out.ids.size() >= enough) return out;
    }
  }
  return out;
}

Encoding Pipeline::encode(std::string_view text, std::optional<std::string_view> pair,
                          size_t max_length) const {
  const size_t special = parts_.post_processor.special_tokens(pair.has_value());
  if (max_length > 0 && max_length < special) {
    throw std::invalid_argument("tokenizer: max_length is " + std::to_string(max_length) + "; at least " +
                                std::to_string(special) +
                                " are needed for the special tokens alone (0: no limit)");
  }
  Encoding first = encode_one(text, max_length);
  std::optional<Encoding> second;
  if (pair) second = encode_one(*pair, max_length);
  Encoding* const other = second ? &*second : nullptr;
  if (max_length > 0) pipeline_detail::truncate(first, other, max_length - special);
  return parts_.post_processor.apply(first, other);
}

std::string Pipeline::decode(const std::vector<int64_t>& ids, bool skip_special) const {
  std::vector<std::string> tokens;
  tokens.reserve(ids.size());
  for (const int64_t id : ids) {
    if (id < 0 || id > std::numeric_limits<uint32_t>::max()) continue;
    const auto known = static_cast<uint32_t>(id);
    const auto* added = parts_.added.decoded_form(known);
    const auto token = added ? std::optional(*added) : parts_.model->id_to_token(known);
    if (!token || (skip_special && parts_.added.is_special(*token))) continue;
    tokens.push_back(*token);
  }
  return parts_.decoder->apply(tokens);
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

}  // namespace zoo::tokenizers
