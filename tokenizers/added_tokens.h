// Tokens that stand beside the model's vocabulary ([MASK], words a user added) and are found in the text
// before anything else.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "tokenizers/aligned_text.h"
#include "tokenizers/model.h"
#include "tokenizers/normalizer.h"

namespace zoo::tokenizers {

struct AddedToken {
  std::string content;
  bool single_word = false;  // not inside a longer word
  bool lstrip = false;       // takes the white space on its left along
  bool rstrip = false;
  bool normalized = true;  // looked for in the normalized text, in its own normalized form
  bool special = false;    // left out when decoding, unless asked for
};

/// Finds the leftmost, then longest, of a set of literal texts.
class TextFinder {
 public:
  struct Match {
    Span span;
    uint32_t id;
  };

  void add(std::string pattern, uint32_t id);  // an empty pattern is ignored; the first of equal ones wins
  bool empty() const { return patterns_.empty(); }
  std::optional<Match> find(std::string_view text, size_t from) const;

 private:
  std::map<std::string, uint32_t, std::less<>> patterns_;
  std::array<std::vector<size_t>, 256>
      lengths_;  // of the patterns that start with a byte; each once, longest first
};

/// A stretch of text between added tokens (no id), or an added token.
struct Section {
  AlignedText text;
  std::optional<uint32_t> id;
};

class AddedTokens {
 public:
  /// A token that the model does not have gets the next free id. `normalizer` may be null.
  void add(const AddedToken& token, const Model& model, const Normalizer* normalizer);

  /// A token of the model that decoding leaves out, but that no text is searched for.
  void mark_special(const std::string& content, uint32_t id);

  /// Cuts the text at the added tokens and normalizes the rest of it.
  std::vector<Section> split(AlignedText text, const Normalizer* normalizer) const;

  std::optional<uint32_t> find(const std::string& content) const;
  const std::string* content(uint32_t id) const;  // nullptr: not an added token
  /// What the decoder works on: the normalized form of a normalized token, else its content. nullptr: none.
  const std::string* decoded_form(uint32_t id) const;
  bool is_special(const std::string& content) const { return special_.contains(content); }
  /// Added tokens that the model's vocabulary does not hold.
  size_t count_outside(const Model& model) const;

 private:
  void cut(AlignedText text, const TextFinder& finder, std::vector<Section>& out) const;

  uint32_t first_free_ = 0;  // above every id given out so far
  std::unordered_map<uint32_t, AddedToken> by_id_;
  std::unordered_map<uint32_t, std::string> normalized_form_;
  std::unordered_map<std::string, uint32_t> ids_;
  std::unordered_set<std::string> special_;
  TextFinder verbatim_, normalized_;
};

}  // namespace zoo::tokenizers
