// Tokens and their ids, both ways.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace zoo::tokenizers {

/// Several tokens may share an id (a hostile file); then the last one given names it. Ids need not be dense.
class Vocabulary {
 public:
  Vocabulary() = default;
  /// A token given twice keeps its last id.
  explicit Vocabulary(std::vector<std::pair<std::string, uint32_t>> tokens);
  Vocabulary(const Vocabulary&) = delete;
  Vocabulary& operator=(const Vocabulary&) = delete;

  std::optional<uint32_t> find(std::string_view token) const;
  const std::string* token(uint32_t id) const;  // nullptr: none
  size_t size() const { return ids_.size(); }   // distinct tokens
  const std::vector<std::pair<std::string, uint32_t>>& tokens() const { return tokens_; }

 private:
  std::vector<std::pair<std::string, uint32_t>> tokens_;  // as given; owns the text that the keys below view
  std::unordered_map<std::string_view, uint32_t> ids_;
  std::unordered_map<uint32_t, const std::string*> by_id_;
};

}  // namespace zoo::tokenizers
