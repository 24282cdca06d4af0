// The compiled replacement table of SentencePiece models ("precompiled_charsmap"): a double-array trie from texts to
// what replaces them. Untrusted: every step through it is checked.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace zoo::tokenizers {

class CharsMap {
 public:
  struct Match {
    size_t bytes;  // of the text that is replaced
    std::string_view by;
  };

  /// Throws std::runtime_error when the table is cut short or not UTF-8.
  explicit CharsMap(std::string_view table);

  /// The shortest entry that `text` starts with, which the reference library takes ...
  std::optional<Match> shortest(std::string_view text) const { return find(text, true); }
  /// ... and the longest one, which SentencePiece takes.
  std::optional<Match> longest(std::string_view text) const { return find(text, false); }
  /// True when no entry starts with this ASCII character.
  bool leaves_alone(char ascii) const { return plain_[static_cast<uint8_t>(ascii)]; }

 private:
  std::optional<Match> find(std::string_view text, bool first) const;

  std::vector<uint32_t> units_;
  std::string texts_;  // each ends with a zero byte
  bool plain_[128] = {};
};

/// From base64, as tokenizer.json holds it. Throws std::runtime_error for anything else.
std::string decode_base64(std::string_view text);

}  // namespace zoo::tokenizers
