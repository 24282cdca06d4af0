#include "tokenizers/wordpiece.h"

#include <algorithm>
#include <stdexcept>

namespace zoo::tokenizers {
namespace wordpiece_detail {

bool is_continuation_byte(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

bool has_more_chars_than(std::string_view word, size_t limit) {
  if (word.size() <= limit) return false;
  const auto inner = static_cast<size_t>(std::count_if(word.begin(), word.end(), is_continuation_byte));
  return word.size() - inner > limit;
}

}  // namespace wordpiece_detail

WordPiece::WordPiece(std::vector<std::pair<std::string, uint32_t>> vocab, Options options)
    : options_(std::move(options)), vocab_(std::move(vocab)) {
  if (vocab_.size() == 0)
    throw std::runtime_error("the vocabulary is empty; expected one token a line or entry");
  const auto unknown = vocab_.find(options_.unk_token);
  if (!unknown) {
    throw std::runtime_error("the vocabulary of " + std::to_string(vocab_.size()) + " tokens has no \"" +
                             options_.unk_token +
                             "\"; words that cannot be built from it need that token (see unk_token)");
  }
  unknown_ = *unknown;
  for (const auto& [text, id] : vocab_.tokens()) {
    const std::string_view token = text;
    initial_[token] = id;
    longest_initial_ = std::max(longest_initial_, token.size());
    if (!token.starts_with(options_.continuing_subword_prefix)) continue;
    const auto rest = token.substr(options_.continuing_subword_prefix.size());
    continuing_[rest] = id;
    longest_continuing_ = std::max(longest_continuing_, rest.size());
  }
}

std::optional<Token> WordPiece::longest_match(std::string_view word, size_t begin, const Pieces& pieces,
                                              size_t longest) {
  size_t end = begin + std::min(longest, word.size() - begin);
  while (end < word.size() && wordpiece_detail::is_continuation_byte(word[end])) --end;
  while (end > begin) {
    const auto found = pieces.find(word.substr(begin, end - begin));
    if (found != pieces.end()) return Token{found->second, {begin, end}};
    do --end;
    while (end > begin && wordpiece_detail::is_continuation_byte(word[end]));
  }
  return std::nullopt;
}

void WordPiece::tokenize(std::string_view word, std::vector<Token>& out) const {
  const size_t first = out.size();
  bool known = !wordpiece_detail::has_more_chars_than(word, options_.max_input_chars_per_word);
  for (size_t begin = 0; known && begin < word.size();) {
    const auto token = begin == 0 ? longest_match(word, 0, initial_, longest_initial_)
                                  : longest_match(word, begin, continuing_, longest_continuing_);
    known = token.has_value();
    if (!known) break;
    out.push_back(*token);
    begin = token->span.end;
  }
  if (known) return;
  out.resize(first);
  out.push_back({unknown_, {0, word.size()}});
}

std::optional<std::string> WordPiece::id_to_token(uint32_t id) const {
  const auto* token = vocab_.token(id);
  if (!token) return std::nullopt;
  return *token;
}

std::unique_ptr<Model> make_wordpiece(const JsonField& part) {
  WordPiece::Options options;
  options.unk_token = part.string_or("unk_token", options.unk_token);
  options.continuing_subword_prefix =
      part.string_or("continuing_subword_prefix", options.continuing_subword_prefix);
  if (part.has("max_input_chars_per_word"))
    options.max_input_chars_per_word = part.at("max_input_chars_per_word").id();
  const auto vocab = part.at("vocab");
  std::vector<std::pair<std::string, uint32_t>> tokens;
  tokens.reserve(vocab.object().size());
  for (const auto& [token, id] : vocab.object()) {
    tokens.emplace_back(token, JsonField(id, vocab.path() + "[\"" + token + "\"]").id());
  }
  return std::make_unique<WordPiece>(std::move(tokens), std::move(options));
}

}  // namespace zoo::tokenizers
