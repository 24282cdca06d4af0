// Noise on token ids, for networks that learn to undo it: masking (BERT) and CodeRosetta's five kinds.
#pragma once
#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "models/model.h"

namespace zoo::app {

// splitmix64: every choice for one example follows from (seed, index), whatever the batch or thread.
class Dice {
 public:
  Dice(uint64_t seed, int64_t index) : state_(seed * 0xD1342543DE82EF95u + static_cast<uint64_t>(index)) { next(); }
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }
  int64_t below(int64_t count) { return std::min<int64_t>(count - 1, static_cast<int64_t>(uniform() * static_cast<double>(count))); }

 private:
  uint64_t next() {
    uint64_t x = state_ += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
  }
  uint64_t state_;
};

// `count` of the places 0 .. weights.size()-1, without repetition, each drawn by its weight among those that are left; sorted.
// Places of weight 0 are never drawn.
std::vector<size_t> draw_places(std::span<const double> weights, size_t count, Dice& dice);

// Shares of a text's tokens (src/collator/dae_bt_data_collator.py of github.com/tehranixyz/CodeRosetta, 95549a4, whose defaults
// these are). Applied in this order: dropped (keywords `keyword_weight` times as likely as others), replaced and inserted (by tokens
// of the other language, by their frequency), a stretch shuffled, masked.
struct NoiseOptions {
  double drop = 0.2, replace = 0.0, insert = 0.15, mask = 0.15, keyword_weight = 2.0;
  bool shuffle = true;  // texts of 10 tokens or more

  // Options drop, replace, insert, mask, keyword_weight, shuffle. Throws UsageError for shares outside 0 .. 0.9.
  static NoiseOptions of(const Json& options);
};

struct NoiseTokens {
  int64_t mask;                   // the mask token's id
  std::vector<bool> keyword;      // by id: a keyword of the text's language; may be shorter than the vocabulary
  std::vector<double> frequency;  // by id: how often the other language has it; empty: nothing is replaced or inserted
};

// `ids` without the special tokens at its ends. The result has at most `longest` tokens.
std::vector<int64_t> noisy(std::vector<int64_t> ids, const NoiseOptions& options, const NoiseTokens& tokens, size_t longest, Dice dice);

}  // namespace zoo::app
