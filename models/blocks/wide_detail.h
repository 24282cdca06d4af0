// What the files with AVX-512 arithmetic share: steps of 32 bits, the product of a few rows with a panel of 32 outputs. Included by them alone, for x86-64.
#pragma once
#include <immintrin.h>

#include "models/blocks/panels_detail.h"

namespace zoo::wide_detail {
using namespace panels_detail;

#define ZOO_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512bf16,avx2,fma")))
#define ZOO_INLINE512 ZOO_AVX512 inline __attribute__((always_inline))

constexpr int64_t kWidePanel = 32;                  // outputs
constexpr int64_t kSteps = 384;                     // of a block, at most
constexpr int64_t kBytes = kWidePanel * 4;          // of a panel's step
// 14 rows would fill the registers, but 8 at most share a place in the first-level cache, whatever their distance, and were faster.
constexpr TileSize kTile = {.rows = 112, .columns = 128, .group = 8};

// What 32 bits hold, and their product added to a register of sums.
struct Float32 {
  static constexpr int64_t kInputs = 1;
  static constexpr bool kWhole = false;
  static ZOO_INLINE512 __m512 add(__m512 sum, uint32_t x, __m512i w) { return _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int>(x))), _mm512_castsi512_ps(w), sum); }
};
struct BFloat16 {
  static constexpr int64_t kInputs = 2;
  static constexpr bool kWhole = false;
  static ZOO_INLINE512 __m512 add(__m512 sum, uint32_t x, __m512i w) { return _mm512_dpbf16_ps(sum, (__m512bh)w, (__m512bh)_mm512_set1_epi32(static_cast<int>(x))); }
};
struct Int8 {
  static constexpr int64_t kInputs = 4;
  static constexpr bool kWhole = true;  // sums are whole numbers of 32 bits in the registers' bits
  static ZOO_INLINE512 __m512 add(__m512 sum, uint32_t x, __m512i w) { return _mm512_castsi512_ps(_mm512_dpbusd_epi32(_mm512_castps_si512(sum), _mm512_set1_epi32(static_cast<int>(x)), w)); }
};

// Some rows as steps of 32 bits, `stride` steps apart. Of int8, number = scale * (code - zero).
struct Rows {
  const uint32_t* steps;
  int64_t stride;
  const float *scales, *zeros;  // null but of int8
};

constexpr float kNoBias[kWidePanel] = {};

// A weight's block and its outputs' bias; of int8 also what the whole sums are multiplied by, and what the rows' zero takes away.
struct Block {
  const uint8_t* weight;
  int64_t steps;
  const float *bias, *scales, *sums;
  const uint8_t* next;  // asked for from memory meanwhile: `ahead` bytes a step; may be null
  int64_t ahead;
};

// Numbers of rows that lie `stride` numbers apart, float32 or bfloat16; null: none.
struct Numbers {
  const void* data = nullptr;
  int64_t stride = 0;
  bool half = false;
};

// What happens to sums while they are in registers, after the last block.
struct End {
  Numbers residual;          // added
  float least = -INFINITY;   // then smaller numbers become this: 0 for ReLU
  uint16_t* half = nullptr;  // where they go, rounded to bfloat16, `half_stride` apart; null: where the sums are
  int64_t half_stride = 0;
};

// The first `count` of sixteen lanes; all where there are more.
ZOO_INSIDE __mmask16 up_to(int64_t count) { return count >= 16 ? 0xFFFF : static_cast<__mmask16>((1U << count) - 1); }

// Sixteen numbers, or those `inside`, as float32; the processor need not know bfloat16.
ZOO_INLINE512 __m512i widened(const uint16_t* p, __mmask16 inside = 0xFFFF) { return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(inside, p)); }
ZOO_INLINE512 __m512 sixteen(const Numbers& n, int64_t row, int64_t i, __mmask16 inside = 0xFFFF) {
  const int64_t at = row * n.stride + i;
  if (!n.half) return _mm512_maskz_loadu_ps(inside, static_cast<const float*>(n.data) + at);
  return _mm512_castsi512_ps(_mm512_slli_epi32(widened(static_cast<const uint16_t*>(n.data) + at, inside), 16));
}

// Sixteen of a row's sums after the last block, from output i of the panel on, to what they stand for and then what `end` says.
template <class Type>
ZOO_INLINE512 void finish_sums(__m512& y, const Rows& x, int64_t row, const Block& b, int64_t i, const End& end) {
  if (Type::kWhole) {
    y = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_castps_si512(y)), _mm512_loadu_ps(b.scales + i));
    y = _mm512_fnmadd_ps(_mm512_set1_ps(x.zeros[row]), _mm512_loadu_ps(b.sums + i), y);
    y = _mm512_fmadd_ps(y, _mm512_set1_ps(x.scales[row]), _mm512_loadu_ps(b.bias + i));
  }
  if (end.residual.data) y = _mm512_add_ps(y, sixteen(end.residual, row, i));
  const __m512 least = _mm512_set1_ps(end.least);
  y = y < least ? least : y;  // no number stays none
}

// A row's results to where they go.
ZOO_INLINE512 void store_results(__m512 low, __m512 high, int64_t row, float* c, int64_t c_stride, const End& end) {
  if (end.half) {
    const __m512bh both = _mm512_cvtne2ps_pbh(high, low);
    std::memcpy(end.half + row * end.half_stride, &both, sizeof both);
  } else {
    _mm512_storeu_ps(c + row * c_stride, low);
    _mm512_storeu_ps(c + row * c_stride + 16, high);
  }
}

// c [R, 32] += rows x weight, or, in the first block, = bias + that; int8's whole sums become what they stand for after the last, plus the bias. `end`: of the last block, else null.
template <class Type, int R>
ZOO_AVX512 __attribute__((noinline)) void group(const Rows& x, const Block& b, float* c, int64_t c_stride, bool first, const End* end) {
  const uint32_t* const from = x.steps;
  const int64_t stride = x.stride;
  __m512 sum[R][2];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
    for (int p = 0; p < 2; ++p) {
      const float* const before = first ? b.bias + p * 16 : c + r * c_stride + p * 16;
      sum[r][p] = first && Type::kWhole ? _mm512_setzero_ps() : _mm512_loadu_ps(before);
    }
  }
  const uint8_t *weight = b.weight, *next = b.next ? b.next : b.weight;
  const int64_t ahead = b.next ? b.ahead : 0;
  for (int64_t i = 0; i < b.steps; ++i, weight += kBytes, next += ahead) {
    __builtin_prefetch(next, 0, 2);  // into the second level: the first holds this block
    if (R < 8) __builtin_prefetch(next + 64, 0, 2);
    const __m512i low = _mm512_load_si512(weight), high = _mm512_load_si512(weight + 64);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      uint32_t step;
      std::memcpy(&step, from + r * stride + i, sizeof step);
      sum[r][0] = Type::add(sum[r][0], step, low);
      sum[r][1] = Type::add(sum[r][1], step, high);
    }
  }
  if (!end) {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
      for (int p = 0; p < 2; ++p) _mm512_storeu_ps(c + r * c_stride + p * 16, sum[r][p]);
    }
    return;
  }
#pragma GCC unroll 2
  for (int p = 0; p < 2; ++p) {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) finish_sums<Type>(sum[r][p], x, r, b, p * 16, *end);
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) store_results(sum[r][0], sum[r][1], r, c, c_stride, *end);
}

template <class Type>
using Group = void (*)(const Rows&, const Block&, float*, int64_t, bool, const End*);
template <class Type>
constexpr Group<Type> kGroups[kTile.group + 1] = {nullptr, group<Type, 1>, group<Type, 2>, group<Type, 3>, group<Type, 4>, group<Type, 5>, group<Type, 6>, group<Type, 7>, group<Type, 8>};

ZOO_AVX512 inline void to_bfloat16(const float* x, int64_t count, uint16_t* to) {
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const __m256bh rounded = _mm512_cvtneps_pbh(_mm512_loadu_ps(x + i));
    std::memcpy(to + i, &rounded, sizeof rounded);
  }
  for (; i < count; ++i) to[i] = bfloat16_of(x[i]);
}

}  // namespace zoo::wide_detail
