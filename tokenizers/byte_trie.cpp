#include "tokenizers/byte_trie.h"

#include <algorithm>

namespace zoo::tokenizers {
namespace byte_trie_detail {

/// A node whose children are still to be made: entries [begin, end) share its first `depth` bytes.
struct Pending {
  size_t begin, end, depth;
};

}  // namespace byte_trie_detail

/// Level by level, so that the children of a node lie side by side.
ByteTrie::ByteTrie(std::vector<std::pair<std::string_view, uint32_t>> entries) {
  using byte_trie_detail::Pending;
  std::stable_sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<Pending> level = {{0, entries.size(), 0}};
  std::vector<uint32_t> parents = {kNone};
  while (!level.empty()) {
    std::vector<Pending> next;
    std::vector<uint32_t> next_parents;
    for (size_t p = 0; p < level.size(); ++p) {
      auto [begin, end, depth] = level[p];
      while (begin < end && entries[begin].first.size() == depth) {
        if (parents[p] != kNone) nodes_[parents[p]].value = entries[begin].second;
        ++begin;
      }
      if (parents[p] != kNone) nodes_[parents[p]].first = static_cast<uint32_t>(nodes_.size());
      while (begin < end) {
        const auto byte = static_cast<uint8_t>(entries[begin].first[depth]);
        size_t stop = begin;
        while (stop < end && static_cast<uint8_t>(entries[stop].first[depth]) == byte) ++stop;
        const auto node = static_cast<uint32_t>(nodes_.size());
        if (parents[p] == kNone) root_[byte] = node;
        else ++nodes_[parents[p]].count;
        nodes_.emplace_back();
        labels_.push_back(byte);
        next.push_back({begin, stop, depth + 1});
        next_parents.push_back(node);
        begin = stop;
      }
    }
    level = std::move(next);
    parents = std::move(next_parents);
  }
}

}  // namespace zoo::tokenizers
