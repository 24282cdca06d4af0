#include "models/blocks/winograd.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <stdexcept>

#if defined(__x86_64__)
#include "models/blocks/wide_detail.h"

namespace zoo {
namespace winograd_detail {
using namespace wide_detail;

constexpr int64_t kSide = 4, kPlaces = kSide * kSide, kResults = 2;  // numbers of a tile and results, along a side
constexpr int64_t kMostChannels = 256;

// U = G g G^T with G = [1 0 0; 1/2 1/2 1/2; 1/2 -1/2 1/2; 0 0 1]: g [out, 3, 3, channels] -> [16, out, channels].
std::vector<float> transformed_weight(const float* g, int64_t out, int64_t channels) {
  std::vector<float> all(static_cast<size_t>(kPlaces * out * channels));
  const auto across = [](const float* w, float* to) {  // three numbers to four
    to[0] = w[0], to[1] = 0.5F * (w[0] + w[1] + w[2]), to[2] = 0.5F * (w[0] - w[1] + w[2]), to[3] = w[2];
  };
  at::parallel_for(0, out, 1, [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o) {
      for (int64_t c = 0; c < channels; ++c) {
        float half[3][kSide], u[kSide][kSide];  // G g, by columns; G (G g)^T
        for (int64_t x = 0; x < 3; ++x) {
          const float column[3] = {g[(o * 9 + x) * channels + c], g[(o * 9 + 3 + x) * channels + c], g[(o * 9 + 6 + x) * channels + c]};
          across(column, half[x]);
        }
        for (int64_t y = 0; y < kSide; ++y) {
          const float row[3] = {half[0][y], half[1][y], half[2][y]};
          across(row, u[y]);
          for (int64_t x = 0; x < kSide; ++x) all[static_cast<size_t>(((y * kSide + x) * out + o) * channels + c)] = u[y][x];
        }
      }
    }
  });
  return all;
}

// What a convolution reads and writes; tiles are numbered by picture, line and column.
struct Work {
  WidePanels::Pictures x;
  int64_t out, wide, high;  // tiles of a line, lines of a picture
  const float* bias;        // may be null
  Pointwise after;
  Numbers residual;         // may be null
  void* y;
  bool half;
  struct Place {
    int64_t picture, y, x;  // of the first result
  };
  Place place(int64_t tile) const { return {tile / (wide * high), tile / wide % high * kResults, tile % wide * kResults}; }
};

// V = B^T d B with B^T = [1 0 -1 0; 0 1 1 0; 0 -1 1 0; 0 1 0 -1]: the tile's numbers d [4, 4, channels] to one row of each of 16 matrices, which lie `apart` steps from each other.
template <class Type>
ZOO_AVX512 void transform_tile(const Work& w, int64_t tile, uint32_t* to, int64_t apart) {
  static constexpr float kZeros[kMostChannels] = {};
  const auto [picture, top, left] = w.place(tile);
  Numbers from[kSide][kSide];
  for (int64_t i = 0; i < kPlaces; ++i) {
    const int64_t y = top - 1 + i / kSide, x = left - 1 + i % kSide;
    const bool inside = y >= 0 && y < w.x.height && x >= 0 && x < w.x.width;
    const int64_t at = ((picture * w.x.height + y) * w.x.width + x) * w.x.channels * (w.x.half ? 2 : 4);
    from[i / kSide][i % kSide] = inside ? Numbers{static_cast<const uint8_t*>(w.x.data) + at, 0, w.x.half} : Numbers{kZeros, 0, w.x.half};
  }
  for (int64_t c = 0; c < w.x.channels; c += 16) {
    __m512 t[kSide][kSide];
#pragma GCC unroll 4
    for (int x = 0; x < kSide; ++x) {
      const __m512 d0 = sixteen(from[0][x], 0, c), d1 = sixteen(from[1][x], 0, c), d2 = sixteen(from[2][x], 0, c), d3 = sixteen(from[3][x], 0, c);
      t[0][x] = d0 - d2, t[1][x] = d1 + d2, t[2][x] = d2 - d1, t[3][x] = d1 - d3;
    }
#pragma GCC unroll 4
    for (int y = 0; y < kSide; ++y) {
      const __m512 v[kSide] = {t[y][0] - t[y][2], t[y][1] + t[y][2], t[y][2] - t[y][1], t[y][1] - t[y][3]};
#pragma GCC unroll 4
      for (int x = 0; x < kSide; ++x) {
        uint32_t* const steps = to + (y * kSide + x) * apart + c / Type::kInputs;
        if constexpr (std::is_same_v<Type, BFloat16>) {
          const __m256bh rounded = _mm512_cvtneps_pbh(v[x]);
          std::memcpy(steps, &rounded, sizeof rounded);
        } else {
          _mm512_storeu_ps(steps, v[x]);
        }
      }
    }
  }
}

// Y = A^T M A with A^T = [1 1 1 0; 0 1 -1 -1], then bias, residual, activation: one row of each of 16 matrices, `apart` numbers from each other, to the 2 x 2 results [out] inside the picture.
template <Pointwise after>
struct Finish {
  ZOO_AVX512 static void row(const Work& w, int64_t tile, const float* m, int64_t apart) {
    const auto [picture, top, left] = w.place(tile);
    for (int64_t o = 0; o < w.out; o += 16) {
      __m512 s[kResults][kSide];
#pragma GCC unroll 4
      for (int x = 0; x < kSide; ++x) {
        const float* const column = m + x * apart + o;
        const int64_t line = kSide * apart;
        const __m512 m1 = _mm512_loadu_ps(column + line), m2 = _mm512_loadu_ps(column + 2 * line);
        s[0][x] = _mm512_loadu_ps(column) + m1 + m2, s[1][x] = m1 - m2 - _mm512_loadu_ps(column + 3 * line);
      }
      const __m512 bias = w.bias ? _mm512_loadu_ps(w.bias + o) : _mm512_setzero_ps();
#pragma GCC unroll 2
      for (int y = 0; y < kResults; ++y) {
        const __m512 results[kResults] = {s[y][0] + s[y][1] + s[y][2] + bias, s[y][1] - s[y][2] - s[y][3] + bias};
#pragma GCC unroll 2
        for (int x = 0; x < kResults; ++x) {
          if (top + y >= w.x.height || left + x >= w.x.width) continue;
          const int64_t place = (picture * w.x.height + top + y) * w.x.width + left + x;
          lanes::Lanes number = results[x];
          if (w.residual.data) number += sixteen(w.residual, place, o);
          activate<BySixteens, after>(number);
          if (w.half) {
            const __m256bh rounded = _mm512_cvtneps_pbh(number);
            std::memcpy(static_cast<uint16_t*>(w.y) + place * w.out + o, &rounded, sizeof rounded);
          } else {
            _mm512_storeu_ps(static_cast<float*>(w.y) + place * w.out + o, number);
          }
        }
      }
    }
  }
};

// Tiles at a time: their transformed numbers and products shall stay in the second-level cache, and a weight that is read for them be worth it.
int64_t most_tiles(int64_t channels, int64_t out) { return std::clamp<int64_t>(8192 / (channels + out), 32, 64); }

template <class Type>
void convolve(const Work& w, const std::vector<WidePanels>& places) {
  const int64_t tiles = w.x.count * w.high * w.wide, steps = w.x.channels / Type::kInputs, threads = at::get_num_threads();
  const int64_t parts = divide_up(divide_up(tiles, most_tiles(w.x.channels, w.out)), threads) * threads, some = divide_up(tiles, parts);
  const auto finish = finish_by<Finish>(w.after);
  std::atomic<int64_t> next{0};
  at::parallel_for(0, std::min(threads, parts), 1, [&](int64_t, int64_t) {
    std::unique_ptr<uint32_t[]> numbers(new uint32_t[static_cast<size_t>(kPlaces * some * steps)]);
    std::unique_ptr<float[]> products(new float[static_cast<size_t>(kPlaces * some * w.out)]);
    for (int64_t first = next.fetch_add(some); first < tiles; first = next.fetch_add(some)) {
      const int64_t count = std::min(some, tiles - first);
      for (int64_t t = 0; t < count; ++t) transform_tile<Type>(w, first + t, numbers.get() + t * steps, some * steps);
      for (int64_t p = 0; p < kPlaces; ++p) places[static_cast<size_t>(p)].multiply_here(numbers.get() + p * some * steps, count, products.get() + p * some * w.out);
      for (int64_t t = 0; t < count; ++t) finish(w, first + t, products.get() + t * w.out, some * w.out);
    }
  });
}

}  // namespace winograd_detail

bool Winograd::possible(PanelType type, int64_t out, int64_t channels) {
  const auto fits = [](int64_t count) { return count % 16 == 0 && count <= winograd_detail::kMostChannels; };
  return (type == PanelType::float32 || type == PanelType::bfloat16) && WidePanels::possible(type) && fits(channels) && fits(out);
}

Winograd::Winograd(const float* weight, int64_t out, int64_t channels, PanelType type) : out_(out), channels_(channels), type_(type) {
  if (!possible(type, out, channels)) throw std::logic_error("Winograd: not for this type and these channels on this processor");
  const std::vector<float> all = winograd_detail::transformed_weight(weight, out, channels);
  for (int64_t i = 0; i < winograd_detail::kPlaces; ++i) places_.emplace_back(all.data() + i * out * channels, out, channels, channels, 1, type);
}

void Winograd::convolve(const WidePanels::Pictures& x, const float* bias, Pointwise after, const void* residual, void* y, bool half) const {
  namespace d = winograd_detail;
  const d::Work work = {x, out_, d::divide_up(x.width, d::kResults), d::divide_up(x.height, d::kResults), bias, after, {residual, out_, half}, y, half};
  if (type_ == PanelType::bfloat16) d::convolve<d::BFloat16>(work, places_);
  else d::convolve<d::Float32>(work, places_);
}

}  // namespace zoo

#else  // another processor

namespace zoo {
bool Winograd::possible(PanelType, int64_t, int64_t) { return false; }
Winograd::Winograd(const float*, int64_t out, int64_t channels, PanelType type) : out_(out), channels_(channels), type_(type) { throw std::logic_error("Winograd needs an x86-64 processor with AVX-512"); }
void Winograd::convolve(const WidePanels::Pictures&, const float*, Pointwise, const void*, void*, bool) const {}
}  // namespace zoo

#endif
