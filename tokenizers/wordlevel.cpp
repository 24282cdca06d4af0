#include "tokenizers/wordlevel.h"

#include <stdexcept>

namespace zoo::tokenizers {

WordLevel::WordLevel(std::vector<std::pair<std::string, uint32_t>> vocab, std::string unk_token)
    : vocab_(std::move(vocab)), unk_token_(std::move(unk_token)) {}

void WordLevel::tokenize(std::string_view word, std::vector<Token>& out) const {
  auto id = vocab_.find(word);
  if (!id) id = vocab_.find(unk_token_);
  if (!id) {
    throw std::runtime_error("tokenizer: \"" + std::string(word.substr(0, 80)) + "\" is not in the vocabulary, which has no unknown token \"" +
                             unk_token_ + "\" either");
  }
  out.push_back({*id, {0, word.size()}});
}

std::optional<std::string> WordLevel::id_to_token(uint32_t id) const {
  const auto* token = vocab_.token(id);
  if (!token) return std::nullopt;
  return *token;
}

std::unique_ptr<Model> make_wordlevel(const JsonField& part) {
  const auto vocab = part.at("vocab");
  std::vector<std::pair<std::string, uint32_t>> tokens;
  for (const auto& [token, id] : vocab.object()) tokens.emplace_back(token, JsonField(id, vocab.path() + "[\"" + token + "\"]").id());
  return std::make_unique<WordLevel>(std::move(tokens), part.string_or("unk_token", "<unk>"));
}

}  // namespace zoo::tokenizers
