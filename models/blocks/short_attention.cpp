#include "models/blocks/short_attention.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "models/blocks/vector_lanes.h"
#include "models/blocks/wide_panels.h"

namespace zoo {
namespace short_attention_detail {
using namespace lanes;

constexpr int64_t kBlock = 16;  // numbers: two registers of AVX2, one of AVX-512

// One head of one row of a batch; room for what is computed on the way.
struct Head {
  const float *q, *k, *v, *mask;
  float* out;
  float *turned, *scores;  // K^T [width, padded]; [kMostQueries, padded]
  int64_t padded;          // keys, up to the next multiple of kBlock
};

// The registers of a processor. Tags, since a vector type that is itself a template's argument forgets that it is not aligned.
struct ByEights {
  typedef Eight Vector;
};
struct BySixteens {
  typedef Lanes Vector;
};
template <class By>
constexpr int64_t kWide = sizeof(typename By::Vector) / sizeof(float);
// Queries at a time: eight registers of sums keep the units for products busy.
template <class By>
constexpr int kGroup = 8 * kWide<By> / kBlock;
constexpr int64_t kMostQueries = kGroup<BySixteens>;

template <class By>
ZOO_INSIDE typename By::Vector& at(float* p) {
  static_assert(alignof(typename By::Vector) == alignof(float));
  return *reinterpret_cast<typename By::Vector*>(p);
}
template <class By>
ZOO_INSIDE const typename By::Vector& at(const float* p) { return *reinterpret_cast<const typename By::Vector*>(p); }

// Rows to[r][columns] = sum over i of from[r][i] * lines[i][columns]: both products have this form.
template <class By, int R>
ZOO_INSIDE void multiply(const float* const* from, int64_t count, const float* lines, int64_t step, float* const* to, int64_t columns) {
  constexpr int kRegisters = kBlock / kWide<By>;
  for (int64_t n = 0; n < columns; n += kBlock) {
    typename By::Vector sums[R][kRegisters] = {};
    for (int64_t i = 0; i < count; ++i) {
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
        for (int p = 0; p < kRegisters; ++p) sums[r][p] += from[r][i] * at<By>(lines + i * step + n + p * kWide<By>);
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
      for (int p = 0; p < kRegisters; ++p) at<By>(to[r] + n + p * kWide<By>) = sums[r][p];
    }
  }
}

// scores [keys] -> their softmax after scale and mask; what lies behind them becomes 0.
template <class By>
ZOO_INSIDE void weigh(float* scores, const float* mask, int64_t keys, int64_t padded, float scale) {
  using Vector = typename By::Vector;
  constexpr int64_t wide = kWide<By>;
  for (int64_t t = 0; t < keys; t += wide) {
    at<By>(scores + t) *= scale;
    if (mask && t + wide <= keys) at<By>(scores + t) += at<By>(mask + t);
    else if (mask) for (int64_t i = t; i < keys; ++i) scores[i] += mask[i];
  }
  std::fill(scores + keys, scores + padded, -INFINITY);
  Vector most = Vector{} - INFINITY;
  for (int64_t t = 0; t < padded; t += wide) most = at<By>(scores + t) > most ? at<By>(scores + t) : most;
  float largest = -INFINITY;
  for (int64_t i = 0; i < wide; ++i) largest = std::max(largest, most[i]);
  Vector sums = {};
  for (int64_t t = 0; t < padded; t += wide) {
    Vector& x = at<By>(scores + t);
    Vector e = x - largest;
    exponential(e);
    x = x == -INFINITY ? Vector{} : e;
    sums += x;
  }
  const float sum = sum_of(sums), share = sum > 0 ? 1.0F / sum : 0.0F;
  for (int64_t t = 0; t < padded; t += wide) at<By>(scores + t) *= share;
}

template <class By, int R>
ZOO_INSIDE void attend_group(const ShortAttention& a, const Head& h, int64_t first) {
  const float *queries[R], *weights[R];
  float *scores[R], *out[R];
  for (int r = 0; r < R; ++r) {
    queries[r] = h.q + (first + r) * a.q.row;
    weights[r] = scores[r] = h.scores + r * h.padded;
    out[r] = h.out + (first + r) * a.heads * a.width;
  }
  multiply<By, R>(queries, a.width, h.turned, h.padded, scores, h.padded);
  for (int r = 0; r < R; ++r) weigh<By>(scores[r], h.mask ? h.mask + (first + r) * a.mask.row : nullptr, a.keys, h.padded, a.scale);
  multiply<By, R>(weights, a.keys, h.v, a.v.row, out, a.width);
}

// Eight keys at a time, so that what is written lies side by side.
ZOO_INSIDE void turn_keys(const ShortAttention& a, const Head& h) {
  constexpr int64_t kTogether = 8;
  int64_t t = 0;
  for (; t + kTogether <= a.keys; t += kTogether) {
    const float* const k = h.k + t * a.k.row;
    for (int64_t i = 0; i < a.width; ++i) {
      float* const to = h.turned + i * h.padded + t;
#pragma GCC unroll 8
      for (int64_t j = 0; j < kTogether; ++j) to[j] = k[j * a.k.row + i];
    }
  }
  for (; t < a.keys; ++t) {
    for (int64_t i = 0; i < a.width; ++i) h.turned[i * h.padded + t] = h.k[t * a.k.row + i];
  }
}

template <class By>
ZOO_INSIDE void attend_head(const ShortAttention& a, const Head& h) {
  constexpr int kTogether = kGroup<By>;
  turn_keys(a, h);
  int64_t row = 0;
  for (; row + kTogether <= a.queries; row += kTogether) attend_group<By, kTogether>(a, h, row);
  for (; row < a.queries; ++row) attend_group<By, 1>(a, h, row);
}

ZOO_CLONES void attend_by_eights(const ShortAttention& a, const Head& h) { attend_head<ByEights>(a, h); }

#if defined(__x86_64__)
__attribute__((target("arch=x86-64-v4"))) void attend_by_sixteens(const ShortAttention& a, const Head& h) { attend_head<BySixteens>(a, h); }
#else
void attend_by_sixteens(const ShortAttention& a, const Head& h) { attend_by_eights(a, h); }
#endif

}  // namespace short_attention_detail

void attend_short(const ShortAttention& a, int64_t first, int64_t last) {
  namespace d = short_attention_detail;
  const int64_t padded = (a.keys + d::kBlock - 1) / d::kBlock * d::kBlock;
  const auto attend = WidePanels::possible(PanelType::float32) ? d::attend_by_sixteens : d::attend_by_eights;
  std::vector<float> room(static_cast<size_t>(padded * (a.width + d::kMostQueries)));  // zeros: behind the keys nothing is written
  for (int64_t i = first; i < last; ++i) {
    const int64_t row = i / a.heads, head = i % a.heads;
    const auto part = [&](const HeadRows& x) { return x.data ? x.data + row * x.batch + head * x.head : nullptr; };
    attend(a, {part(a.q), part(a.k), part(a.v), part(a.mask), a.out + row * a.queries * a.heads * a.width + head * a.width,
                       room.data(), room.data() + padded * a.width, padded});
  }
}

}  // namespace zoo
