// A hash table from texts to small numbers, for vocabularies: one probe, no allocation for each entry.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace zoo::tokenizers {

/// The texts are views: whoever fills the table keeps them alive. The hash is seeded anew in each process, so that
/// a hostile vocabulary cannot be made of colliding texts.
class StringTable {
 public:
  static constexpr uint32_t kNone = 0xFFFFFFFF;

  /// Makes room; call it before insert.
  void reserve(size_t entries);
  /// A text that is there already takes the new value.
  void insert(std::string_view text, uint32_t value);
  /// kNone: not there.
  uint32_t find(std::string_view text) const;
  size_t size() const { return size_; }

 private:
  struct Slot {
    const char* text = nullptr;
    uint32_t length = 0;
    uint32_t value = kNone;
  };
  static uint64_t hash(std::string_view text);

  std::vector<Slot> slots_;  // a power of two, at most half full
  size_t size_ = 0;
};

}  // namespace zoo::tokenizers
