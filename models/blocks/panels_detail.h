// What the two files of Panels share: the registers, the scheme of tiles, what follows a product. Included by them alone, for x86-64.
#pragma once
#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>

#include "models/blocks/panels.h"

namespace zoo::panels_detail {

#define ZOO_AVX2 __attribute__((target("avx2,fma")))
#define ZOO_INLINE ZOO_AVX2 inline __attribute__((always_inline))

typedef float V __attribute__((vector_size(32), aligned(4), may_alias));  // eight lanes: one register
typedef int32_t I __attribute__((vector_size(32), aligned(4), may_alias));
constexpr int64_t kLanes = 8;
constexpr int64_t kPanel = 16;     // outputs of a panel
constexpr int64_t kDepth = 384;    // inputs of a block
constexpr int64_t kRows = 96;      // of a tile, the unit of work of a thread
constexpr int64_t kColumns = 64;   // of a tile
constexpr int64_t kGroup = 6;      // rows whose sums fit into the registers beside a panel: 6 x 2 of 16

inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
ZOO_INLINE V load(const float* p) { return *reinterpret_cast<const V*>(p); }

// What is asked of memory while a product runs: `step` numbers a time, beginning at `from`. Few rows are done with a block sooner
// than the next comes from memory, which would otherwise be asked for only when the first row needs it.
template <class T>
struct Ahead {
  const T* from;
  int64_t step;
};

// Calls work(first row, rows, share of the groups before, groups) for groups of at most six rows, as equal as possible.
template <class Work>
void in_groups(int64_t rows, const Work& work) {
  const int64_t groups = divide_up(rows, kGroup), base = rows / groups, larger = rows % groups;
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

// Memory of a weight; freed by Panels.
void* allocate(size_t bytes);

// Calls tile(first row, rows, first output, outputs) for the whole of a product, and finishes what it wrote.
template <class Tile>
void over_tiles(const Product& p, const float* bias, Pointwise after, const float* residual, const Tile& tile) {
  const int64_t across = divide_up(p.out, kColumns), tiles = across * divide_up(p.rows, kRows);
  const FinishRow finish = bias || residual || after != Pointwise::none ? finish_for(after) : nullptr;
  std::atomic<int64_t> next{0};
  // Whoever is free takes the next tile: a thread that the system holds up does not hold up the others.
  const auto work = [&](int64_t, int64_t) {
    for (int64_t i = next++; i < tiles; i = next++) {
      const int64_t m = i / across * kRows, n = i % across * kColumns;
      const int64_t rows = std::min(kRows, p.rows - m), columns = std::min(kColumns, p.out - n);
      tile(m, rows, n, columns);
      for (int64_t row = m; finish && row < m + rows; ++row) {
        finish(p.y + row * p.out + n, columns, {bias ? bias + n : nullptr, residual ? residual + row * p.out + n : nullptr});
      }
    }
  };
  constexpr int64_t kWorthAThread = 1 << 18;  // products
  const int64_t threads = std::min<int64_t>({tiles, at::get_num_threads(), 1 + p.rows * p.in * p.out / kWorthAThread});
  if (threads == 1) work(0, 1);
  else at::parallel_for(0, threads, 1, work);
}

// Weights as codes of 8 or 4 bits (panels_codes.cpp).
size_t code_bytes(int64_t out, int64_t in, PanelType type);
void lay_out_codes(const float* weight, int64_t out, int64_t in, int64_t out_stride, int64_t in_stride, PanelType type, uint8_t* panels);
void multiply_codes(const Product& p, const uint8_t* panels, PanelType type, const float* bias, Pointwise after, const float* residual);

}  // namespace zoo::panels_detail
