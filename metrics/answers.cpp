#include "metrics/answers.h"

#include <algorithm>

namespace zoo::metrics {
namespace answers_detail {

double share(double sum, size_t count) { return count == 0 ? 0 : sum / static_cast<double>(count); }

// Length of the article that stands at `place` as a word of its own, else 0.
size_t article_at(std::u32string_view text, size_t place) {
  if (place > 0 && is_word(text[place - 1])) return 0;
  for (const std::u32string_view article : {U"a", U"an", U"the"}) {
    const size_t end = place + article.size();
    if (text.substr(place, article.size()) == article && (end == text.size() || !is_word(text[end]))) return article.size();
  }
  return 0;
}

std::vector<std::u32string> words_of(std::string_view text) {
  std::u32string letters, kept;
  for (const char32_t c : lower(decode(text)))
    if (!is_ascii_punctuation(c)) letters.push_back(c);
  for (size_t i = 0; i < letters.size();) {
    const size_t article = article_at(letters, i);
    kept.push_back(article > 0 ? U' ' : letters[i]);
    i += std::max<size_t>(article, 1);
  }
  return split(kept);
}

double f1(const std::vector<std::u32string>& hypothesis, const std::vector<std::u32string>& reference) {
  if (hypothesis.empty() || reference.empty()) return hypothesis.empty() && reference.empty() ? 1 : 0;
  Numbers numbers;
  const auto common = static_cast<double>(matches(count_ngrams(numbers.of(hypothesis), 1), count_ngrams(numbers.of(reference), 1)));
  return 2 * common / static_cast<double>(hypothesis.size() + reference.size());
}

}  // namespace answers_detail

double exact_match(const Texts& hypotheses, const References& references) {
  check_counts(hypotheses, references);
  double equal = 0;
  for (size_t i = 0; i < hypotheses.size(); ++i) {
    const std::u32string hypothesis = decode(hypotheses[i]);
    equal += std::any_of(references.begin(), references.end(), [&](const Texts& stream) { return strip(hypothesis) == strip(decode(stream[i])); });
  }
  return answers_detail::share(equal, hypotheses.size());
}

Squad squad(const Texts& hypotheses, const References& references) {
  check_counts(hypotheses, references);
  Squad sums;
  for (size_t i = 0; i < hypotheses.size(); ++i) {
    const auto hypothesis = answers_detail::words_of(hypotheses[i]);
    double exact = 0, best = 0;
    for (const auto& stream : references) {
      const auto reference = answers_detail::words_of(stream[i]);
      exact = std::max(exact, hypothesis == reference ? 1.0 : 0.0);
      best = std::max(best, answers_detail::f1(hypothesis, reference));
    }
    sums.exact_match += exact;
    sums.f1 += best;
  }
  return {answers_detail::share(sums.exact_match, hypotheses.size()), answers_detail::share(sums.f1, hypotheses.size())};
}

}  // namespace zoo::metrics
