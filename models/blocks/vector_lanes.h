// Vectors of float32 for the files with arithmetic of their own. Sixteen lanes whatever the processor, which the compiler splits where its
// registers are narrower; or the eight of one AVX2 register, where sums must stay in registers. Functions marked ZOO_CLONES exist once for each kind of processor; the right one is chosen when the program starts.
#pragma once
#include <cmath>
#include <cstdint>

#if defined(__x86_64__)
#define ZOO_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define ZOO_CLONES
#endif
#define ZOO_INSIDE inline __attribute__((always_inline))

namespace zoo::lanes {

typedef float Lanes __attribute__((vector_size(64), aligned(4), may_alias));
typedef int32_t Whole __attribute__((vector_size(64), aligned(4), may_alias));
constexpr int64_t kLanes = 16;
typedef float Eight __attribute__((vector_size(32), aligned(4), may_alias));
typedef int32_t EightWhole __attribute__((vector_size(32), aligned(4), may_alias));

// The registers of a kind of processor. Tags, since a vector type that is itself a template's argument forgets that it is not aligned.
struct ByEights {
  typedef Eight Floats;
  typedef EightWhole Wholes;
};
struct BySixteens {
  typedef Lanes Floats;
  typedef Whole Wholes;
};
template <class By>
constexpr int64_t kWide = sizeof(typename By::Floats) / sizeof(float);
template <class By>
ZOO_INSIDE typename By::Floats& at(float* p) { return *reinterpret_cast<typename By::Floats*>(p); }
template <class By>
ZOO_INSIDE const typename By::Floats& at(const float* p) { return *reinterpret_cast<const typename By::Floats*>(p); }

ZOO_INSIDE float sum_of(const Eight& x) {
  typedef float Quarter __attribute__((vector_size(16), aligned(4), may_alias));
  const Quarter* quarters = reinterpret_cast<const Quarter*>(&x);  // not auto, which forgets the alignment
  const Quarter quarter = quarters[0] + quarters[1];
  return (quarter[0] + quarter[2]) + (quarter[1] + quarter[3]);
}
ZOO_INSIDE float sum_of(const Lanes& x) {
  const Eight* halves = reinterpret_cast<const Eight*>(&x);
  return sum_of(halves[0] + halves[1]);
}

// e^x for x <= 88: 2^n e^r with |r| <= ln 2 / 2 and the series of e^r up to r^6, within 2e-7 of the value.
template <class By>
ZOO_INSIDE void exponential(typename By::Floats& x) {
  using Floats = typename By::Floats;
  const Floats low = x < -87.0F ? Floats{} - 87.0F : x;
  const Floats n = (low * 1.44269504F + 12582912.0F) - 12582912.0F;  // to the nearest integer
  const Floats r = (low - n * 0.693359375F) + n * 2.12194440e-4F;
  const Floats e = 1.0F + r * (1.0F + r * (0.5F + r * (1.0F / 6 + r * (1.0F / 24 + r * (1.0F / 120 + r * (1.0F / 720))))));
  const typename By::Wholes bits = (__builtin_convertvector(n, typename By::Wholes) + 127) << 23;
  x = e * reinterpret_cast<const Floats&>(bits);
}

// scores [keys] -> numbers in the proportions of their softmax after the mask [keys], which may be null; what lies behind them, up to `padded`, a multiple of the registers', becomes 0.
// Returns what makes their sum 1; 0 where all are -infinity.
template <class By>
ZOO_INSIDE float softmax_row(float* scores, const float* mask, int64_t keys, int64_t padded) {
  using Floats = typename By::Floats;
  for (int64_t i = keys; i < padded; ++i) scores[i] = -INFINITY;
  Floats most = Floats{} - INFINITY;
  for (int64_t t = 0; t < padded; t += kWide<By>) {
    if (mask && t + kWide<By> <= keys) at<By>(scores + t) += at<By>(mask + t);
    else if (mask) for (int64_t i = t; i < keys; ++i) scores[i] += mask[i];
    most = at<By>(scores + t) > most ? at<By>(scores + t) : most;
  }
  float largest = -INFINITY;
  for (int64_t i = 0; i < kWide<By>; ++i) largest = most[i] > largest ? most[i] : largest;
  Floats sums = {};
  for (int64_t t = 0; t < padded; t += kWide<By>) {
    Floats& x = at<By>(scores + t);
    Floats e = x - largest;
    exponential<By>(e);
    x = x == -INFINITY ? Floats{} : e;
    sums += x;
  }
  const float sum = sum_of(sums);
  return sum > 0 ? 1.0F / sum : 0.0F;
}

}  // namespace zoo::lanes
