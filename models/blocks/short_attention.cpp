#include "models/blocks/short_attention.h"

#include <algorithm>
#include <vector>

#include "models/blocks/half_attention.h"
#include "models/blocks/vector_lanes.h"
#include "models/blocks/wide_panels.h"
#if defined(__x86_64__)
#include "models/blocks/panels_detail.h"
#endif

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

// Queries at a time: eight registers of sums keep the units for products busy.
template <class By>
constexpr int kGroup = 8 * kWide<By> / kBlock;
constexpr int64_t kMostQueries = kGroup<BySixteens>;

// Rows to[r][columns] = times[r] * sum over i of from[r][i] * lines[i][columns]: both products have this form.
template <class By, int R>
ZOO_INSIDE void multiply(const float* const* from, int64_t count, const float* lines, int64_t step, float* const* to, int64_t columns, const float* times) {
  constexpr int kRegisters = kBlock / kWide<By>;
  for (int64_t n = 0; n < columns; n += kBlock) {
    typename By::Floats sums[R][kRegisters] = {};
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
      for (int p = 0; p < kRegisters; ++p) at<By>(to[r] + n + p * kWide<By>) = sums[r][p] * times[r];
    }
  }
}

template <class By, int R>
ZOO_INSIDE void attend_group(const ShortAttention& a, const Head& h, int64_t first) {
  const float *queries[R], *weights[R];
  float *scores[R], *out[R], times[R];
  for (int r = 0; r < R; ++r) {
    queries[r] = h.q + (first + r) * a.q.row;
    weights[r] = scores[r] = h.scores + r * h.padded;
    out[r] = h.out + (first + r) * a.heads * a.width;
    times[r] = a.scale;
  }
  multiply<By, R>(queries, a.width, h.turned, h.padded, scores, h.padded, times);
  for (int r = 0; r < R; ++r) times[r] = softmax_row<By>(scores[r], h.mask ? h.mask + (first + r) * a.mask.row : nullptr, a.keys, h.padded);
  multiply<By, R>(weights, a.keys, h.v, a.v.row, out, a.width, times);
}

template <class By>
ZOO_INSIDE void attend_head(const ShortAttention& a, const Head& h) {
  constexpr int kTogether = kGroup<By>;
  int64_t row = 0;
  for (; row + kTogether <= a.queries; row += kTogether) attend_group<By, kTogether>(a, h, row);
  for (; row < a.queries; ++row) attend_group<By, 1>(a, h, row);
}

void turn_keys(const ShortAttention& a, const float* k, int64_t padded, float* turned) {
#if defined(__x86_64__)
  if (Panels::possible()) return panels_detail::transpose_block(k, a.keys, a.width, a.k.row, turned, padded);
#endif
  for (int64_t t = 0; t < a.keys; ++t) {
    for (int64_t i = 0; i < a.width; ++i) turned[i * padded + t] = k[t * a.k.row + i];
  }
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
  if (a.half) return attend_halves(a, first, last);
  const int64_t padded = (a.keys + d::kBlock - 1) / d::kBlock * d::kBlock;
  const auto attend = WidePanels::possible(PanelType::float32) ? d::attend_by_sixteens : d::attend_by_eights;
  std::vector<float> room(static_cast<size_t>(padded * (a.width + d::kMostQueries)));  // zeros: behind the keys nothing is written
  for (int64_t i = first; i < last; ++i) {
    const int64_t row = i / a.heads, head = i % a.heads;
    const auto part = [&](const HeadRows& x) { return x.data ? static_cast<const float*>(x.data) + row * x.batch + head * x.head : nullptr; };
    d::turn_keys(a, part(a.k), padded, room.data());
    attend(a, {part(a.q), part(a.k), part(a.v), part(a.mask), static_cast<float*>(a.out) + row * a.queries * a.heads * a.width + head * a.width,
                       room.data(), room.data() + padded * a.width, padded});
  }
}

}  // namespace zoo
