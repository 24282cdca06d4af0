#include "tokenizers/unigram.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <stdexcept>

#include "tokenizers/utf8.h"

namespace zoo::tokenizers {
namespace unigram_detail {

constexpr double kUnknownPenalty = 10;  // below the least probable piece, as in SentencePiece
constexpr uint32_t kNowhere = 0xFFFFFFFF;
constexpr double kRebase = 100'000;  // beyond it SentencePiece counts from 0 again, so as not to lose digits

/// The best way to cut the text up to a place.
struct Best {
  double score;
  uint32_t id;
  uint32_t from;  // where its last piece starts; kNowhere: not reached yet
};

std::vector<std::pair<std::string, uint32_t>> numbered(const std::vector<Unigram::Piece>& pieces) {
  std::vector<std::pair<std::string, uint32_t>> out;
  out.reserve(pieces.size());
  for (const auto& piece : pieces) out.emplace_back(piece.text, static_cast<uint32_t>(out.size()));
  return out;
}

void offer(Best& place, double score, uint32_t id, size_t from) {
  if (place.from != kNowhere && !(score > place.score)) return;
  place = {score, id, static_cast<uint32_t>(from)};
}

/// Takes the score at `here` from it and from all places already reached behind it, in single precision.
void count_from(std::vector<Best>& best, size_t here, size_t farthest) {
  const auto offset = static_cast<float>(best[here].score);
  for (size_t i = here; i <= farthest; ++i)
    if (i == here || best[i].from != kNowhere) best[i].score = static_cast<float>(best[i].score) - offset;
}

}  // namespace unigram_detail

Unigram::Unigram(std::vector<Piece> pieces, std::optional<uint32_t> unk_id, bool byte_fallback)
    : vocab_(unigram_detail::numbered(pieces)), unk_id_(unk_id), byte_fallback_(byte_fallback) {
  if (pieces.empty()) throw std::runtime_error("the vocabulary is empty; expected [[piece, score], ...]");
  if (unk_id && *unk_id >= pieces.size()) {
    throw std::runtime_error("unk_id is " + std::to_string(*unk_id) + "; the vocabulary has " + std::to_string(pieces.size()) + " pieces");
  }
  double lowest = std::numeric_limits<double>::infinity();
  for (const auto& piece : pieces) {
    if (!std::isfinite(piece.score)) throw std::runtime_error("the score of \"" + piece.text + "\" is not a finite number");
    if (piece.rates_unknown) lowest = std::min(lowest, piece.score);
    scores_.push_back(piece.score);
  }
  unknown_score_ = (std::isfinite(lowest) ? lowest : 0) - unigram_detail::kUnknownPenalty;
  std::vector<std::pair<std::string_view, uint32_t>> entries;
  entries.reserve(pieces.size());
  for (const auto& [text, id] : vocab_.tokens())
    if (pieces[id].in_text) entries.emplace_back(text, id);
  trie_ = ByteTrie(std::move(entries));
  if (!byte_fallback) return;
  for (int byte = 0; byte < 256; ++byte) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", byte);
    byte_ids_.push_back(vocab_.find(name).value_or(unigram_detail::kNowhere));
  }
}

void Unigram::append_unknown(std::string_view word, Span span, std::vector<Token>& out) const {
  const auto text = word.substr(span.begin, span.end - span.begin);
  if (const auto id = in_floats_ ? std::nullopt : vocab_.find(text)) {  // unknown characters side by side may spell a piece
    out.push_back({*id, span});
    return;
  }
  const auto has_byte = [&](char byte) { return byte_ids_[static_cast<uint8_t>(byte)] != unigram_detail::kNowhere; };
  if (byte_fallback_ && std::all_of(text.begin(), text.end(), has_byte)) {
    for (size_t i = 0; i < text.size();) {
      const size_t bytes = decode_char(text, i).bytes;
      const Span character{span.begin + i, span.begin + i + bytes};
      for (const char byte : text.substr(i, bytes)) out.push_back({byte_ids_[static_cast<uint8_t>(byte)], in_floats_ ? character : span});
      i += bytes;
    }
    return;
  }
  out.push_back({*unk_id_, span});
}

void Unigram::tokenize(std::string_view word, std::vector<Token>& out) const {
  namespace detail = unigram_detail;
  thread_local std::vector<detail::Best> best;
  best.assign(word.size() + 1, {0, 0, detail::kNowhere});
  const auto sum = [this](double a, double b) { return in_floats_ ? static_cast<double>(static_cast<float>(a) + static_cast<float>(b)) : a + b; };
  size_t farthest = 0;
  for (size_t i = 0; i < word.size();) {
    const size_t character = static_cast<uint8_t>(word[i]) < 0x80 ? 1 : decode_char(word, i).bytes;
    if (in_floats_ && std::abs(best[i].score) > detail::kRebase) detail::count_from(best, i, farthest);
    const double till_here = best[i].score;
    bool single = false;
    trie_.prefixes(word.substr(i), [&](size_t bytes, uint32_t id) {
      detail::offer(best[i + bytes], sum(scores_[id], till_here), id, i);
      single = single || bytes == character;
      farthest = std::max(farthest, i + bytes);
    });
    if (!single) {
      if (!unk_id_) throw std::runtime_error("tokenizer: a character of \"" + std::string(word.substr(0, 80)) + "\" is not in the vocabulary, which has no unknown token (unk_id)");
      detail::offer(best[i + character], sum(unknown_score_, till_here), *unk_id_, i);
      farthest = std::max(farthest, i + character);
    }
    i += character;
  }
  const size_t first = out.size();
  for (size_t end = word.size(); end > 0;) {  // from the back; the reference joins unknown pieces side by side
    size_t begin = best[end].from;
    const uint32_t id = best[end].id;
    if (unk_id_ && id == *unk_id_) {
      while (begin > 0 && best[begin].id == *unk_id_) begin = best[begin].from;
    }
    out.push_back({id, {begin, end}});
    end = begin;
  }
  std::reverse(out.begin() + static_cast<std::ptrdiff_t>(first), out.end());
  if (unk_id_ && std::any_of(out.begin() + static_cast<std::ptrdiff_t>(first), out.end(), [&](const Token& token) { return token.id == *unk_id_; })) {
    const std::vector<Token> found(out.begin() + static_cast<std::ptrdiff_t>(first), out.end());
    out.resize(first);
    for (const auto& token : found) {
      if (token.id == *unk_id_) append_unknown(word, token.span, out);
      else out.push_back(token);
    }
  }
  if (best.capacity() > 1 << 16) best = {};
}

std::optional<std::string> Unigram::id_to_token(uint32_t id) const {
  if (id >= vocab_.tokens().size()) return std::nullopt;
  return vocab_.tokens()[id].first;
}

std::string Unigram::unknown_token() const { return unk_id_ ? vocab_.tokens()[*unk_id_].first : ""; }

std::unique_ptr<Model> make_unigram(const JsonField& part) {
  const auto vocab = part.at("vocab");
  if (!vocab.value().is_array()) vocab.fail("a list of [piece, score]");
  std::vector<Unigram::Piece> pieces;
  pieces.reserve(vocab.value().size());
  for (size_t i = 0; i < vocab.value().size(); ++i) {
    const Json& entry = vocab.value()[i];
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number())
      JsonField(entry, vocab.path() + "[" + std::to_string(i) + "]").fail("[piece, score]");
    pieces.push_back({entry[0].get<std::string>(), entry[1].get<double>()});
  }
  std::optional<uint32_t> unk_id;
  if (part.has("unk_id")) unk_id = part.at("unk_id").id();
  return std::make_unique<Unigram>(std::move(pieces), unk_id, part.boolean_or("byte_fallback", false));
}

}  // namespace zoo::tokenizers
