#include "metrics/texts.h"

#include <utf8proc.h>

#include <algorithm>
#include <stdexcept>

namespace zoo::metrics {

void check_counts(const Texts& hypotheses, const References& references) {
  if (references.empty()) throw std::invalid_argument("no references; at least one for every hypothesis is expected");
  for (const auto& stream : references) {
    if (stream.size() == hypotheses.size()) continue;
    throw std::invalid_argument(std::to_string(hypotheses.size()) + " hypotheses, " + std::to_string(stream.size()) +
                                " references; line n of one belongs to line n of the other, so both need as many");
  }
}

std::u32string decode(std::string_view text) {
  std::u32string result;
  result.reserve(text.size());
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  for (size_t place = 0; place < text.size();) {
    utf8proc_int32_t c = 0;
    const auto used = utf8proc_iterate(bytes + place, static_cast<utf8proc_ssize_t>(text.size() - place), &c);
    result.push_back(used > 0 ? static_cast<char32_t>(c) : U'\uFFFD');
    place += used > 0 ? static_cast<size_t>(used) : 1;
  }
  return result;
}

std::string encode(std::u32string_view text) {
  std::string result;
  for (const char32_t c : text) {
    utf8proc_uint8_t bytes[4];
    const auto used = utf8proc_encode_char(static_cast<utf8proc_int32_t>(c), bytes);
    result.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(used));
  }
  return result;
}

bool is_space(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x1F);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

namespace texts_detail {

utf8proc_category_t category(char32_t c) { return utf8proc_category(static_cast<utf8proc_int32_t>(c)); }

bool between(char32_t c, utf8proc_category_t first, utf8proc_category_t last) {
  const auto found = category(c);
  return found >= first && found <= last;
}

bool is_cased(char32_t c) { return between(c, UTF8PROC_CATEGORY_LU, UTF8PROC_CATEGORY_LT); }

// What stands inside a word without being a letter of either case.
bool is_passed_over(char32_t c) {
  const auto found = category(c);
  return found == UTF8PROC_CATEGORY_MN || found == UTF8PROC_CATEGORY_ME || found == UTF8PROC_CATEGORY_CF || found == UTF8PROC_CATEGORY_LM ||
         found == UTF8PROC_CATEGORY_SK || c == '\'' || c == '.' || c == ':' || c == 0xB7 || c == 0x2019;
}

// A capital sigma at the end of a word (Unicode, SpecialCasing: Final_Sigma).
bool is_final(std::u32string_view text, size_t place) {
  size_t before = place, after = place + 1;
  while (before > 0 && is_passed_over(text[before - 1])) --before;
  while (after < text.size() && is_passed_over(text[after])) ++after;
  return before > 0 && is_cased(text[before - 1]) && !(after < text.size() && is_cased(text[after]));
}

}  // namespace texts_detail

bool is_punctuation(char32_t c) { return texts_detail::between(c, UTF8PROC_CATEGORY_PC, UTF8PROC_CATEGORY_PO); }
bool is_symbol(char32_t c) { return texts_detail::between(c, UTF8PROC_CATEGORY_SM, UTF8PROC_CATEGORY_SO); }
bool is_number(char32_t c) { return texts_detail::between(c, UTF8PROC_CATEGORY_ND, UTF8PROC_CATEGORY_NO); }
bool is_word(char32_t c) { return c == '_' || texts_detail::between(c, UTF8PROC_CATEGORY_LU, UTF8PROC_CATEGORY_LO) || is_number(c); }

bool is_ascii_punctuation(char32_t c) {
  return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}

std::u32string lower(std::u32string_view text) {
  std::u32string result;
  result.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const char32_t c = text[i];
    if (c == 0x130) result += U"i\u0307";  // the one letter whose small form is two code points
    else if (c == 0x3A3 && texts_detail::is_final(text, i)) result.push_back(0x3C2);
    else result.push_back(static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
  }
  return result;
}

std::vector<std::u32string> split(std::u32string_view text) {
  std::vector<std::u32string> words;
  size_t begin = 0;
  for (size_t i = 0; i <= text.size(); ++i) {
    if (i < text.size() && !is_space(text[i])) continue;
    if (i > begin) words.emplace_back(text.substr(begin, i - begin));
    begin = i + 1;
  }
  return words;
}

std::u32string_view strip(std::u32string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

std::u32string Numbers::of(const std::vector<std::u32string>& words) {
  std::u32string result;
  result.reserve(words.size());
  for (const auto& word : words) result.push_back(known_.emplace(word, static_cast<char32_t>(known_.size())).first->second);
  return result;
}

Counts count_ngrams(std::u32string_view items, size_t n) {
  Counts counts;
  for (size_t i = 0; i + n <= items.size(); ++i) ++counts[std::u32string(items.substr(i, n))];
  return counts;
}

int64_t ngram_total(size_t items, size_t n) { return items < n ? 0 : static_cast<int64_t>(items - n + 1); }

int64_t matches(const Counts& one, const Counts& other) {
  int64_t sum = 0;
  for (const auto& [ngram, count] : one) {
    const auto found = other.find(ngram);
    if (found != other.end()) sum += std::min(count, found->second);
  }
  return sum;
}

void merge_largest(Counts& into, const Counts& other) {
  for (const auto& [ngram, count] : other) {
    auto& largest = into[ngram];
    largest = std::max(largest, count);
  }
}

}  // namespace zoo::metrics
