#include "models/blocks/short_attention.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "models/blocks/vector_lanes.h"

namespace zoo {
namespace short_attention_detail {
using namespace lanes;

constexpr int64_t kGroup = 4;       // queries at a time: with two registers each their sums keep AVX2's units for products busy
constexpr int64_t kWide = 8;        // of a register
constexpr int64_t kBlock = 2 * kWide;

// One head of one row of a batch; room for what is computed on the way.
struct Head {
  const float *q, *k, *v, *mask;
  float* out;
  float *turned, *scores;  // K^T [width, padded]; [kGroup, padded]
  int64_t padded;          // keys, up to the next multiple of kBlock
};

ZOO_INSIDE Eight& eight(float* p) { return *reinterpret_cast<Eight*>(p); }
ZOO_INSIDE const Eight& eight(const float* p) { return *reinterpret_cast<const Eight*>(p); }

// Rows to[r][columns] = sum over i of from[r][i] * lines[i][columns]: both products have this form.
template <int R>
ZOO_INSIDE void multiply(const float* const* from, int64_t count, const float* lines, int64_t step, float* const* to, int64_t columns) {
  for (int64_t n = 0; n < columns; n += kBlock) {
    Eight low[R] = {}, high[R] = {};
    for (int64_t i = 0; i < count; ++i) {
      const Eight left = eight(lines + i * step + n), right = eight(lines + i * step + n + kWide);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
        low[r] += from[r][i] * left;
        high[r] += from[r][i] * right;
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      eight(to[r] + n) = low[r];
      eight(to[r] + n + kWide) = high[r];
    }
  }
}

// scores [keys] -> their softmax after scale and mask; what lies behind them becomes 0.
ZOO_INSIDE void weigh(float* scores, const float* mask, int64_t keys, int64_t padded, float scale) {
  for (int64_t t = 0; t < keys; t += kWide) {
    eight(scores + t) *= scale;
    if (mask && t + kWide <= keys) eight(scores + t) += eight(mask + t);
    else if (mask) for (int64_t i = t; i < keys; ++i) scores[i] += mask[i];
  }
  std::fill(scores + keys, scores + padded, -INFINITY);
  Eight most = Eight{} - INFINITY;
  for (int64_t t = 0; t < padded; t += kWide) most = eight(scores + t) > most ? eight(scores + t) : most;
  float largest = -INFINITY;
  for (int64_t i = 0; i < kWide; ++i) largest = std::max(largest, most[i]);
  Eight sums = {};
  for (int64_t t = 0; t < padded; t += kWide) {
    Eight& x = eight(scores + t);
    Eight e = x - largest;
    exponential(e);
    x = x == -INFINITY ? Eight{} : e;
    sums += x;
  }
  const float sum = sum_of(sums), share = sum > 0 ? 1.0F / sum : 0.0F;
  for (int64_t t = 0; t < padded; t += kWide) eight(scores + t) *= share;
}

template <int R>
ZOO_INSIDE void attend_group(const ShortAttention& a, const Head& h, int64_t first) {
  const float *queries[R], *weights[R];
  float *scores[R], *out[R];
  for (int r = 0; r < R; ++r) {
    queries[r] = h.q + (first + r) * a.q.row;
    weights[r] = scores[r] = h.scores + r * h.padded;
    out[r] = h.out + (first + r) * a.heads * a.width;
  }
  multiply<R>(queries, a.width, h.turned, h.padded, scores, h.padded);
  for (int r = 0; r < R; ++r) weigh(scores[r], h.mask ? h.mask + (first + r) * a.mask.row : nullptr, a.keys, h.padded, a.scale);
  multiply<R>(weights, a.keys, h.v, a.v.row, out, a.width);
}

ZOO_CLONES void attend_head(const ShortAttention& a, const Head& h) {
  for (int64_t t = 0; t < a.keys; ++t) {
    for (int64_t i = 0; i < a.width; ++i) h.turned[i * h.padded + t] = h.k[t * a.k.row + i];
  }
  int64_t row = 0;
  for (; row + kGroup <= a.queries; row += kGroup) attend_group<kGroup>(a, h, row);
  for (; row < a.queries; ++row) attend_group<1>(a, h, row);
}

}  // namespace short_attention_detail

void attend_short(const ShortAttention& a, int64_t first, int64_t last) {
  namespace d = short_attention_detail;
  const int64_t padded = (a.keys + d::kBlock - 1) / d::kBlock * d::kBlock;
  std::vector<float> room(static_cast<size_t>(padded * (a.width + d::kGroup)));  // zeros: behind the keys nothing is written
  for (int64_t i = first; i < last; ++i) {
    const int64_t row = i / a.heads, head = i % a.heads;
    const auto part = [&](const HeadRows& x) { return x.data ? x.data + row * x.batch + head * x.head : nullptr; };
    d::attend_head(a, {part(a.q), part(a.k), part(a.v), part(a.mask), a.out + row * a.queries * a.heads * a.width + head * a.width,
                       room.data(), room.data() + padded * a.width, padded});
  }
}

}  // namespace zoo
