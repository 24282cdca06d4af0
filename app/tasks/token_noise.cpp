#include "app/tasks/token_noise.h"

#include <numeric>

#include "app/cli.h"
#include "app/tasks/option_values.h"

namespace zoo::app {
namespace token_noise_detail {

constexpr size_t kShortest = 10;  // shorter texts are not shuffled

size_t share_of(double share, size_t count) { return static_cast<size_t>(share * static_cast<double>(count)); }

std::vector<double> keyword_weights(const std::vector<int64_t>& ids, const NoiseOptions& options, const NoiseTokens& tokens) {
  std::vector<double> weights(ids.size(), 1.0);
  for (size_t i = 0; i < ids.size(); ++i) {
    const auto id = static_cast<size_t>(ids[i]);
    if (id < tokens.keyword.size() && tokens.keyword[id]) weights[i] = options.keyword_weight;
  }
  return weights;
}

void drop(std::vector<int64_t>& ids, const NoiseOptions& options, const NoiseTokens& tokens, Dice& dice) {
  const auto places = draw_places(keyword_weights(ids, options, tokens), share_of(options.drop, ids.size()), dice);
  for (auto place = places.rbegin(); place != places.rend(); ++place) ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(*place));
}

// Distinct tokens of the other language, by their frequency, in random order.
std::vector<int64_t> foreign(size_t count, const NoiseTokens& tokens, Dice& dice) {
  const auto drawn = draw_places(tokens.frequency, count, dice);
  std::vector<int64_t> ids(drawn.begin(), drawn.end());
  for (size_t i = ids.size(); i > 1; --i) std::swap(ids[i - 1], ids[static_cast<size_t>(dice.below(static_cast<int64_t>(i)))]);
  return ids;
}

void replace(std::vector<int64_t>& ids, const NoiseOptions& options, const NoiseTokens& tokens, Dice& dice) {
  const auto places = draw_places(std::vector<double>(ids.size(), 1.0), share_of(options.replace, ids.size()), dice);
  const auto others = foreign(places.size(), tokens, dice);
  for (size_t i = 0; i < others.size(); ++i) ids[places[i]] = others[i];
}

void insert(std::vector<int64_t>& ids, const NoiseOptions& options, const NoiseTokens& tokens, Dice& dice) {
  const auto places = draw_places(std::vector<double>(ids.size(), 1.0), share_of(options.insert, ids.size()), dice);
  const auto others = foreign(places.size(), tokens, dice);
  for (size_t i = others.size(); i-- > 0;) ids.insert(ids.begin() + static_cast<std::ptrdiff_t>(places[i]), others[i]);
}

void shuffle(std::vector<int64_t>& ids, Dice& dice) {
  if (ids.size() < kShortest) return;
  const auto count = static_cast<int64_t>(ids.size());
  int64_t first = dice.below(count), last = dice.below(count);
  while (first == last) last = dice.below(count);
  if (first > last) std::swap(first, last);
  for (int64_t i = last; i > first + 1; --i) std::swap(ids[static_cast<size_t>(i - 1)], ids[static_cast<size_t>(first + dice.below(i - first))]);
}

void mask(std::vector<int64_t>& ids, const NoiseOptions& options, const NoiseTokens& tokens, Dice& dice) {
  if (ids.empty()) return;
  const size_t count = share_of(options.mask, ids.size());  // with repetition, as the reference
  for (size_t i = 0; i < count; ++i) ids[static_cast<size_t>(dice.below(static_cast<int64_t>(ids.size())))] = tokens.mask;
}

}  // namespace token_noise_detail

std::vector<size_t> draw_places(std::span<const double> weights, size_t count, Dice& dice) {
  std::vector<double> left(weights.begin(), weights.end());
  double sum = std::accumulate(left.begin(), left.end(), 0.0);
  std::vector<size_t> places;
  while (places.size() < count && sum > 1e-12) {
    double at = dice.uniform() * sum;
    size_t place = left.size();
    for (size_t i = 0; i < left.size(); ++i) {
      if (left[i] <= 0) continue;
      place = i;  // the last one left, should rounding carry `at` past the end
      if ((at -= left[i]) < 0) break;
    }
    if (place == left.size()) break;
    places.push_back(place);
    sum -= left[place];
    left[place] = 0;
  }
  std::sort(places.begin(), places.end());
  return places;
}

NoiseOptions NoiseOptions::of(const Json& options) {
  NoiseOptions noise;
  noise.drop = number_option(options, "drop", noise.drop, 0, 0.9);
  noise.replace = number_option(options, "replace", noise.replace, 0, 0.9);
  noise.insert = number_option(options, "insert", noise.insert, 0, 0.9);
  noise.mask = number_option(options, "mask", noise.mask, 0, 0.9);
  noise.keyword_weight = number_option(options, "keyword_weight", noise.keyword_weight, 0, 1000);
  noise.shuffle = flag_option(options, "shuffle", noise.shuffle);
  return noise;
}

std::vector<int64_t> noisy(std::vector<int64_t> ids, const NoiseOptions& options, const NoiseTokens& tokens, size_t longest, Dice dice) {
  namespace d = token_noise_detail;
  d::drop(ids, options, tokens, dice);
  d::replace(ids, options, tokens, dice);
  d::insert(ids, options, tokens, dice);
  if (ids.size() > longest) ids.resize(longest);
  if (options.shuffle) d::shuffle(ids, dice);
  d::mask(ids, options, tokens, dice);
  return ids;
}

}  // namespace zoo::app
