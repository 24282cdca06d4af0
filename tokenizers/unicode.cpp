#include "tokenizers/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <vector>

#include "tokenizers/unicode_tables.h"

namespace zoo::tokenizers {
namespace unicode_detail {

constexpr char32_t kCodePoints = 0x110000;

std::vector<uint16_t> build_properties() {
  std::vector<uint16_t> flags(kCodePoints, 0);
  const auto mark = [&flags](const std::vector<unicode_tables::Range>& ranges, uint16_t bit) {
    for (const auto& range : ranges)
      for (uint32_t c = range.first; c <= range.last; ++c) flags[c] |= bit;
  };
  mark(unicode_tables::other(), kOther);
  mark(unicode_tables::nonspacing_mark(), kNonspacingMark);
  mark(unicode_tables::combining_mark(), kCombiningMark);
  mark(unicode_tables::punctuation(), kPunctuation);
  mark(unicode_tables::word(), kWord);
  mark(unicode_tables::space(), kSpace);
  mark(unicode_tables::normalization_unknown(), kNormalizationUnknown);
  mark(unicode_tables::numeric(), kNumeric);
  mark(unicode_tables::letter(), kLetter);
  mark(unicode_tables::number(), kNumber);
  mark(unicode_tables::regex_space(), kRegexSpace);
  for (const auto& run : unicode_tables::lower())
    for (uint32_t c = run.first; c <= run.last; c += run.step) flags[c] |= kHasLower;
  flags[0x130] |= kHasLower;
  return flags;
}

uint16_t properties(char32_t c) {
  static const std::vector<uint16_t> flags = build_properties();
  return c < kCodePoints ? flags[c] : 0;
}

}  // namespace unicode_detail

bool has_property(char32_t c, CodePointProperty property) {
  return unicode_detail::properties(c) & property;
}

std::u32string lower(char32_t c) {
  if (!has_property(c, kHasLower)) return {c};
  if (c == 0x130) return {U'i', 0x307};
  const auto& runs = unicode_tables::lower();
  const auto run = std::prev(
      std::upper_bound(runs.begin(), runs.end(), c, [](char32_t x, const auto& r) { return x < r.first; }));
  return {static_cast<char32_t>(static_cast<int64_t>(c) + run->delta)};
}

uint8_t combining_class(char32_t c) {
  if (c < 0x300 || has_property(c, kNormalizationUnknown)) return 0;
  return static_cast<uint8_t>(utf8proc_get_property(static_cast<utf8proc_int32_t>(c))->combining_class);
}

std::u32string decompose(char32_t c, bool compatibility) {
  constexpr char32_t kFirstDecomposable = 0xA0;
  constexpr int kLongest = 32;  // the longest of Unicode has 18 code points
  if (c < kFirstDecomposable || has_property(c, kNormalizationUnknown)) return {c};
  utf8proc_int32_t parts[kLongest];
  int boundary = 0;
  const int options = UTF8PROC_DECOMPOSE | (compatibility ? UTF8PROC_COMPAT : 0);
  const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), parts, kLongest,
                                             static_cast<utf8proc_option_t>(options), &boundary);
  if (count <= 0 || count > kLongest) return {c};
  return std::u32string(parts, parts + count);
}

char32_t compose(char32_t first, char32_t second) {
  if (has_property(first, kNormalizationUnknown) || has_property(second, kNormalizationUnknown)) return 0;
  utf8proc_int32_t pair[2] = {static_cast<utf8proc_int32_t>(first), static_cast<utf8proc_int32_t>(second)};
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE);
  if (utf8proc_normalize_utf32(pair, 2, options) != 1) return 0;
  const auto composed = static_cast<char32_t>(pair[0]);
  return has_property(composed, kNormalizationUnknown) ? 0 : composed;
}

bool is_cjk_ideograph(char32_t c) {
  if (c < 0x3400) return false;
  constexpr unicode_tables::Range kBlocks[] = {{0x3400, 0x4DBF},   {0x4E00, 0x9FFF},   {0xF900, 0xFAFF},
                                               {0x20000, 0x2A6DF}, {0x2A700, 0x2B73F}, {0x2B740, 0x2B81F},
                                               {0x2B920, 0x2CEAF}, {0x2F800, 0x2FA1F}};
  return std::any_of(std::begin(kBlocks), std::end(kBlocks),
                     [c](const auto& block) { return c >= block.first && c <= block.last; });
}

}  // namespace zoo::tokenizers
