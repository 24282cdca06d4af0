// Groups of rows by AMX, where a processor has it: tiles of 16 rows x 64 bytes instead of registers. Included by the files with AVX-512 arithmetic alone.
//
// Sixteen steps of a panel are two tiles as they lie, and sixteen steps of sixteen rows are one, so nothing is laid out anew: a product of tiles (tdpbf16ps, tdpbusd) adds sixteen
// steps of each of 16 x 16 sums. A group has up to 32 rows, hence four tiles of sums, two of rows and two of the weight.
//
// Every group goes this way, whatever its rows, so that a row's result does not depend on how many there are: tiles sum bfloat16 in another order than registers do (the pairs'
// first and second numbers each by themselves, sixteen steps at a time, denormal numbers being zero). It is no loss: one row was as fast either way, and more rows faster.
#pragma once
#include "models/blocks/wide_detail.h"

#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <cstdlib>
#include <string_view>

namespace zoo::wide_detail {

#define ZOO_AMX __attribute__((target("amx-tile,amx-bf16,amx-int8,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512bf16,avx2,fma")))

constexpr int64_t kTileRows = 16, kTileSteps = 16;  // of a tile register
constexpr int64_t kMostRows = 128;                  // of a piece of work, by tiles or not
constexpr TileSize kAmxTile = {.rows = kMostRows, .columns = kTile.columns, .group = 2 * kTileRows};
static_assert(kTile.rows <= kMostRows);

// Whether this process may use tiles: the kernel wants to be asked once, since they make a thread's state 8 KB larger. ZOO_LINEAR_KERNEL=avx512 does without them.
inline bool tiles_granted() {
  static const bool granted = [] {
#if defined(__linux__) && defined(SYS_arch_prctl)
    const char* const wish = std::getenv("ZOO_LINEAR_KERNEL");
    if (wish && std::string_view(wish) == "avx512") return false;
    unsigned a, b, c, features;
    constexpr unsigned kNeeded = 1U << 22 | 1U << 24 | 1U << 25;  // amx-bf16, amx-tile, amx-int8
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &features) || (features & kNeeded) != kNeeded) return false;
    constexpr long kRequest = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA: not in the headers of older systems
    return syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
#else
    return false;
#endif
  }();
  return granted;
}

// What the tiles of a thread hold, as the processor reads it.
struct alignas(64) TileShapes {
  uint8_t palette = 1, start = 0, none[14] = {};
  uint16_t bytes[16] = {};  // of a row
  uint8_t rows[16] = {};
};
static_assert(sizeof(TileShapes) == 64);

// The compiler does not know what the instructions with tiles read: what was written before is in memory after this.
inline void settle(const void* memory) { __asm__ volatile("" : : "r"(memory) : "memory"); }

// Tiles 0 and 1 are the sums of the upper sixteen rows, 2 and 3 those of the lower; 4 and 5 the rows, 6 and 7 the weight.
ZOO_AMX inline void shape_tiles(int64_t rows) {
  const int64_t upper = std::min(rows, kTileRows), lower = rows - upper, all[8] = {upper, upper, lower, lower, upper, lower, kTileSteps, kTileSteps};
  TileShapes shapes;
  for (int i = 0; i < 8; ++i) {
    shapes.rows[i] = static_cast<uint8_t>(all[i]);
    shapes.bytes[i] = all[i] > 0 ? 64 : 0;
  }
  settle(&shapes);
  _tile_loadconfig(&shapes);
}

// Others who use tiles in this thread configure them for themselves; a thread that is done with them is cheaper to suspend.
ZOO_AMX inline void release_tiles() { _tile_release(); }

#define ZOO_TILE_PRODUCT(sums, rows, weight)                       \
  do {                                                             \
    if constexpr (Type::kWhole) _tile_dpbusd(sums, rows, weight);  \
    else _tile_dpbf16ps(sums, rows, weight);                       \
  } while (false)

// Sixteen steps, fewer having been filled up with zeros.
struct Steps {
  alignas(64) uint32_t rows[2 * kTileRows][kTileSteps];
  alignas(64) uint32_t weight[kTileSteps][kWidePanel];
};

inline void fill_up(const Rows& x, int64_t count, const Block& b, int64_t from, Steps& to) {
  std::memset(&to, 0, sizeof to);
  for (int64_t r = 0; r < count; ++r) std::memcpy(to.rows[r], x.steps + r * x.stride + from, static_cast<size_t>((b.steps - from) * 4));
  std::memcpy(to.weight, b.weight + from * kBytes, static_cast<size_t>((b.steps - from) * kBytes));
  settle(&to);
}

// What group() does to sums in registers after the last block.
template <class Type>
ZOO_AVX512 inline void finish_group(const Rows& x, int64_t count, const Block& b, float* c, int64_t c_stride, const End& end) {
  for (int64_t r = 0; r < count; ++r) {
    __m512 low = _mm512_loadu_ps(c + r * c_stride), high = _mm512_loadu_ps(c + r * c_stride + 16);
    finish_sums<Type>(low, x, r, b, 0, end);
    finish_sums<Type>(high, x, r, b, 16, end);
    store_results(low, high, r, c, c_stride, end);
  }
}

// What group() does, for `count` rows, for which the tiles are shaped; two: more than fit into one tile.
template <class Type, bool two>
ZOO_AMX __attribute__((noinline)) void tile_group(const Rows& x, int64_t count, const Block& b, float* c, int64_t c_stride, bool first, const End* end) {
  float* const lower = c + kTileRows * c_stride;
  const int64_t c_bytes = c_stride * 4;
  settle(c);
  if (first && Type::kWhole) {
    _tile_zero(0);
    _tile_zero(1);
    if (two) _tile_zero(2);
    if (two) _tile_zero(3);
  } else {  // every row of sums begins with the bias, which lies there once: rows 0 bytes apart
    const int64_t apart = first ? 0 : c_bytes;
    _tile_loadd(0, first ? b.bias : c, apart);
    _tile_loadd(1, (first ? b.bias : c) + 16, apart);
    if (two) _tile_loadd(2, first ? b.bias : lower, apart);
    if (two) _tile_loadd(3, (first ? b.bias : lower) + 16, apart);
  }
  const uint8_t* next = b.next;
  Steps rest;
  for (int64_t i = 0; i < b.steps; i += kTileSteps) {
    const uint32_t* rows = x.steps + i;
    const uint8_t* weight = b.weight + i * kBytes;
    int64_t row_bytes = x.stride * 4;
    if (b.steps - i < kTileSteps) {
      fill_up(x, count, b, i, rest);
      rows = rest.rows[0], row_bytes = kTileSteps * 4, weight = reinterpret_cast<const uint8_t*>(rest.weight[0]);
    }
    if (next) {
      for (int64_t byte = 0; byte < kTileSteps * b.ahead; byte += 64) __builtin_prefetch(next + byte, 0, 2);  // into the second level, as group() does
      next += kTileSteps * b.ahead;
    }
    _tile_loadd(4, rows, row_bytes);
    _tile_loadd(6, weight, kBytes);
    _tile_loadd(7, weight + 64, kBytes);
    ZOO_TILE_PRODUCT(0, 4, 6);
    ZOO_TILE_PRODUCT(1, 4, 7);
    if constexpr (two) {
      _tile_loadd(5, rows + kTileRows * row_bytes / 4, row_bytes);
      ZOO_TILE_PRODUCT(2, 5, 6);
      ZOO_TILE_PRODUCT(3, 5, 7);
    }
  }
  _tile_stored(0, c, c_bytes);
  _tile_stored(1, c + 16, c_bytes);
  if (two) _tile_stored(2, lower, c_bytes);
  if (two) _tile_stored(3, lower + 16, c_bytes);
  settle(c);
  if (end && (Type::kWhole || end->residual.data || end->least == 0 || end->half)) finish_group<Type>(x, count, b, c, c_stride, *end);
}

// The groups of one piece of work: by tiles, which are given back when it is done, or by registers.
template <class Type>
class GroupProducts {
 public:
  GroupProducts() = default;
  GroupProducts(const GroupProducts&) = delete;
  GroupProducts& operator=(const GroupProducts&) = delete;
  ~GroupProducts() {
    if (shaped_ > 0) release_tiles();
  }

  static bool by_tiles() { return !std::is_same_v<Type, Float32> && tiles_granted(); }
  static TileSize size() { return by_tiles() ? kAmxTile : kTile; }

  // As group(), of up to size().group rows.
  void operator()(const Rows& x, int64_t count, const Block& b, float* c, int64_t c_stride, bool first, const End* end) {
    if constexpr (!std::is_same_v<Type, Float32>) {
      if (by_tiles_) return tiles(x, count, b, c, c_stride, first, end);
    }
    kGroups<Type>[count](x, b, c, c_stride, first, end);
  }

 private:
  void tiles(const Rows& x, int64_t count, const Block& b, float* c, int64_t c_stride, bool first, const End* end) {
    if (count != shaped_) shape_tiles(shaped_ = count);
    if (count > kTileRows) tile_group<Type, true>(x, count, b, c, c_stride, first, end);
    else tile_group<Type, false>(x, count, b, c, c_stride, first, end);
  }

  const bool by_tiles_ = by_tiles();
  int64_t shaped_ = 0;  // rows; 0: tiles are not in use
};

}  // namespace zoo::wide_detail
