#include "app/engine/token_trie.h"

#include <algorithm>

namespace zoo::app {

void TokenTrie::add(std::span<const int64_t> ids) {
  size_t node = 0;
  for (const int64_t id : ids) {
    const auto [found, fresh] = nodes_[node].try_emplace(id, nodes_.size());
    node = found->second;
    if (fresh) nodes_.emplace_back();
  }
  longest_ = std::max(longest_, static_cast<int64_t>(ids.size()));
}

std::vector<int64_t> TokenTrie::next(std::span<const int64_t> read) const {
  size_t node = 0;
  for (const int64_t id : read) {
    const auto found = nodes_[node].find(id);
    if (found == nodes_[node].end()) return {};
    node = found->second;
  }
  std::vector<int64_t> ids;
  for (const auto& [id, child] : nodes_[node]) ids.push_back(id);
  return ids;
}

}  // namespace zoo::app
