// Noise on tokens: counts, weights and repeatability.
#include <numeric>
#include <set>

#include "app/cli.h"
#include "app/tasks/token_noise.h"
#include "tests/catch.h"

using namespace zoo::app;

namespace token_noise_tests {

std::vector<int64_t> counting(int64_t count) {
  std::vector<int64_t> ids(static_cast<size_t>(count));
  std::iota(ids.begin(), ids.end(), 100);
  return ids;
}

TEST_CASE("places are drawn by weight, without repetition", "[token_noise]") {
  Dice dice(1, 2);
  const std::vector<double> weights{0, 1, 0, 1, 1};
  CHECK(draw_places(weights, 9, dice) == std::vector<size_t>{1, 3, 4});
  int heavy = 0;
  for (int64_t i = 0; i < 2000; ++i) {
    Dice one(7, i);
    heavy += draw_places(std::vector<double>{2, 1, 1}, 1, one).front() == 0;
  }
  CHECK(heavy > 900);
  CHECK(heavy < 1100);  // a half
}

TEST_CASE("each kind of noise changes what it says", "[token_noise]") {
  NoiseOptions none{0, 0, 0, 0, 2, false};
  NoiseTokens tokens{4, {}, std::vector<double>(50, 0.0)};
  for (size_t id = 10; id < 50; ++id) tokens.frequency[id] = 1;
  const auto text = counting(40);
  const auto with = [&](auto change) {
    NoiseOptions options = none;
    change(options);
    return noisy(text, options, tokens, 60, Dice(3, 5));
  };
  CHECK(with([](auto&) {}) == text);
  CHECK(with([](auto& o) { o.drop = 0.25; }).size() == 30);
  const auto inserted = with([](auto& o) { o.insert = 0.25; });
  CHECK(inserted.size() == 50);
  std::vector<int64_t> kept;
  for (const auto id : inserted)
    if (id >= 100) kept.push_back(id);
  CHECK(kept == text);
  const auto replaced = with([](auto& o) { o.replace = 0.25; });
  CHECK(replaced.size() == 40);
  std::set<int64_t> foreign;
  for (const auto id : replaced)
    if (id < 50) foreign.insert(id);
  CHECK(foreign.size() == 10);  // distinct ones
  const auto masked = with([](auto& o) { o.mask = 0.25; });
  const auto hidden = std::count(masked.begin(), masked.end(), 4);
  CHECK(hidden >= 1);
  CHECK(hidden <= 10);  // with repetition
  auto shuffled = with([](auto& o) { o.shuffle = true; });
  std::sort(shuffled.begin(), shuffled.end());
  CHECK(shuffled == text);
  NoiseOptions many = none;
  many.insert = 0.9;
  CHECK(noisy(text, many, tokens, 45, Dice(3, 5)).size() == 45);  // cut
  CHECK(noisy({}, NoiseOptions{}, tokens, 45, Dice(3, 5)).empty());
}

TEST_CASE("keywords are dropped twice as often", "[token_noise]") {
  NoiseOptions options{0.1, 0, 0, 0, 2, false};
  NoiseTokens tokens{4, std::vector<bool>(200, false), {}};
  for (size_t id = 100; id < 110; ++id) tokens.keyword[id] = true;
  const auto text = counting(20);
  int64_t keywords = 0, others = 0;
  for (int64_t i = 0; i < 1500; ++i) {
    const auto left = noisy(text, options, tokens, 60, Dice(9, i));
    const auto kept = std::count_if(left.begin(), left.end(), [](int64_t id) { return id < 110; });
    keywords += 10 - kept, others += 10 - (static_cast<int64_t>(left.size()) - kept);
  }
  CHECK(double(keywords) / double(others) > 1.7);
  CHECK(double(keywords) / double(others) < 2.2);
}

TEST_CASE("noise follows from the seed and the example alone", "[token_noise]") {
  const NoiseTokens tokens{4, {}, std::vector<double>(50, 1.0)};
  CHECK(noisy(counting(30), {}, tokens, 60, Dice(1, 1)) == noisy(counting(30), {}, tokens, 60, Dice(1, 1)));
  CHECK(noisy(counting(30), {}, tokens, 60, Dice(1, 1)) != noisy(counting(30), {}, tokens, 60, Dice(2, 1)));
  CHECK_THROWS_AS(NoiseOptions::of({{"drop", 1.5}}), UsageError);
  CHECK_THROWS_AS(NoiseOptions::of({{"shuffle", 1}}), UsageError);
  CHECK(NoiseOptions::of({{"drop", 0.5}, {"shuffle", false}}).drop == 0.5);
}

}  // namespace token_noise_tests
