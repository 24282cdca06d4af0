// Finds all texts of a set that a given text starts with, shortest first.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace zoo::tokenizers {

class ByteTrie {
 public:
  static constexpr uint32_t kNone = 0xFFFFFFFF;

  ByteTrie() = default;
  /// Of equal texts the last one given counts. An empty text is ignored.
  explicit ByteTrie(std::vector<std::pair<std::string_view, uint32_t>> entries);

  /// Calls visit(bytes, value) for each entry that `text` starts with.
  template <typename Visit>
  void prefixes(std::string_view text, Visit visit) const {
    if (text.empty()) return;
    uint32_t node = root_[static_cast<uint8_t>(text[0])];
    for (size_t depth = 1; node != kNone; ++depth) {
      if (nodes_[node].value != kNone) visit(depth, nodes_[node].value);
      if (depth == text.size()) return;
      node = child(nodes_[node], static_cast<uint8_t>(text[depth]));
    }
  }

 private:
  struct Node {
    uint32_t first = 0;  // its children are nodes_[first .. first + count), in the order of their bytes
    uint32_t count = 0;
    uint32_t value = kNone;
  };
  uint32_t child(const Node& node, uint8_t byte) const {
    for (uint32_t i = node.first; i < node.first + node.count; ++i) {
      if (labels_[i] >= byte) return labels_[i] == byte ? i : kNone;
    }
    return kNone;
  }

  std::vector<Node> nodes_;
  std::vector<uint8_t> labels_;  // the byte that leads to each node
  std::array<uint32_t, 256> root_ = empty_root();
  static std::array<uint32_t, 256> empty_root() {
    std::array<uint32_t, 256> root;
    root.fill(kNone);
    return root;
  }
};

}  // namespace zoo::tokenizers
