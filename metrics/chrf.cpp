#include "metrics/chrf.h"

namespace zoo::metrics {
namespace chrf_detail {

constexpr size_t kCharacterOrder = 6;
constexpr double kBetaSquared = 4;

struct Sums {
  int64_t hypothesis = 0, reference = 0, match = 0;
};
using Orders = std::vector<Sums>;

// Words with one punctuation mark taken off the end, else off the beginning.
std::vector<std::u32string> words_of(std::u32string_view text) {
  std::vector<std::u32string> result;
  for (auto& word : split(text)) {
    if (word.size() > 1 && is_ascii_punctuation(word.back())) {
      const char32_t mark = word.back();
      word.pop_back();
      result.push_back(std::move(word));
      result.emplace_back(1, mark);
    } else if (word.size() > 1 && is_ascii_punctuation(word.front())) {
      result.emplace_back(1, word.front());
      result.push_back(word.substr(1));
    } else {
      result.push_back(std::move(word));
    }
  }
  return result;
}

std::vector<Counts> ngrams_of(std::string_view text, size_t word_order, Numbers& numbers) {
  const std::u32string points = decode(text);
  std::u32string letters;
  for (const char32_t c : points)
    if (!is_space(c)) letters.push_back(c);
  std::vector<Counts> orders;
  for (size_t n = 1; n <= kCharacterOrder; ++n) orders.push_back(count_ngrams(letters, n));
  if (word_order == 0) return orders;
  const auto words = numbers.of(words_of(points));
  for (size_t n = 1; n <= word_order; ++n) orders.push_back(count_ngrams(words, n));
  return orders;
}

int64_t total(const Counts& counts) {
  int64_t sum = 0;
  for (const auto& [ngram, count] : counts) sum += count;
  return sum;
}

Orders compare(const std::vector<Counts>& hypothesis, const std::vector<Counts>& reference) {
  Orders orders;
  for (size_t n = 0; n < hypothesis.size(); ++n) {
    // n-grams that the reference is too short for are no mistakes
    orders.push_back({reference[n].empty() ? 0 : total(hypothesis[n]), total(reference[n]), matches(hypothesis[n], reference[n])});
  }
  return orders;
}

// Precision and recall are averaged over the orders that both sides have.
double f_score(const Orders& orders) {
  double precision = 0, recall = 0;
  int64_t used = 0;
  for (const auto& sums : orders) {
    if (sums.hypothesis == 0 || sums.reference == 0) continue;
    precision += static_cast<double>(sums.match) / static_cast<double>(sums.hypothesis);
    recall += static_cast<double>(sums.match) / static_cast<double>(sums.reference);
    ++used;
  }
  if (precision + recall == 0) return 0;
  precision /= static_cast<double>(used);
  recall /= static_cast<double>(used);
  return 100 * (1 + kBetaSquared) * precision * recall / (kBetaSquared * precision + recall);
}

}  // namespace chrf_detail

double chrf(const Texts& hypotheses, const References& references, size_t word_order) {
  namespace d = chrf_detail;
  check_counts(hypotheses, references);
  d::Orders sums(d::kCharacterOrder + word_order);
  for (size_t i = 0; i < hypotheses.size(); ++i) {
    Numbers numbers;
    const auto hypothesis = d::ngrams_of(hypotheses[i], word_order, numbers);
    d::Orders best;
    double best_score = -1;
    for (const auto& stream : references) {
      d::Orders orders = d::compare(hypothesis, d::ngrams_of(stream[i], word_order, numbers));
      const double score = d::f_score(orders);
      if (score <= best_score) continue;
      best_score = score;
      best = std::move(orders);
    }
    for (size_t n = 0; n < sums.size(); ++n) {
      sums[n].hypothesis += best[n].hypothesis;
      sums[n].reference += best[n].reference;
      sums[n].match += best[n].match;
    }
  }
  return d::f_score(sums);
}

}  // namespace zoo::metrics
