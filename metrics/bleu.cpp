#include "metrics/bleu.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <limits>
#include <stdexcept>

namespace zoo::metrics {
namespace bleu_detail {

constexpr size_t kOrder = 4;

struct Sums {
  std::array<int64_t, kOrder> correct{}, total{};
  int64_t hypothesis = 0, reference = 0;
};

using Split = std::function<std::vector<std::u32string>(const std::string&)>;
using Length = std::function<size_t(size_t hypothesis, const std::vector<size_t>& references)>;

size_t closest(size_t hypothesis, const std::vector<size_t>& references) {
  const auto distance = [&](size_t length) { return std::abs(static_cast<int64_t>(length) - static_cast<int64_t>(hypothesis)); };
  return *std::min_element(references.begin(), references.end(), [&](size_t a, size_t b) {
    return std::pair(distance(a), a) < std::pair(distance(b), b);
  });
}

size_t shortest(size_t, const std::vector<size_t>& references) { return *std::min_element(references.begin(), references.end()); }

Sums sums_of(const Texts& hypotheses, const References& references, const Split& split, const Length& length) {
  check_counts(hypotheses, references);
  Sums sums;
  for (size_t i = 0; i < hypotheses.size(); ++i) {
    Numbers numbers;
    const auto hypothesis = numbers.of(split(hypotheses[i]));
    std::vector<std::u32string> others;
    std::vector<size_t> lengths;
    for (const auto& stream : references) {
      others.push_back(numbers.of(split(stream[i])));
      lengths.push_back(others.back().size());
    }
    sums.hypothesis += static_cast<int64_t>(hypothesis.size());
    sums.reference += static_cast<int64_t>(length(hypothesis.size(), lengths));
    for (size_t n = 1; n <= kOrder; ++n) {
      Counts allowed;
      for (const auto& other : others) merge_largest(allowed, count_ngrams(other, n));
      sums.correct[n - 1] += matches(count_ngrams(hypothesis, n), allowed);
      sums.total[n - 1] += ngram_total(hypothesis.size(), n);
    }
  }
  return sums;
}

double brevity_penalty(const Sums& sums) {
  if (sums.hypothesis >= sums.reference) return 1.0;
  return sums.hypothesis == 0 ? 0.0 : std::exp(1.0 - static_cast<double>(sums.reference) / static_cast<double>(sums.hypothesis));
}

Bleu begin(const Sums& sums) {
  return {0, brevity_penalty(sums), std::vector<double>(kOrder, 0.0), sums.hypothesis, sums.reference};
}

// The geometric mean of the precisions, shortened; 0 when one of them is.
void finish(Bleu& bleu) {
  double logarithms = 0;
  for (const double precision : bleu.precisions) {
    if (precision <= 0) return;
    logarithms += std::log(precision);
  }
  bleu.score = bleu.brevity_penalty * std::exp(logarithms / kOrder);
}

}  // namespace bleu_detail

Bleu sacre_bleu(const Texts& hypotheses, const References& references, BleuTokenizer tokenizer) {
  namespace d = bleu_detail;
  const auto sums = d::sums_of(hypotheses, references, [&](const std::string& line) { return bleu_tokens(line, tokenizer); }, d::closest);
  Bleu bleu = d::begin(sums);
  if (std::all_of(sums.correct.begin(), sums.correct.end(), [](int64_t count) { return count == 0; })) return bleu;
  double halvings = 1;
  for (size_t n = 0; n < d::kOrder && sums.total[n] > 0; ++n) {
    const auto total = static_cast<double>(sums.total[n]);
    bleu.precisions[n] = sums.correct[n] > 0 ? 100.0 * static_cast<double>(sums.correct[n]) / total : 100.0 / ((halvings *= 2) * total);
  }
  d::finish(bleu);
  return bleu;
}

Bleu codexglue_bleu(const Texts& hypotheses, const References& references) {
  namespace d = bleu_detail;
  const auto sums = d::sums_of(hypotheses, references, [](const std::string& line) { return split(decode(line)); }, d::shortest);
  Bleu bleu = d::begin(sums);
  if (sums.hypothesis == 0) return bleu;  // the script divides by zero here
  for (size_t n = 0; n < d::kOrder; ++n) {
    bleu.precisions[n] = 100.0 * (static_cast<double>(sums.correct[n]) + 1) / (static_cast<double>(sums.total[n]) + 1);
  }
  d::finish(bleu);
  return bleu;
}

}  // namespace zoo::metrics
