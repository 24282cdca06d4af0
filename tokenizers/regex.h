// Regular expressions of tokenizer files. They are written for Oniguruma; this translates what differs and runs them in
// PCRE2, which finds the same matches on the patterns of published tokenizers.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizers/aligned_text.h"

namespace zoo::tokenizers {

class Regex {
 public:
  /// Throws std::runtime_error that shows the pattern: not a regular expression, or one with a construct that PCRE2 does
  /// not have (class intersections, negated classes inside classes), or too long.
  explicit Regex(const std::string& pattern);
  ~Regex();

  /// Appends the matches in `text` (well-formed UTF-8) from the left; an empty match that touches the one before does
  /// not count. Throws std::runtime_error when a match takes more than a fixed number of steps (a hostile pattern).
  void find_all(std::string_view text, std::vector<Span>& matches) const;

 private:
  struct Compiled;
  std::string pattern_;
  std::unique_ptr<Compiled> compiled_;
};

}  // namespace zoo::tokenizers
