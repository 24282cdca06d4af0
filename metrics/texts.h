// What all text metrics share: hypotheses beside references, code points, words, n-grams. The rules are those of Python's str,
// because the field's packages are written in it.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace zoo::metrics {

using Texts = std::vector<std::string>;  // UTF-8; a byte that is none counts as U+FFFD
// One or more references for every hypothesis: references[k][i] is the k-th of hypothesis i (sacreBLEU's streams).
using References = std::vector<Texts>;

// Throws std::invalid_argument, with the counts, unless there is at least one reference stream and all are as long as `hypotheses`.
void check_counts(const Texts& hypotheses, const References& references);

std::u32string decode(std::string_view text);
std::string encode(std::u32string_view text);

bool is_space(char32_t c);        // str.isspace
bool is_punctuation(char32_t c);  // Unicode categories P*
bool is_symbol(char32_t c);       // S*
bool is_number(char32_t c);       // N*
bool is_word(char32_t c);         // \w of Python's re
bool is_ascii_punctuation(char32_t c);  // string.punctuation

std::u32string lower(std::u32string_view text);  // str.lower
std::vector<std::u32string> split(std::u32string_view text);  // str.split()
std::u32string_view strip(std::u32string_view text);          // str.strip()

// Words as numbers, so that an n-gram is a short string of them.
class Numbers {
 public:
  std::u32string of(const std::vector<std::u32string>& words);

 private:
  std::unordered_map<std::u32string, char32_t> known_;
};

using Counts = std::unordered_map<std::u32string, int64_t>;
Counts count_ngrams(std::u32string_view items, size_t n);
int64_t ngram_total(size_t items, size_t n);  // how many n-grams so many items have
// Sum over the n-grams of both of the smaller count.
int64_t matches(const Counts& one, const Counts& other);
// For every n-gram the largest of the counts.
void merge_largest(Counts& into, const Counts& other);

}  // namespace zoo::metrics
