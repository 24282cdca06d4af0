#include "models/blocks/panels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>
#include <stdexcept>

#if defined(__x86_64__)
#include "models/blocks/panels_detail.h"

namespace zoo {
namespace panels_detail {

// ---- weights of two types ----

ZOO_INLINE V load(const uint16_t* p) {  // bfloat16: the upper half of a float32
  typedef uint16_t Half __attribute__((vector_size(16), aligned(2), may_alias));
  const I bits = __builtin_convertvector(*reinterpret_cast<const Half*>(p), I) << 16;
  return reinterpret_cast<const V&>(bits);
}

void store(float value, float* p) { *p = value; }
void store(float value, uint16_t* p) { *p = bfloat16_of(value); }

// ---- the products ----

// Sums of R rows and P panels in registers: c += a b over `depth` inputs, or c = a b for the first block.
template <int R, int P, class T>
ZOO_INLINE void sums(const float* a, int64_t a_stride, const T* b, int64_t panel_stride, int64_t depth, float* c, int64_t c_stride, bool first, Ahead<T> ahead) {
  V sum[R][2 * P];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
    for (int p = 0; p < 2 * P; ++p) sum[r][p] = first ? V{} : load(c + r * c_stride + p * kLanes);
  }
  for (int64_t i = 0; i < depth; ++i) {
    __builtin_prefetch(ahead.from + i * ahead.step);
    V w[2 * P];
#pragma GCC unroll 16
    for (int p = 0; p < 2 * P; ++p) w[p] = load(b + (p / 2) * panel_stride + i * kPanel + (p % 2) * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const float s = a[r * a_stride + i];
      const V x = {s, s, s, s, s, s, s, s};
#pragma GCC unroll 16
      for (int p = 0; p < 2 * P; ++p) sum[r][p] += x * w[p];
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
    for (int p = 0; p < 2 * P; ++p) *reinterpret_cast<V*>(c + r * c_stride + p * kLanes) = sum[r][p];
  }
}

template <int R, int P, class T>
ZOO_AVX2 __attribute__((noinline)) void group(const float* a, int64_t a_stride, const T* b, int64_t panel_stride, int64_t depth, float* c,
                                              int64_t c_stride, bool first, Ahead<T> ahead) {
  sums<R, P, T>(a, a_stride, b, panel_stride, depth, c, c_stride, first, ahead);
}

template <class T>
using Group = void (*)(const float*, int64_t, const T*, int64_t, int64_t, float*, int64_t, bool, Ahead<T>);

// For 1 to 6 rows; few rows take several panels at once, as a sum must wait four cycles for its last term.
template <class T>
constexpr Group<T> kGroups[kGroup + 1] = {nullptr, group<1, 1, T>, group<2, 1, T>, group<3, 1, T>, group<4, 1, T>, group<5, 1, T>, group<6, 1, T>};

template <class T>
ZOO_AVX2 void expand(const T* b, int64_t count, float* out) {
  for (int64_t i = 0; i < count; i += kLanes) *reinterpret_cast<V*>(out + i) = load(b + i);
}

// One panel's block for the rows [from, from + rows) of x, in groups as equal as possible, each of which asks for its share of the
// block `next`.
template <class T>
void panel_block(const Product& p, int64_t from, int64_t rows, const T* b, const T* next, int64_t k, int64_t depth, float* c, int64_t c_stride) {
  in_groups(rows, kGroup, [&](int64_t row, int64_t count, int64_t g, int64_t groups) {
    const Ahead<T> ahead = next ? Ahead<T>{next + g * depth * kPanel / groups, divide_up(kPanel, groups)} : Ahead<T>{b, 0};
    kGroups<T>[count](p.x + (from + row) * p.in + k, p.in, b, 0, depth, c + row * c_stride, c_stride, k == 0, ahead);
  });
}

// Rows [m, m + rows) of outputs [n, n + columns), a multiple of nothing: the last panel may be narrower than its storage.
template <class T>
void tile(const Product& p, const T* panels, int64_t m, int64_t rows, int64_t n, int64_t columns) {
  const int64_t padded = divide_up(p.out, kPanel) * kPanel, whole = columns / kPanel * kPanel;
  alignas(64) float last[kRows * kPanel], wide[kDepth * kPanel];
  for (int64_t k = 0; k < p.in; k += kDepth) {
    const int64_t depth = std::min(kDepth, p.in - k);
    const T *block = panels + k * padded + n * depth, *later = k + depth < p.in ? panels + (k + depth) * padded + n * std::min(kDepth, p.in - k - depth) : nullptr;
    float* y = p.y + m * p.out + n;
    int64_t column = 0;
    if (rows == 1 && whole == kColumns) {
      group<1, 4, T>(p.x + m * p.in + k, p.in, block, depth * kPanel, depth, y, p.out, k == 0, Ahead<T>{block, 0});
      column = whole;
    }
    for (; column < columns; column += kPanel) {
      const bool fits = column < whole;
      float* c = fits ? y + column : last;
      const int64_t c_stride = fits ? p.out : kPanel;
      if (std::is_same_v<T, float> || rows <= kGroup) {
        panel_block(p, m, rows, block + column * depth, column + kPanel < columns ? block + (column + kPanel) * depth : later, k, depth, c, c_stride);
      } else {
        expand(block + column * depth, depth * kPanel, wide);
        panel_block<float>(p, m, rows, wide, nullptr, k, depth, c, c_stride);
      }
    }
  }
  for (int64_t row = 0; row < rows && whole < columns; ++row) {
    std::copy_n(last + row * kPanel, columns - whole, p.y + (m + row) * p.out + n + whole);
  }
}

// ---- what follows a product ----

template <Pointwise after>
struct Finish {
  ZOO_AVX2 static void row(float* y, int64_t count, const After& a) { finish_numbers<ByEights, after>(y, count, a); }
};

FinishRow finish_for(Pointwise after) { return finish_by<Finish>(after); }

// ---- laying out ----

// Eight rows and eight columns: to[c * to_stride + r] = from[r * stride + c].
ZOO_INLINE void transpose8(const float* from, int64_t stride, float* to, int64_t to_stride) {
  __m256 a[8], b[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) a[i] = _mm256_loadu_ps(from + i * stride);
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {  // pairs of rows
    b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]);
    b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {  // fours
    a[i] = _mm256_shuffle_ps(b[i], b[i + 2], 0x44);
    a[i + 1] = _mm256_shuffle_ps(b[i], b[i + 2], 0xEE);
    a[i + 2] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0x44);
    a[i + 3] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0xEE);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {  // halves of registers
    _mm256_storeu_ps(to + i * to_stride, _mm256_permute2f128_ps(a[i], a[i + 4], 0x20));
    _mm256_storeu_ps(to + (i + 4) * to_stride, _mm256_permute2f128_ps(a[i], a[i + 4], 0x31));
  }
}

ZOO_AVX2 void transpose_block(const float* from, int64_t rows, int64_t columns, int64_t stride, float* to, int64_t to_stride) {
  int64_t r = 0;
  for (; r + kLanes <= rows; r += kLanes) {
    int64_t c = 0;
    for (; c + kLanes <= columns; c += kLanes) transpose8(from + r * stride + c, stride, to + c * to_stride + r, to_stride);
    for (; c < columns; ++c) {
      for (int64_t i = r; i < r + kLanes; ++i) to[c * to_stride + i] = from[i * stride + c];
    }
  }
  for (; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) to[c * to_stride + r] = from[r * stride + c];
  }
}

// A whole panel's block of float32 where rows or columns of the weight are dense; false where they are not.
bool lay_out_fast(const float* weight, int64_t out_stride, int64_t in_stride, int64_t depth, float* to) {
  if (in_stride == 1) transpose_block(weight, kPanel, depth, out_stride, to, kPanel);
  if (out_stride != 1) return in_stride == 1;
  for (int64_t i = 0; i < depth; ++i) std::copy_n(weight + i * in_stride, kPanel, to + i * kPanel);
  return true;
}
bool lay_out_fast(const float*, int64_t, int64_t, int64_t, uint16_t*) { return false; }

template <class T>
void lay_out(const float* weight, int64_t out, int64_t in, int64_t out_stride, int64_t in_stride, T* panels) {
  const int64_t count = divide_up(out, kPanel), padded = count * kPanel;
  at::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin * kPanel; n < end * kPanel; n += kPanel) {
      const int64_t filled = std::min(kPanel, out - n);
      for (int64_t k = 0; k < in; k += kDepth) {
        const int64_t depth = std::min(kDepth, in - k);
        T* to = panels + k * padded + n * depth;
        if (filled == kPanel && lay_out_fast(weight + n * out_stride + k * in_stride, out_stride, in_stride, depth, to)) continue;
        for (int64_t i = 0; i < depth; ++i, to += kPanel) {
          const float* from = weight + n * out_stride + (k + i) * in_stride;
          for (int64_t o = 0; o < kPanel; ++o) store(o < filled ? from[o * out_stride] : 0.0F, to + o);
        }
      }
    }
  });
}

// Not in huge pages: products gain no more than a hundredth from them, and to find 1.3 GB of those took a second where the system had to clear memory first.
void* allocate(size_t bytes) {
  void* memory = nullptr;
  if (posix_memalign(&memory, 64, bytes) != 0) throw std::bad_alloc();
  return memory;
}

template <class T>
void multiply(const Product& p, const void* panels, const float* bias, Pointwise after, const float* residual) {
  over_finished_tiles(p, bias, after, residual, [&](int64_t m, int64_t rows, int64_t n, int64_t columns) { tile(p, static_cast<const T*>(panels), m, rows, n, columns); });
}

}  // namespace panels_detail

bool Panels::possible() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

void Panels::Free::operator()(void* memory) const { std::free(memory); }

Panels::Panels(const float* weight, int64_t out, int64_t in, int64_t out_stride, int64_t in_stride, PanelType type)
    : out_(out), in_(in), type_(type) {
  namespace d = panels_detail;
  const auto numbers = static_cast<size_t>(d::divide_up(out, d::kPanel) * d::kPanel * in);
  const bool codes = type == PanelType::int8 || type == PanelType::int4;
  bytes_ = codes ? d::code_bytes(out, in, type) : numbers * (type == PanelType::float32 ? sizeof(float) : sizeof(uint16_t));
  memory_.reset(d::allocate(std::max<size_t>(bytes_, 64)));
  if (type == PanelType::float32) d::lay_out(weight, out, in, out_stride, in_stride, static_cast<float*>(memory_.get()));
  if (type == PanelType::bfloat16) d::lay_out(weight, out, in, out_stride, in_stride, static_cast<uint16_t*>(memory_.get()));
  if (codes) d::lay_out_codes(weight, out, in, out_stride, in_stride, type, static_cast<uint8_t*>(memory_.get()));
}

void Panels::multiply(const float* x, int64_t rows, const float* bias, Pointwise after, const float* residual, float* y) const {
  namespace d = panels_detail;
  const d::Product product{x, y, rows, in_, out_};
  if (type_ == PanelType::float32) d::multiply<float>(product, memory_.get(), bias, after, residual);
  else if (type_ == PanelType::bfloat16) d::multiply<uint16_t>(product, memory_.get(), bias, after, residual);
  else d::multiply_codes(product, static_cast<const uint8_t*>(memory_.get()), type_, bias, after, residual);
}

void transpose(const float* x, int64_t rows, int64_t columns, float* y) {
  constexpr int64_t kBlock = 64;
  at::parallel_for(0, panels_detail::divide_up(columns, kBlock), 1, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin * kBlock; c < std::min(columns, end * kBlock); c += kBlock) {
      for (int64_t r = 0; r < rows; r += kBlock) {
        panels_detail::transpose_block(x + r * columns + c, std::min(kBlock, rows - r), std::min(kBlock, columns - c), columns, y + c * rows + r, rows);
      }
    }
  });
}

void finish_in_place(float* y, int64_t rows, int64_t columns, Pointwise after, const float* residual) {
  const auto finish = panels_detail::finish_for(after);
  at::parallel_for(0, rows, std::max<int64_t>(1, (int64_t{1} << 14) / columns), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) finish(y + row * columns, columns, {nullptr, residual ? residual + row * columns : nullptr});
  });
}

}  // namespace zoo

#else  // another processor: never possible, never called

namespace zoo {
bool Panels::possible() { return false; }
void Panels::Free::operator()(void* memory) const { std::free(memory); }
Panels::Panels(const float*, int64_t out, int64_t in, int64_t, int64_t, PanelType type) : out_(out), in_(in), type_(type), bytes_(0) {
  throw std::logic_error("Panels need an x86-64 processor with AVX2 and FMA");
}
void Panels::multiply(const float*, int64_t, const float*, Pointwise, const float*, float*) const {}
void finish_in_place(float*, int64_t, int64_t, Pointwise, const float*) {}
void transpose(const float*, int64_t, int64_t, float*) {}
}  // namespace zoo

#endif
