#include "models/blocks/norm_rows.h"

#include <cmath>
#include <cstring>

#include "models/blocks/vector_lanes.h"

namespace zoo {
namespace norm_rows_detail {
using namespace lanes;

typedef uint16_t Halves __attribute__((vector_size(32), aligned(2), may_alias));
constexpr int kSums = 4;  // a sum that waits for itself would take four times as long

// To the nearest bfloat16, ties to even; what is no number stays none.
ZOO_INSIDE void store_half(const Lanes& x, uint16_t* to) {
  const Whole bits = reinterpret_cast<const Whole&>(x);
  const Whole rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
  *reinterpret_cast<Halves*>(to) = __builtin_convertvector(x == x ? rounded : Whole{} + 0x7FC0, Halves);
}

// The sum of a row's numbers less `mean`, or of their squares.
template <bool squares>
ZOO_INSIDE float sum_over(const float* x, int64_t width, float mean) {
  Lanes sums[kSums] = {};
  int64_t i = 0;
  for (; i + kSums * kLanes <= width; i += kSums * kLanes) {
#pragma GCC unroll 4
    for (int s = 0; s < kSums; ++s) {
      const Lanes v = at<BySixteens>(x + i + s * kLanes) - mean;
      sums[s] += squares ? v * v : v;
    }
  }
  for (; i + kLanes <= width; i += kLanes) {
    const Lanes v = at<BySixteens>(x + i) - mean;
    sums[0] += squares ? v * v : v;
  }
  for (; i < width; ++i) sums[1][i % kLanes] += squares ? (x[i] - mean) * (x[i] - mean) : x[i] - mean;
  return sum_of((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

ZOO_INSIDE void norm_row(const float* x, const NormRows& n, void* y) {
  const float mean = sum_over<false>(x, n.width, 0.0F) / static_cast<float>(n.width);
  const float squares = sum_over<true>(x, n.width, mean);
  const float scale = 1.0F / std::sqrt(squares / static_cast<float>(n.width) + n.eps);
  int64_t i = 0;
  for (; i + kLanes <= n.width; i += kLanes) {
    const Lanes v = (at<BySixteens>(x + i) - mean) * scale * at<BySixteens>(n.weight + i) + at<BySixteens>(n.bias + i);
    if (n.half) store_half(v, static_cast<uint16_t*>(y) + i);
    else at<BySixteens>(static_cast<float*>(y) + i) = v;
  }
  for (; i < n.width; ++i) {
    const Lanes v = Lanes{} + ((x[i] - mean) * scale * n.weight[i] + n.bias[i]);
    uint16_t half[kLanes];
    store_half(v, half);
    if (n.half) static_cast<uint16_t*>(y)[i] = half[0];
    else static_cast<float*>(y)[i] = v[0];
  }
}

}  // namespace norm_rows_detail

ZOO_CLONES void norm_rows(const NormRows& n, int64_t first, int64_t last) {
  const int64_t bytes = n.half ? sizeof(uint16_t) : sizeof(float);
  for (int64_t i = first; i < last; ++i) {
    const int64_t from = n.order ? i / n.places * n.per + n.order[i % n.places] : i;
    norm_rows_detail::norm_row(n.x + from * n.width, n, static_cast<uint8_t*>(n.y) + i * n.width * bytes);
  }
}

ZOO_CLONES void add_rows(const AddRows& a, int64_t first, int64_t last) {
  for (int64_t i = first; i < last; ++i) {
    const float *x = a.x + i * a.width, *more = a.more + (i / a.places * a.per + a.order[i % a.places]) * a.width;
    float* const y = a.y + i * a.width;
    for (int64_t k = 0; k < a.width; ++k) y[k] = x[k] + more[k];
  }
}

}  // namespace zoo
