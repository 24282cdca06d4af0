// Vectors of float32 for the files with arithmetic of their own. Sixteen lanes whatever the processor, which the compiler splits where its
// registers are narrower; or the eight of one AVX2 register, where sums must stay in registers. Functions marked ZOO_CLONES exist once for each kind of processor; the right one is chosen when the program starts.
#pragma once
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

// e^x for x <= 0: 2^n e^r with |r| <= ln 2 / 2 and the series of e^r up to r^6, within 2e-7 of the value. A macro, no template: as arguments of a
// template the types would forget their alignment, and what takes them by reference would expect 64 bytes of it.
#define ZOO_EXPONENTIAL(Vector, Integers)                                                                                                      \
  ZOO_INSIDE void exponential(Vector& x) {                                                                                                     \
    const Vector low = x < -87.0F ? Vector{} - 87.0F : x;                                                                                      \
    const Vector n = (low * 1.44269504F + 12582912.0F) - 12582912.0F; /* to the nearest integer */                                             \
    const Vector r = (low - n * 0.693359375F) + n * 2.12194440e-4F;                                                                            \
    const Vector e = 1.0F + r * (1.0F + r * (0.5F + r * (1.0F / 6 + r * (1.0F / 24 + r * (1.0F / 120 + r * (1.0F / 720))))));                   \
    const Integers bits = (__builtin_convertvector(n, Integers) + 127) << 23;                                                                  \
    x = e * reinterpret_cast<const Vector&>(bits);                                                                                             \
  }
ZOO_EXPONENTIAL(Lanes, Whole)
ZOO_EXPONENTIAL(Eight, EightWhole)
#undef ZOO_EXPONENTIAL

}  // namespace zoo::lanes
