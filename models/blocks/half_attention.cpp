#include "models/blocks/half_attention.h"

#include <vector>

#include "models/blocks/wide_panels.h"

#if defined(__x86_64__)
#include "models/blocks/wide_amx.h"

namespace zoo {
namespace half_attention_detail {
using namespace wide_detail;
constexpr int64_t kPair = BFloat16::kInputs;  // numbers of a step

// Room for one head, in steps of two numbers.
struct Room {
  int64_t padded;           // keys, up to the next multiple of a panel
  uint32_t *keys, *values;  // [panel of keys][width's steps][32], [panel of the width][keys' steps][32]
  float* scores;            // [group, padded or width]
  uint32_t* weights;        // scores, rounded [group, padded / 2]
};

// Of one head of one batch row.
const uint16_t* part(const HeadRows& x, int64_t row, int64_t head) { return static_cast<const uint16_t*>(x.data) + row * x.batch + head * x.head; }

void lay_out_keys(const ShortAttention& a, const uint16_t* k, const Room& room) {
  const int64_t steps = a.width / kPair;
  for (int64_t t = 0; t < a.keys; t += kWidePanel) {  // moves bits only; the last panel's rest is what it was, numbers or zeros
    transpose_block(reinterpret_cast<const float*>(k + t * a.k.row), std::min(kWidePanel, a.keys - t), steps, a.k.row / kPair, reinterpret_cast<float*>(room.keys + t * steps), kWidePanel);
  }
}

// Pairs of keys: number n of both becomes step n.
ZOO_AVX512 void lay_out_values(const ShortAttention& a, const uint16_t* v, const Room& room) {
  const int64_t steps = divide_up(a.keys, kPair);
  for (int64_t n = 0; n < a.width; n += 16) {
    uint32_t* const to = room.values + n / kWidePanel * kWidePanel * steps + n % kWidePanel;
    for (int64_t t = 0; t < a.keys; t += kPair) {
      const __m512i even = widened(v + t * a.v.row + n), odd = t + 1 < a.keys ? widened(v + (t + 1) * a.v.row + n) : _mm512_setzero_si512();
      _mm512_storeu_si512(to + t / kPair * kWidePanel, _mm512_or_si512(even, _mm512_slli_epi32(odd, 16)));
    }
  }
}

using Products = GroupProducts<BFloat16>;

// c [rows, columns] = rows x panels.
void multiply(Products& products, const Rows& rows, int64_t count, const uint32_t* panels, int64_t steps, int64_t columns, float* c) {
  for (int64_t n = 0; n < columns; n += kWidePanel) {
    const Block block = {reinterpret_cast<const uint8_t*>(panels + n * steps), steps, kNoBias, nullptr, nullptr, nullptr, 0};
    products(rows, count, block, c + n, columns, /*first=*/true, /*end=*/nullptr);
  }
}

// 2^x, within 1e-4 of the value, which is less than bfloat16 shows.
ZOO_INLINE512 __m512 rough_power(__m512 x) {
  const __m512 n = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT), f = _mm512_sub_ps(x, n);
  __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(0.055171670F), f, _mm512_set1_ps(0.24261113F));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.69326099F));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.99992807F));
  return _mm512_scalef_ps(p, n);
}

// scores [keys] -> weights [keys], in the proportions of their softmax after scale and mask, which may be null; zeros behind them up to `padded`. Returns what makes their sum 1;
// 0 where all scores are -infinity.
ZOO_AVX512 float softmax(float* scores, const float* mask, int64_t keys, int64_t padded, float scale, uint16_t* weights) {
  constexpr float kLog2E = 1.44269504F;
  const __m512 none = _mm512_set1_ps(-INFINITY), times = _mm512_set1_ps(scale * kLog2E), mask_times = _mm512_set1_ps(kLog2E);
  __m512 most = none;
  for (int64_t t = 0; t < keys; t += 16) {
    const __mmask16 inside = up_to(keys - t);
    __m512 x = _mm512_mul_ps(_mm512_loadu_ps(scores + t), times);  // there is room up to `padded`
    if (mask) x = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(inside, mask + t), mask_times, x);
    x = _mm512_mask_blend_ps(inside, none, x);
    _mm512_storeu_ps(scores + t, x);
    most = _mm512_max_ps(x, most);
  }
  const float largest = _mm512_reduce_max_ps(most);
  const bool any = largest > -INFINITY;
  const __m512 least = _mm512_set1_ps(-150.0F), from = _mm512_set1_ps(largest);  // 2^-150 is 0 in float32
  __m512 sum = _mm512_setzero_ps();
  for (int64_t t = 0; t < padded; t += 16) {
    __m512 e = _mm512_setzero_ps();
    if (t < keys && any) e = rough_power(_mm512_max_ps(least, _mm512_sub_ps(_mm512_loadu_ps(scores + t), from)));  // no number stays none
    sum = _mm512_add_ps(sum, e);
    const __m256bh rounded = _mm512_cvtneps_pbh(e);
    std::memcpy(weights + t, &rounded, sizeof rounded);
  }
  return any ? 1.0F / _mm512_reduce_add_ps(sum) : 0.0F;
}

ZOO_AVX512 void scaled_to_bfloat16(const float* x, int64_t count, float scale, uint16_t* to) {  // count: a multiple of sixteen
  for (int64_t i = 0; i < count; i += 16) {
    const __m256bh rounded = _mm512_cvtneps_pbh(_mm512_mul_ps(_mm512_loadu_ps(x + i), _mm512_set1_ps(scale)));
    std::memcpy(to + i, &rounded, sizeof rounded);
  }
}

void attend_head(const ShortAttention& a, int64_t row, int64_t head, const Room& room, Products& products) {
  const uint16_t* const q = part(a.q, row, head);
  const float* const mask = a.mask.data ? static_cast<const float*>(a.mask.data) + row * a.mask.batch + head * a.mask.head : nullptr;
  uint16_t* const out = static_cast<uint16_t*>(a.out) + (row * a.queries * a.heads + head) * a.width;
  lay_out_keys(a, part(a.k, row, head), room);
  lay_out_values(a, part(a.v, row, head), room);
  in_groups(a.queries, products.size().group, [&](int64_t first, int64_t count, int64_t, int64_t) {
    const Rows queries = {reinterpret_cast<const uint32_t*>(q + first * a.q.row), a.q.row / kPair, nullptr, nullptr};
    multiply(products, queries, count, room.keys, a.width / kPair, room.padded, room.scores);
    float shares[kAmxTile.group];
    for (int64_t r = 0; r < count; ++r) {
      shares[r] = softmax(room.scores + r * room.padded, mask ? mask + (first + r) * a.mask.row : nullptr, a.keys, room.padded, a.scale,
                          reinterpret_cast<uint16_t*>(room.weights + r * room.padded / kPair));
    }
    const Rows weights = {room.weights, room.padded / kPair, nullptr, nullptr};
    float* const mixed = room.scores;  // the scores are not needed any more
    multiply(products, weights, count, room.values, divide_up(a.keys, kPair), a.width, mixed);
    for (int64_t r = 0; r < count; ++r) scaled_to_bfloat16(mixed + r * a.width, a.width, shares[r], out + (first + r) * a.heads * a.width);
  });
}

}  // namespace half_attention_detail

bool attends_halves(const ShortAttention& a) {
  const auto even = [](const HeadRows& x) { return x.row % 2 == 0 && x.head % 2 == 0 && x.batch % 2 == 0; };  // steps begin at whole words
  return a.width % wide_detail::kWidePanel == 0 && WidePanels::possible(PanelType::bfloat16) && even(a.q) && even(a.k);
}

void attend_halves(const ShortAttention& a, int64_t first, int64_t last) {
  namespace d = half_attention_detail;
  const int64_t padded = d::divide_up(a.keys, d::kWidePanel) * d::kWidePanel, steps = padded * a.width / d::kPair, scores = d::Products::size().group * std::max(padded, a.width);
  constexpr int64_t kLine = 16;  // steps of a cache line, on which panels begin
  std::vector<uint32_t> memory(static_cast<size_t>(2 * steps + 2 * scores + kLine));  // zeros: behind the keys nothing is written
  uint32_t* const start = reinterpret_cast<uint32_t*>((reinterpret_cast<uintptr_t>(memory.data()) + 63) / 64 * 64);
  const d::Room room = {padded, start, start + steps, reinterpret_cast<float*>(start + 2 * steps), start + 2 * steps + scores};
  d::Products products;
  for (int64_t i = first; i < last; ++i) d::attend_head(a, i / a.heads, i % a.heads, room, products);
}

}  // namespace zoo

#else  // another processor

namespace zoo {
bool attends_halves(const ShortAttention&) { return false; }
void attend_halves(const ShortAttention&, int64_t, int64_t) {}
}  // namespace zoo

#endif
