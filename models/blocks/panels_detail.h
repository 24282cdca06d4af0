// What the files of Panels and WidePanels share: the registers, the scheme of tiles, what follows a product. Included by them alone, for x86-64.
#pragma once
#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

#include "models/blocks/panels.h"

namespace zoo::panels_detail {

#define ZOO_AVX2 __attribute__((target("avx2,fma")))
#define ZOO_INLINE ZOO_AVX2 inline __attribute__((always_inline))

typedef float V __attribute__((vector_size(32), aligned(4), may_alias));  // eight lanes: one register
typedef int32_t I __attribute__((vector_size(32), aligned(4), may_alias));
constexpr int64_t kLanes = 8;
constexpr int64_t kPanel = 16;     // outputs of a panel
constexpr int64_t kDepth = 384;    // inputs of a block

// A tile is the unit of work of a thread; a group the rows whose sums fit into the registers beside a panel.
struct TileSize {
  int64_t rows, columns, group;
};
constexpr int64_t kRows = 96, kColumns = 64, kGroup = 6;  // sums of 6 x 2 registers of 16

inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
ZOO_INLINE V load(const float* p) { return *reinterpret_cast<const V*>(p); }

// What is asked of memory while a product runs: `step` numbers a time, beginning at `from`. Few rows are done with a block sooner
// than the next comes from memory, which would otherwise be asked for only when the first row needs it.
template <class T>
struct Ahead {
  const T* from;
  int64_t step;
};

// Calls work(first row, rows, groups before, groups) for groups of at most so many rows, as equal as possible.
template <class Work>
void in_groups(int64_t rows, int64_t most, const Work& work) {
  const int64_t groups = divide_up(rows, most), base = rows / groups, larger = rows % groups;
  for (int64_t g = 0, row = 0; g < groups; ++g) {
    const int64_t count = base + (g < larger);
    work(row, count, g, groups);
    row += count;
  }
}

struct Product {
  const float* x;
  float* y;
  int64_t rows, in, out;
};

struct After {
  const float *bias, *residual;  // either may be null
};
using FinishRow = void (*)(float*, int64_t, const After&);  // after(y + bias) + residual of so many numbers
FinishRow finish_for(Pointwise after);

inline uint16_t bfloat16_of(float value) {  // to the nearest, ties to even; NaN stays NaN
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return std::isnan(value) ? uint16_t{0x7FC0} : static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

// Memory of a weight; freed by Panels and WidePanels.
void* allocate(size_t bytes);

// to[c * to_stride + r] = from[r * stride + c].
void transpose_block(const float* from, int64_t rows, int64_t columns, int64_t stride, float* to, int64_t to_stride);

// Calls tile(first row, rows, first output, outputs) for the whole of a product.
template <class Tile>
void over_tiles(const Product& p, const TileSize& size, const Tile& tile) {
  // Of one height as far as whole groups allow.
  const int64_t high = divide_up(divide_up(p.rows, divide_up(p.rows, size.rows)), size.group) * size.group;
  const int64_t across = divide_up(p.out, size.columns), tiles = across * divide_up(p.rows, high);
  std::atomic<int64_t> next{0};
  // Whoever is free takes the next tile: a thread that the system holds up does not hold up the others.
  const auto work = [&](int64_t, int64_t) {
    for (int64_t i = next++; i < tiles; i = next++) {
      const int64_t m = i / across * high, n = i % across * size.columns;
      tile(m, std::min(high, p.rows - m), n, std::min(size.columns, p.out - n));
    }
  };
  constexpr int64_t kWorthAThread = 1 << 18;  // products
  const int64_t threads = std::min<int64_t>({tiles, at::get_num_threads(), 1 + p.rows * p.in * p.out / kWorthAThread});
  if (threads == 1) work(0, 1);
  else at::parallel_for(0, threads, 1, work);
}

// The same for tiles of Panels, which are finished as wholes.
template <class Tile>
void over_finished_tiles(const Product& p, const float* bias, Pointwise after, const float* residual, const Tile& tile) {
  const FinishRow finish = bias || residual || after != Pointwise::none ? finish_for(after) : nullptr;
  over_tiles(p, {kRows, kColumns, kGroup}, [&](int64_t m, int64_t rows, int64_t n, int64_t columns) {
    tile(m, rows, n, columns);
    for (int64_t row = m; finish && row < m + rows; ++row) {
      finish(p.y + row * p.out + n, columns, {bias ? bias + n : nullptr, residual ? residual + row * p.out + n : nullptr});
    }
  });
}

// Weights as codes of 8 or 4 bits (panels_codes.cpp).
size_t code_bytes(int64_t out, int64_t in, PanelType type);
void lay_out_codes(const float* weight, int64_t out, int64_t in, int64_t out_stride, int64_t in_stride, PanelType type, uint8_t* panels);
void multiply_codes(const Product& p, const uint8_t* panels, PanelType type, const float* bias, Pointwise after, const float* residual);

}  // namespace zoo::panels_detail
