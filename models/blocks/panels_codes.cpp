// Panels whose weights are codes of 8 or 4 bits.
//
// [block of inputs][panel][group of inputs]: 16 scales, then for every pair of inputs (int8) or two pairs (int4) 32 bytes:
//   int8: [16 outputs][2 inputs] bytes;
//   int4: the same, whose lower halves are the codes of the first pair and whose upper halves those of the second.
// A multiplication of pairs of 16-bit numbers, added to 32 bits, then takes eight outputs: 2 x 127 x 32767 x 192 pairs stay below 2^31.
#if defined(__x86_64__)
#include <immintrin.h>

#include <cmath>
#include <cstring>
#include <memory>

#include "models/blocks/panels_detail.h"

namespace zoo::panels_detail {
namespace codes {

struct Int8 {
  static constexpr int64_t kInputs = 384, kTogether = 2, kMost = 127;  // inputs of a group, inputs of 32 bytes, largest code
};
struct Int4 {
  static constexpr int64_t kInputs = 64, kTogether = 4, kMost = 7;
};
constexpr int64_t kStride = 32;  // bytes of 16 outputs
constexpr int64_t kScales = kPanel * static_cast<int64_t>(sizeof(float));
constexpr float kLargest = 32767.0F;

template <class Code>
int64_t bytes_of(int64_t depth) {  // of one panel's block
  return divide_up(depth, Code::kInputs) * kScales + divide_up(depth, Code::kTogether) * kStride;
}

// x [in] -> whole numbers, then zeros up to `padded`; returns their scale. What is not finite makes the scale, and so the results, no number.
ZOO_AVX2 float whole_numbers(const float* x, int64_t in, int64_t padded, int16_t* to) {
  const __m256 sign = _mm256_set1_ps(-0.0F);
  __m256 most = _mm256_setzero_ps(), sum = most;
  int64_t i = 0;
  for (; i + kLanes <= in; i += kLanes) {
    const __m256 v = _mm256_loadu_ps(x + i);
    most = _mm256_max_ps(most, _mm256_andnot_ps(sign, v));
    sum = _mm256_add_ps(sum, _mm256_sub_ps(v, v));  // 0, or no number
  }
  float largest = 0, trouble = 0, lanes[2][kLanes];
  _mm256_storeu_ps(lanes[0], most);
  _mm256_storeu_ps(lanes[1], sum);
  for (int64_t lane = 0; lane < kLanes; ++lane) largest = std::max(largest, lanes[0][lane]), trouble += lanes[1][lane];
  for (int64_t rest = i; rest < in; ++rest) largest = std::max(largest, std::abs(x[rest])), trouble += x[rest] - x[rest];
  const float factor = largest > 1e-30F ? kLargest / largest : 0.0F;
  const __m256 times = _mm256_set1_ps(factor);
  for (i = 0; i + 2 * kLanes <= in; i += 2 * kLanes) {
    const __m256i low = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + i), times)), high = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + i + kLanes), times));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i), _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xD8));
  }
  for (; i < in; ++i) to[i] = static_cast<int16_t>(std::lrint(trouble == 0 ? x[i] * factor : 0.0F));
  std::fill(to + in, to + padded, int16_t{0});
  return trouble == 0 ? largest / kLargest : NAN;
}

// The codes of 8 outputs and `kTogether` inputs at p, as pairs of 16 bits.
ZOO_INLINE void codes_of(Int8, const uint8_t* p, __m256i* w) { w[0] = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
ZOO_INLINE void codes_of(Int4, const uint8_t* p, __m256i* w) {
  const __m256i both = _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  w[0] = _mm256_srai_epi16(_mm256_slli_epi16(both, 12), 12);
  w[1] = _mm256_srai_epi16(_mm256_slli_epi16(both, 8), 12);
}

// Sums of R rows and P panels over `depth` inputs: c += (or = for the first block) factor of the row x scale of the group x whole sum.
template <int R, int P, class Code>
ZOO_AVX2 __attribute__((noinline)) void group(const int16_t* x, int64_t x_stride, const float* factors, const uint8_t* b, int64_t panel_stride, int64_t depth,
                                              float* c, int64_t c_stride, bool first, Ahead<uint8_t> ahead) {
  constexpr int kPairs = Code::kTogether / 2;
  for (int64_t from = 0; from < depth; from += Code::kInputs) {
    const uint8_t* const block = b + from / Code::kTogether * kStride + from / Code::kInputs * kScales;
    const int64_t steps = divide_up(std::min(Code::kInputs, depth - from), Code::kTogether);
    I sum[R][2 * P];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
      for (int p = 0; p < 2 * P; ++p) sum[r][p] = I{};
    }
#pragma GCC unroll 2
    for (int64_t i = 0; i < steps; ++i) {
      __builtin_prefetch(ahead.from);
      ahead.from += ahead.step;
      __m256i w[2 * P][kPairs];
#pragma GCC unroll 16
      for (int p = 0; p < 2 * P; ++p) codes_of(Code(), block + (p / 2) * panel_stride + kScales + i * kStride + (p % 2) * 16, w[p]);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
        for (int k = 0; k < kPairs; ++k) {
          int32_t pair;
          std::memcpy(&pair, x + r * x_stride + from + i * Code::kTogether + 2 * k, sizeof pair);
          const __m256i twice = _mm256_set1_epi32(pair);
#pragma GCC unroll 16
          for (int p = 0; p < 2 * P; ++p) sum[r][p] += (I)_mm256_madd_epi16(w[p][k], twice);
        }
      }
    }
#pragma GCC unroll 16
    for (int p = 0; p < 2 * P; ++p) {
      const __m256 scale = _mm256_loadu_ps(reinterpret_cast<const float*>(block + (p / 2) * panel_stride) + (p % 2) * kLanes);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        float* to = c + r * c_stride + p * kLanes;
        const __m256 so_far = first && from == 0 ? _mm256_setzero_ps() : _mm256_loadu_ps(to);
        _mm256_storeu_ps(to, _mm256_fmadd_ps(_mm256_mul_ps(_mm256_set1_ps(factors[r]), scale), _mm256_cvtepi32_ps((__m256i)sum[r][p]), so_far));
      }
    }
  }
}

template <class Code>
using Group = void (*)(const int16_t*, int64_t, const float*, const uint8_t*, int64_t, int64_t, float*, int64_t, bool, Ahead<uint8_t>);
template <class Code>
constexpr Group<Code> kGroups[kGroup + 1] = {nullptr, group<1, 1, Code>, group<2, 1, Code>, group<3, 1, Code>, group<4, 1, Code>, group<5, 1, Code>, group<6, 1, Code>};

struct Rows {
  int64_t padded;                      // numbers of a row
  std::unique_ptr<int16_t[]> numbers;  // [rows, padded]
  std::unique_ptr<float[]> factors;    // [rows]
};

Rows whole_rows(const Product& p) {
  const int64_t padded = divide_up(p.in, 4) * 4;
  Rows all{padded, std::unique_ptr<int16_t[]>(new int16_t[static_cast<size_t>(p.rows * padded)]), std::unique_ptr<float[]>(new float[static_cast<size_t>(p.rows)])};
  at::parallel_for(0, p.rows, std::max<int64_t>(1, (1 << 16) / p.in), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) all.factors[static_cast<size_t>(row)] = whole_numbers(p.x + row * p.in, p.in, padded, all.numbers.get() + row * padded);
  });
  return all;
}

// As the tile of floats.
template <class Code>
void tile(const Product& p, const Rows& x, const uint8_t* panels, int64_t m, int64_t rows, int64_t n, int64_t columns) {
  const int64_t count = divide_up(p.out, kPanel), whole = columns / kPanel * kPanel;
  alignas(64) float last[kRows * kPanel];
  const uint8_t* level = panels;
  for (int64_t k = 0; k < p.in; k += kDepth) {
    const int64_t depth = std::min(kDepth, p.in - k), bytes = bytes_of<Code>(depth);
    const uint8_t *block = level + n / kPanel * bytes, *below = level + count * bytes;
    const uint8_t* later = k + depth < p.in ? below + n / kPanel * bytes_of<Code>(std::min(kDepth, p.in - k - depth)) : nullptr;
    float* y = p.y + m * p.out + n;
    const int16_t* numbers = x.numbers.get() + m * x.padded + k;
    int64_t column = 0;
    if (rows == 1 && whole == kColumns) {
      group<1, 4, Code>(numbers, x.padded, x.factors.get() + m, block, bytes, depth, y, p.out, k == 0, {block, 0});
      column = whole;
    }
    for (; column < columns; column += kPanel, block += bytes) {
      const bool fits = column < whole;
      float* c = fits ? y + column : last;
      const int64_t c_stride = fits ? p.out : kPanel;
      const uint8_t* next = column + kPanel < columns ? block + bytes : later;
      in_groups(rows, kGroup, [&](int64_t row, int64_t of, int64_t g, int64_t groups) {
        const Ahead<uint8_t> ahead = next ? Ahead<uint8_t>{next + g * bytes / groups, divide_up(kStride, groups)} : Ahead<uint8_t>{block, 0};
        kGroups<Code>[of](numbers + row * x.padded, x.padded, x.factors.get() + m + row, block, 0, depth, c + row * c_stride, c_stride, k == 0, ahead);
      });
    }
    level = below;
  }
  for (int64_t row = 0; row < rows && whole < columns; ++row) std::copy_n(last + row * kPanel, columns - whole, p.y + (m + row) * p.out + n + whole);
}

template <class Code>
void multiply(const Product& p, const uint8_t* panels, const float* bias, Pointwise after, const float* residual) {
  const Rows x = whole_rows(p);
  over_finished_tiles(p, bias, after, residual, [&](int64_t m, int64_t rows, int64_t n, int64_t columns) { tile<Code>(p, x, panels, m, rows, n, columns); });
}

// One output's codes of one group, and their scale.
template <class Code>
float encode(const float* weight, int64_t stride, int64_t inputs, int8_t* to) {
  float largest = 0;
  bool finite = true;
  for (int64_t i = 0; i < inputs; ++i) {
    largest = std::max(largest, std::abs(weight[i * stride]));
    finite = finite && std::isfinite(weight[i * stride]);
  }
  const float scale = largest / static_cast<float>(Code::kMost);
  for (int64_t i = 0; i < inputs; ++i) to[i] = static_cast<int8_t>(finite && scale > 0 ? std::lrint(weight[i * stride] / scale) : 0);
  return finite ? scale : NAN;
}

void put(Int8, uint8_t* codes, int64_t output, int64_t input, int8_t code) { codes[input / 2 * kStride + output * 2 + input % 2] = static_cast<uint8_t>(code); }
void put(Int4, uint8_t* codes, int64_t output, int64_t input, int8_t code) {
  uint8_t& byte = codes[input / 4 * kStride + output * 2 + input % 2];
  byte = static_cast<uint8_t>(byte | (code & 15) << (input % 4 < 2 ? 0 : 4));
}

template <class Code>
void lay_out(const float* weight, int64_t out, int64_t in, int64_t out_stride, int64_t in_stride, uint8_t* panels) {
  const int64_t count = divide_up(out, kPanel);
  at::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
    uint8_t* level = panels;
    for (int64_t k = 0; k < in; k += kDepth) {
      const int64_t depth = std::min(kDepth, in - k), bytes = bytes_of<Code>(depth);
      for (int64_t panel = begin; panel < end; ++panel) {
        uint8_t* block = level + panel * bytes;
        std::memset(block, 0, static_cast<size_t>(bytes));
        for (int64_t from = 0; from < depth; from += Code::kInputs) {
          const int64_t inputs = std::min(Code::kInputs, depth - from);
          int8_t row[Code::kInputs];
          for (int64_t o = 0; o < std::min(kPanel, out - panel * kPanel); ++o) {
            const float scale = encode<Code>(weight + (panel * kPanel + o) * out_stride + (k + from) * in_stride, in_stride, inputs, row);
            std::memcpy(block + o * sizeof(float), &scale, sizeof scale);
            for (int64_t i = 0; i < inputs; ++i) put(Code(), block + kScales, o, i, row[i]);
          }
          block += kScales + divide_up(inputs, Code::kTogether) * kStride;
        }
      }
      level += count * bytes;
    }
  });
}

}  // namespace codes

size_t code_bytes(int64_t out, int64_t in, PanelType type) {
  const auto block = type == PanelType::int8 ? codes::bytes_of<codes::Int8> : codes::bytes_of<codes::Int4>;
  const int64_t rest = in % kDepth;
  return static_cast<size_t>(divide_up(out, kPanel) * (in / kDepth * block(kDepth) + (rest ? block(rest) : 0)));
}

void lay_out_codes(const float* weight, int64_t out, int64_t in, int64_t out_stride, int64_t in_stride, PanelType type, uint8_t* panels) {
  const auto lay_out = type == PanelType::int8 ? codes::lay_out<codes::Int8> : codes::lay_out<codes::Int4>;
  lay_out(weight, out, in, out_stride, in_stride, panels);
}

void multiply_codes(const Product& p, const uint8_t* panels, PanelType type, const float* bias, Pointwise after, const float* residual) {
  const auto multiply = type == PanelType::int8 ? codes::multiply<codes::Int8> : codes::multiply<codes::Int4>;
  multiply(p, panels, bias, after, residual);
}

}  // namespace zoo::panels_detail

#endif
