#include "metrics/code_bleu.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

namespace zoo::metrics {
namespace code_bleu_detail {

constexpr size_t kOrder = 4;
constexpr double kOtherWeight = 0.2;  // of words that are no keywords
constexpr double kEpsilon = 0.1;      // in place of no match at all (Chen and Cherry, 2014, method 1)
constexpr int64_t kScriptLength = 2;  // the script counts (words, weights), not the words

struct Sums {
  std::array<double, kOrder> numerator{}, denominator{};
  int64_t hypothesis = 0, reference = 0;
};

double score(const Sums& sums) {
  if (sums.numerator[0] == 0 || sums.hypothesis == 0) return 0;
  double logarithms = 0;
  for (size_t n = 0; n < kOrder; ++n) {
    const double numerator = sums.numerator[n] == 0 ? kEpsilon : sums.numerator[n];
    logarithms += std::log(numerator / sums.denominator[n]) / kOrder;
  }
  const double ratio = static_cast<double>(sums.reference) / static_cast<double>(sums.hypothesis);
  return std::exp(logarithms) * (ratio < 1 ? 1 : std::exp(1 - ratio));
}

struct Segment {
  std::u32string hypothesis;
  std::vector<std::u32string> references;
  std::set<char32_t> keywords;
};

int64_t closest_length(const Segment& segment) {
  const auto length = static_cast<int64_t>(segment.hypothesis.size());
  std::pair<int64_t, int64_t> best{INT64_MAX, 0};
  for (const auto& reference : segment.references) {
    const auto own = static_cast<int64_t>(reference.size());
    best = std::min(best, {std::abs(own - length), own});
  }
  return best.second;
}

void add_precision(const Segment& segment, Sums& sums) {
  for (size_t n = 1; n <= kOrder; ++n) {
    Counts allowed;
    for (const auto& reference : segment.references) merge_largest(allowed, count_ngrams(reference, n));
    sums.numerator[n - 1] += static_cast<double>(matches(count_ngrams(segment.hypothesis, n), allowed));
    sums.denominator[n - 1] += static_cast<double>(std::max<int64_t>(1, ngram_total(segment.hypothesis.size(), n)));
  }
  sums.hypothesis += static_cast<int64_t>(segment.hypothesis.size());
  sums.reference += closest_length(segment);
}

void add_recall(const Segment& segment, Sums& sums) {
  for (size_t n = 1; n <= kOrder; ++n) {
    const Counts own = count_ngrams(segment.hypothesis, n);
    for (const auto& reference : segment.references) {
      double matched = 0, all = 0;
      for (const auto& [ngram, count] : count_ngrams(reference, n)) {
        const double weight = n > 1 || segment.keywords.count(ngram[0]) ? 1.0 : kOtherWeight;
        const auto found = own.find(ngram);
        all += weight * static_cast<double>(count);
        if (found != own.end()) matched += weight * static_cast<double>(std::min(count, found->second));
      }
      sums.numerator[n - 1] += matched;
      sums.denominator[n - 1] += std::max(1.0, all);
    }
  }
  sums.hypothesis += static_cast<int64_t>(segment.hypothesis.size());
  sums.reference += kScriptLength;
}

}  // namespace code_bleu_detail

CodeBleu code_bleu(const Texts& hypotheses, const References& references, const std::string& language) {
  namespace d = code_bleu_detail;
  const auto& keywords = code_keywords(language);
  check_counts(hypotheses, references);
  d::Sums plain, weighted;
  for (size_t i = 0; i < hypotheses.size(); ++i) {
    Numbers numbers;
    d::Segment segment;
    segment.hypothesis = numbers.of(split(decode(hypotheses[i])));
    for (const auto& stream : references) segment.references.push_back(numbers.of(split(decode(stream[i]))));
    for (const char32_t number : numbers.of(keywords)) segment.keywords.insert(number);
    d::add_precision(segment, plain);
    d::add_recall(segment, weighted);
  }
  return {d::score(plain), d::score(weighted)};
}

}  // namespace zoo::metrics
