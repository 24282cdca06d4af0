#include "tokenizers/bpe.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <queue>
#include <stdexcept>

#include "tokenizers/byte_alphabet.h"
#include "tokenizers/utf8.h"

namespace zoo::tokenizers {
namespace bpe_detail {

constexpr uint64_t kFree = ~uint64_t{0};
constexpr size_t kShort = 48;  // symbols; up to there looking through all pairs beats a heap

uint64_t pair_of(uint32_t left, uint32_t right) { return uint64_t{left} << 32 | right; }

size_t slot_of(uint64_t pair, size_t mask) {
  const uint64_t mixed = pair * 0x9E3779B97F4A7C15ULL;
  return static_cast<size_t>(mixed ^ mixed >> 32) & mask;
}

/// A merge that may be done; the lowest rank, then the leftmost, comes first.
struct Candidate {
  uint32_t rank, id;
  size_t at;
  bool operator<(const Candidate& other) const { return rank != other.rank ? rank > other.rank : at > other.at; }
};

std::vector<std::pair<std::string, uint32_t>> read_vocab(const JsonField& vocab) {
  std::vector<std::pair<std::string, uint32_t>> tokens;
  tokens.reserve(vocab.object().size());
  for (const auto& [token, id] : vocab.object())
    tokens.emplace_back(token, JsonField(id, vocab.path() + "[\"" + token + "\"]").id());
  return tokens;
}

/// ["a b", ...] or, in younger files, [["a", "b"], ...]
Bpe::Merges read_merges(const JsonField& field) {
  Bpe::Merges merges;
  if (!field.value().is_array()) field.fail("a list");
  merges.reserve(field.value().size());
  for (size_t i = 0; i < field.value().size(); ++i) {
    const Json& value = field.value()[i];
    const JsonField entry(value, field.path() + "[" + std::to_string(i) + "]");
    if (value.is_array()) {
      if (value.size() != 2 || !value[0].is_string() || !value[1].is_string()) entry.fail("[left, right]");
      merges.emplace_back(value[0].get<std::string>(), value[1].get<std::string>());
      continue;
    }
    const std::string text = entry.string();
    if (text.starts_with("#version")) continue;
    const size_t space = text.find(' ');
    if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos)
      entry.fail("two tokens with one space between them");
    merges.emplace_back(text.substr(0, space), text.substr(space + 1));
  }
  return merges;
}

}  // namespace bpe_detail

Bpe::Bpe(std::vector<std::pair<std::string, uint32_t>> vocab, const Merges& merges, Options options)
    : options_(std::move(options)), vocab_(std::move(vocab)) {
  for (const auto& [text, id] : vocab_.tokens())
    if (id == StringTable::kNone) throw std::runtime_error("the token \"" + text + "\" has the id 4294967295; at most 4294967294");
  if (!options_.unk_token.empty()) {
    const auto unknown = vocab_.find(options_.unk_token);
    if (!unknown) throw std::runtime_error("the vocabulary of " + std::to_string(vocab_.size()) + " tokens has no \"" +
                                           options_.unk_token + "\", which unk_token names");
    unknown_ = *unknown;
  }
  read_merges(merges);
  words_.reserve(vocab_.tokens().size());
  for (const auto& [text, id] : vocab_.tokens()) {
    words_.insert(text, static_cast<uint32_t>(word_ids_.size()));
    word_ids_.push_back(id);
  }
  known_ = std::make_unique<std::atomic<uint8_t>[]>(word_ids_.size());
  for (const auto& word : options_.always_whole)
    if (const uint32_t index = words_.find(word); index != StringTable::kNone) known_[index] = whole;
  if (!options_.byte_fallback) return;
  for (int byte = 0; byte < 256; ++byte) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", byte);
    fallback_ids_.push_back(vocab_.find(name).value_or(StringTable::kNone));
  }
}

void Bpe::read_merges(const Merges& merges) {
  merges_.assign(std::bit_ceil(merges.size() * 2 + 2), {bpe_detail::kFree, {0, 0}});
  const std::string& prefix = options_.continuing_subword_prefix;
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const auto& [left, right] = merges[rank];
    const auto need = [&](const std::string& token) {
      const auto id = vocab_.find(token);
      if (!id) throw std::runtime_error("merge " + std::to_string(rank + 1) + ", \"" + left + "\" \"" + right +
                                        "\": the vocabulary has no \"" + token + "\" (are both files of one tokenizer?)");
      return *id;
    };
    const uint32_t a = need(left), b = need(right);
    if (right.size() < prefix.size()) throw std::runtime_error("merge " + std::to_string(rank + 1) + ": \"" + right +
                                                               "\" is shorter than continuing_subword_prefix");
    add_merge(a, b, {static_cast<uint32_t>(rank), need(left + right.substr(prefix.size()))});
  }
}

void Bpe::add_merge(uint32_t left, uint32_t right, Merge merge) {
  const uint64_t pair = bpe_detail::pair_of(left, right);
  const size_t mask = merges_.size() - 1;
  size_t i = bpe_detail::slot_of(pair, mask);
  while (merges_[i].pair != bpe_detail::kFree && merges_[i].pair != pair) i = (i + 1) & mask;
  merges_[i] = {pair, merge};
}

const Bpe::Merge* Bpe::find_merge(uint32_t left, uint32_t right) const {
  const uint64_t pair = bpe_detail::pair_of(left, right);
  const size_t mask = merges_.size() - 1;
  for (size_t i = bpe_detail::slot_of(pair, mask);; i = (i + 1) & mask) {
    if (merges_[i].pair == pair) return &merges_[i].merge;
    if (merges_[i].pair == bpe_detail::kFree) return nullptr;
  }
}

bool Bpe::work_on_bytes() {
  if (options_.byte_fallback || !options_.continuing_subword_prefix.empty() || !options_.end_of_word_suffix.empty()) return false;
  std::vector<uint32_t> ids(256);
  for (uint32_t byte = 0; byte < 256; ++byte) {
    std::string letter;
    append_utf8(letter, byte_to_letter(static_cast<uint8_t>(byte)));
    const auto id = vocab_.find(letter);
    if (!id) return false;
    ids[byte] = *id;
  }
  byte_ids_ = std::move(ids);
  on_bytes_ = true;
  words_ = StringTable();
  words_.reserve(vocab_.tokens().size());
  byte_words_.reserve(vocab_.tokens().size());  // the table holds views: the strings must stay where they are
  for (size_t i = 0; i < vocab_.tokens().size(); ++i) {
    auto bytes = letters_to_bytes(vocab_.tokens()[i].first);
    if (!bytes) continue;  // a special token, which no word of letters can be
    byte_words_.push_back(std::move(*bytes));
    words_.insert(byte_words_.back(), static_cast<uint32_t>(i));
  }
  return true;
}

bool Bpe::fall_back_to_bytes(std::string_view character, std::vector<Symbol>& symbols) const {
  for (const char byte : character)
    if (fallback_ids_[static_cast<uint8_t>(byte)] == StringTable::kNone) return false;
  for (const char byte : character) symbols.push_back({fallback_ids_[static_cast<uint8_t>(byte)], 1});
  return true;
}

/// The token of each character; an unknown one is written down late, as the reference does, so that tokens of bytes
/// come before it.
void Bpe::first_symbols(std::string_view word, std::vector<Symbol>& symbols) const {
  uint32_t unknown_bytes = 0;
  const auto write_unknown = [&] {
    if (unknown_bytes > 0) symbols.push_back({unknown_, unknown_bytes});
    unknown_bytes = 0;
  };
  std::string marked;
  for (size_t i = 0; i < word.size();) {
    const size_t bytes = decode_char(word, i).bytes;
    std::string_view character = word.substr(i, bytes);
    const bool prefixed = i > 0 && !options_.continuing_subword_prefix.empty();
    const bool suffixed = i + bytes == word.size() && !options_.end_of_word_suffix.empty();
    if (prefixed || suffixed) {
      marked = (prefixed ? options_.continuing_subword_prefix : "") + std::string(character) + (suffixed ? options_.end_of_word_suffix : "");
      character = marked;
    }
    i += bytes;
    if (const uint32_t word_index = words_.find(character); word_index != StringTable::kNone) {
      write_unknown();
      symbols.push_back({word_ids_[word_index], static_cast<uint32_t>(bytes)});
      continue;
    }
    if (options_.byte_fallback && fall_back_to_bytes(character, symbols)) continue;
    if (options_.unk_token.empty()) continue;
    if (!options_.fuse_unk) write_unknown();
    unknown_bytes += static_cast<uint32_t>(bytes);
  }
  write_unknown();
}

void Bpe::join_short(std::vector<Symbol>& symbols) const {
  constexpr uint32_t kNever = 0xFFFFFFFF;
  size_t count = symbols.size();
  Merge merges[bpe_detail::kShort];
  const auto look_up = [&](size_t i) {
    const Merge* merge = i + 1 < count ? find_merge(symbols[i].id, symbols[i + 1].id) : nullptr;
    merges[i] = merge ? *merge : Merge{kNever, 0};
  };
  for (size_t i = 0; i < count; ++i) look_up(i);
  while (count > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < count; ++i)
      if (merges[i].rank < merges[best].rank) best = i;
    if (merges[best].rank == kNever) break;
    symbols[best] = {merges[best].id, symbols[best].bytes + symbols[best + 1].bytes};
    --count;
    for (size_t i = best + 1; i < count; ++i) {
      symbols[i] = symbols[i + 1];
      merges[i] = merges[i + 1];
    }
    look_up(best);
    if (best > 0) look_up(best - 1);
  }
  symbols.resize(count);
}

void Bpe::join_long(std::vector<Symbol>& symbols) const {
  constexpr size_t kEnd = ~size_t{0};
  std::vector<size_t> next(symbols.size()), previous(symbols.size());
  for (size_t i = 0; i < symbols.size(); ++i) {
    next[i] = i + 1 < symbols.size() ? i + 1 : kEnd;
    previous[i] = i > 0 ? i - 1 : kEnd;
  }
  std::priority_queue<bpe_detail::Candidate> queue;
  const auto offer = [&](size_t left) {
    if (left == kEnd || next[left] == kEnd) return;
    if (const Merge* merge = find_merge(symbols[left].id, symbols[next[left]].id)) queue.push({merge->rank, merge->id, left});
  };
  for (size_t i = 0; i < symbols.size(); ++i) offer(i);
  while (!queue.empty()) {
    const auto best = queue.top();
    queue.pop();
    const size_t left = best.at, right = symbols[left].bytes > 0 ? next[left] : kEnd;
    if (right == kEnd) continue;
    const Merge* merge = find_merge(symbols[left].id, symbols[right].id);
    if (!merge || merge->id != best.id) continue;  // one of the two has changed since
    symbols[left] = {merge->id, symbols[left].bytes + symbols[right].bytes};
    symbols[right].bytes = 0;
    next[left] = next[right];
    if (next[left] != kEnd) previous[next[left]] = left;
    offer(previous[left]);
    offer(left);
  }
  std::erase_if(symbols, [](const Symbol& symbol) { return symbol.bytes == 0; });
}

void Bpe::split(std::string_view word, std::vector<Token>& out) const {
  thread_local std::vector<Symbol> symbols;
  symbols.clear();
  if (on_bytes_) {
    for (const char byte : word) symbols.push_back({byte_ids_[static_cast<uint8_t>(byte)], 1});
  } else {
    first_symbols(word, symbols);
  }
  if (symbols.size() <= bpe_detail::kShort) join_short(symbols);
  else join_long(symbols);
  size_t begin = 0;
  for (const auto& symbol : symbols) {
    out.push_back({symbol.id, {begin, begin + symbol.bytes}});
    begin += symbol.bytes;
  }
  if (symbols.capacity() > 1 << 16) symbols = {};
}

void Bpe::tokenize(std::string_view word, std::vector<Token>& out) const {
  const uint32_t index = words_.find(word);
  if (index == StringTable::kNone) return split(word, out);
  const uint32_t id = word_ids_[index];
  auto& known = known_[index];
  uint8_t state = options_.ignore_merges ? uint8_t{whole} : known.load(std::memory_order_relaxed);
  if (state == unseen) {
    const size_t first = out.size();
    split(word, out);
    const bool one = out.size() == first + 1 && out[first].id == id;
    known.store(one ? whole : in_parts, std::memory_order_relaxed);
    return;
  }
  if (state == whole) out.push_back({id, {0, word.size()}});
  else split(word, out);
}

std::optional<std::string> Bpe::id_to_token(uint32_t id) const {
  const auto* token = vocab_.token(id);
  if (!token) return std::nullopt;
  return *token;
}

std::unique_ptr<Model> make_bpe(const JsonField& part) {
  Bpe::Options options;
  options.unk_token = part.string_or("unk_token", "");
  options.continuing_subword_prefix = part.string_or("continuing_subword_prefix", "");
  options.end_of_word_suffix = part.string_or("end_of_word_suffix", "");
  options.fuse_unk = part.boolean_or("fuse_unk", false);
  options.byte_fallback = part.boolean_or("byte_fallback", false);
  options.ignore_merges = part.boolean_or("ignore_merges", false);
  if (part.has("dropout") && !(part.at("dropout").value().is_number() && part.at("dropout").value().get<double>() == 0)) {
    part.at("dropout").fail("null or 0: dropping merges at random is for training a network on varied splits, which zoo does not do");
  }
  if (options.byte_fallback && !(options.continuing_subword_prefix + options.end_of_word_suffix).empty())
    part.at("byte_fallback").fail("false beside continuing_subword_prefix or end_of_word_suffix (their bytes would be taken for text)");
  return std::make_unique<Bpe>(bpe_detail::read_vocab(part.at("vocab")), bpe_detail::read_merges(part.at("merges")), std::move(options));
}

}  // namespace zoo::tokenizers
