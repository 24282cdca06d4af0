#include "tokenizers/vocabulary.h"

namespace zoo::tokenizers {

Vocabulary::Vocabulary(std::vector<std::pair<std::string, uint32_t>> tokens) : tokens_(std::move(tokens)) {
  ids_.reserve(tokens_.size());
  by_id_.reserve(tokens_.size());
  for (const auto& [text, id] : tokens_) ids_[text] = id;
  for (const auto& [text, id] : tokens_)
    if (ids_.at(text) == id) by_id_[id] = &text;
}

std::optional<uint32_t> Vocabulary::find(std::string_view token) const {
  const auto found = ids_.find(token);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

const std::string* Vocabulary::token(uint32_t id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : found->second;
}

}  // namespace zoo::tokenizers
