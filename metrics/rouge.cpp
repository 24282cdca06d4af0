#include "metrics/rouge.h"

#include <algorithm>
#include <set>
#include <stdexcept>

namespace zoo::metrics {
namespace rouge_detail {

constexpr size_t kMostCells = 100'000'000;  // of a subsequence's table: two texts of 10,000 words

// Runs of a-z and 0-9 after lower-casing; all else separates.
std::vector<std::u32string> words_of(std::string_view text, bool stem) {
  std::vector<std::u32string> words(1);
  for (const char32_t c : lower(decode(text))) {
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) words.back().push_back(c);
    else if (!words.back().empty()) words.emplace_back();
  }
  if (words.back().empty()) words.pop_back();
  if (stem) {
    for (auto& word : words)
      if (word.size() > 3) word = decode(porter_stem(encode(word)));
  }
  return words;
}

double f_measure(double match, size_t hypothesis, size_t reference) {
  const double precision = match / static_cast<double>(std::max<size_t>(hypothesis, 1));
  const double recall = match / static_cast<double>(std::max<size_t>(reference, 1));
  return precision + recall > 0 ? 2 * precision * recall / (precision + recall) : 0;
}

double ngram_score(const std::u32string& hypothesis, const std::u32string& reference, size_t n) {
  return f_measure(static_cast<double>(matches(count_ngrams(hypothesis, n), count_ngrams(reference, n))),
                   static_cast<size_t>(ngram_total(hypothesis.size(), n)), static_cast<size_t>(ngram_total(reference.size(), n)));
}

// table[i][j]: length of the longest common subsequence of the first i and j words.
class Table {
 public:
  Table(const std::u32string& reference, const std::u32string& hypothesis) : width_(hypothesis.size() + 1) {
    if ((reference.size() + 1) > kMostCells / width_) {
      throw std::invalid_argument("ROUGE-L of texts of " + std::to_string(reference.size()) + " and " + std::to_string(hypothesis.size()) +
                                  " words; their product may be at most " + std::to_string(kMostCells));
    }
    cells_.assign((reference.size() + 1) * width_, 0);
    for (size_t i = 1; i <= reference.size(); ++i)
      for (size_t j = 1; j < width_; ++j)
        cells_[i * width_ + j] = reference[i - 1] == hypothesis[j - 1] ? at(i - 1, j - 1) + 1 : std::max(at(i - 1, j), at(i, j - 1));
  }
  uint32_t at(size_t i, size_t j) const { return cells_[i * width_ + j]; }
  uint32_t length() const { return cells_.back(); }

 private:
  size_t width_;
  std::vector<uint32_t> cells_;
};

// Which words of the reference one of the longest common subsequences takes; of several the one that the reference finds.
void add_places(const std::u32string& reference, const std::u32string& hypothesis, std::set<size_t>& places) {
  const Table table(reference, hypothesis);
  for (size_t i = reference.size(), j = hypothesis.size(); i > 0 && j > 0;) {
    if (reference[i - 1] == hypothesis[j - 1]) {
      places.insert(i - 1);
      --i, --j;
    } else if (table.at(i, j - 1) > table.at(i - 1, j)) {
      --j;
    } else {
      --i;
    }
  }
}

using Lines = std::vector<std::u32string>;

Lines lines_of(const std::string& text, bool stem, Numbers& numbers) {
  Lines lines;
  for (size_t begin = 0, end = 0; begin <= text.size(); begin = end + 1) {
    end = std::min(text.find('\n', begin), text.size());
    if (end > begin) lines.push_back(numbers.of(words_of(std::string_view(text).substr(begin, end - begin), stem)));
  }
  return lines;
}

size_t count_words(const Lines& lines, std::unordered_map<char32_t, int64_t>& counts) {
  size_t total = 0;
  for (const auto& line : lines) {
    total += line.size();
    for (const char32_t word : line) ++counts[word];
  }
  return total;
}

// Section 3.2 of the paper; no word counts more often than it stands in either text.
double summary_score(const Lines& hypothesis, const Lines& reference) {
  std::unordered_map<char32_t, int64_t> left_hypothesis, left_reference;
  const size_t hypothesis_words = count_words(hypothesis, left_hypothesis), reference_words = count_words(reference, left_reference);
  if (hypothesis_words == 0 || reference_words == 0) return 0;
  double hits = 0;
  for (const auto& line : reference) {
    std::set<size_t> places;
    for (const auto& other : hypothesis) add_places(line, other, places);
    for (const size_t place : places) {
      auto &one = left_hypothesis[line[place]], &two = left_reference[line[place]];
      if (one <= 0 || two <= 0) continue;
      ++hits, --one, --two;
    }
  }
  return f_measure(hits, hypothesis_words, reference_words);
}

Rouge segment(const std::string& hypothesis, const std::string& reference, bool stem) {
  Numbers numbers;
  const auto one = numbers.of(words_of(hypothesis, stem)), two = numbers.of(words_of(reference, stem));
  Rouge scores;
  scores.rouge1 = ngram_score(one, two, 1);
  scores.rouge2 = ngram_score(one, two, 2);
  scores.rouge_l = f_measure(Table(two, one).length(), one.size(), two.size());
  scores.rouge_lsum = summary_score(lines_of(hypothesis, stem, numbers), lines_of(reference, stem, numbers));
  return scores;
}

}  // namespace rouge_detail

Rouge rouge(const Texts& hypotheses, const References& references, bool stem) {
  check_counts(hypotheses, references);
  Rouge mean;
  for (size_t i = 0; i < hypotheses.size(); ++i) {
    Rouge best;
    for (const auto& stream : references) {
      const Rouge one = rouge_detail::segment(hypotheses[i], stream[i], stem);
      for (const auto figure : {&Rouge::rouge1, &Rouge::rouge2, &Rouge::rouge_l, &Rouge::rouge_lsum}) best.*figure = std::max(best.*figure, one.*figure);
    }
    for (const auto figure : {&Rouge::rouge1, &Rouge::rouge2, &Rouge::rouge_l, &Rouge::rouge_lsum}) mean.*figure += best.*figure / static_cast<double>(hypotheses.size());
  }
  return mean;
}

}  // namespace zoo::metrics
