// The reference tokenizers' view of Unicode as tables; use unicode.h instead.
#pragma once

#include <cstdint>
#include <vector>

namespace zoo::tokenizers::unicode_tables {

struct Range {
  uint32_t first, last;
};

/// Every `step`-th code point of first..last has the lower-case form `code point + delta`.
struct LowerRun {
  uint32_t first, last, step;
  int32_t delta;
};

const std::vector<Range>& other();
const std::vector<Range>& nonspacing_mark();
const std::vector<Range>& combining_mark();
const std::vector<Range>& punctuation();
const std::vector<Range>& word();
const std::vector<Range>& space();
const std::vector<Range>& numeric();
const std::vector<Range>& letter();
const std::vector<Range>& number();
const std::vector<Range>& regex_space();
const std::vector<Range>& normalization_unknown();
const std::vector<LowerRun>& lower();

}  // namespace zoo::tokenizers::unicode_tables
