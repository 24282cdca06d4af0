#include "models/blocks/row_kernels.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "models/blocks/vector_lanes.h"

namespace zoo {
namespace row_detail {

using namespace lanes;
constexpr int64_t kKeys = 4;

// Products of q with four keys at once: one would wait for its own last sum most of the time.
ZOO_INSIDE void dots(const float* q, const float* const* keys, int64_t d, float* products) {
  Lanes sums[kKeys] = {};
  int64_t i = 0;
  for (; i + kLanes <= d; i += kLanes) {
    const Lanes x = *reinterpret_cast<const Lanes*>(q + i);
#pragma GCC unroll 4
    for (int64_t k = 0; k < kKeys; ++k) sums[k] += x * *reinterpret_cast<const Lanes*>(keys[k] + i);
  }
  for (int64_t k = 0; k < kKeys; ++k) {
    products[k] = sum_of(sums[k]);
    for (int64_t rest = i; rest < d; ++rest) products[k] += q[rest] * keys[k][rest];
  }
}

ZOO_INSIDE int64_t place(const AttentionStep& s, int64_t t) { return (s.origin ? s.origin[t] * s.row_stride : 0) + t * s.width; }

// scores[t] = scale q k_t + bias_t; those up to the next multiple of the lanes become -infinity. Returns the largest.
ZOO_INSIDE float score(const AttentionStep& s, float* scores) {
  for (int64_t t = 0; t < s.length; t += kKeys) {
    const float* keys[kKeys];
    for (int64_t k = 0; k < kKeys; ++k) keys[k] = s.key + place(s, std::min(t + k, s.length - 1));
    dots(s.q, keys, s.width, scores + t);
  }
  std::fill(scores + s.length, scores + (s.length + kLanes - 1) / kLanes * kLanes, -INFINITY);
  Lanes most = Lanes{} - INFINITY;
  for (int64_t t = 0; t < s.length; t += kLanes) {
    Lanes& x = *reinterpret_cast<Lanes*>(scores + t);
    x *= s.scale;
    if (s.bias && t + kLanes <= s.length) x += *reinterpret_cast<const Lanes*>(s.bias + t);
    else if (s.bias) for (int64_t i = t; i < s.length; ++i) scores[i] += s.bias[i];
    most = x > most ? x : most;
  }
  float largest = -INFINITY;
  for (int64_t i = 0; i < kLanes; ++i) largest = std::max(largest, most[i]);
  return largest;
}

// out[0 .. count) = sum over t of weights[t] v_t, for 16 * N numbers of the width kept in registers.
template <int N>
ZOO_INSIDE void mix(const AttentionStep& s, const float* weights, int64_t from) {
  Lanes sums[N] = {};
  for (int64_t t = 0; t < s.length; ++t) {
    const float* v = s.value + place(s, t) + from;
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) sums[n] += weights[t] * *reinterpret_cast<const Lanes*>(v + n * kLanes);
  }
  for (int n = 0; n < N; ++n) *reinterpret_cast<Lanes*>(s.out + from + n * kLanes) = sums[n];
}

ZOO_CLONES void attend(const AttentionStep& s, float* scores) {
  const float largest = score(s, scores);
  Lanes sums = {};
  for (int64_t t = 0; t < s.length; t += kLanes) {
    Lanes& x = *reinterpret_cast<Lanes*>(scores + t);
    Lanes e = x - largest;
    exponential<BySixteens>(e);
    x = x == -INFINITY ? Lanes{} : e;
    sums += x;
  }
  const float share = 1.0F / sum_of(sums);
  for (int64_t t = 0; t < s.length; ++t) scores[t] *= share;
  int64_t i = 0;
  for (; i + 4 * kLanes <= s.width; i += 4 * kLanes) mix<4>(s, scores, i);
  for (; i + kLanes <= s.width; i += kLanes) mix<1>(s, scores, i);
  for (; i < s.width; ++i) {
    float sum = 0;
    for (int64_t t = 0; t < s.length; ++t) sum += scores[t] * s.value[place(s, t) + i];
    s.out[i] = sum;
  }
}

ZOO_CLONES void rms_norm(const float* x, const float* weight, int64_t width, double eps, float* y) {
  typedef double Doubles __attribute__((vector_size(64)));
  typedef float Floats __attribute__((vector_size(32), aligned(4), may_alias));
  Doubles sums = {};
  int64_t i = 0;
  for (; i + 8 <= width; i += 8) {
    const Doubles values = __builtin_convertvector(*reinterpret_cast<const Floats*>(x + i), Doubles);
    sums += values * values;
  }
  double squares = 0;
  for (int64_t lane = 0; lane < 8; ++lane) squares += sums[lane];
  for (; i < width; ++i) squares += double(x[i]) * double(x[i]);
  const auto factor = static_cast<float>(1.0 / std::sqrt(squares / static_cast<double>(width) + eps));
  for (i = 0; i + kLanes <= width; i += kLanes) {
    *reinterpret_cast<Lanes*>(y + i) = *reinterpret_cast<const Lanes*>(weight + i) * (*reinterpret_cast<const Lanes*>(x + i) * factor);
  }
  for (; i < width; ++i) y[i] = weight[i] * (x[i] * factor);
}

// Places of numbers above `least`, found sixteen at a time: few are.
ZOO_CLONES int64_t next_above(const float* x, int64_t from, int64_t count, float least) {
  int64_t i = from;
  for (; i + kLanes <= count; i += kLanes) {
    const Whole above = *reinterpret_cast<const Lanes*>(x + i) > least;
    typedef int64_t Eight __attribute__((vector_size(64), aligned(4), may_alias));  // aligned as what it looks at
    const Eight any = reinterpret_cast<const Eight&>(above);
    if ((any[0] | any[1] | any[2] | any[3] | any[4] | any[5] | any[6] | any[7]) != 0) break;
  }
  for (; i < count; ++i) {
    if (x[i] > least) return i;
  }
  return count;
}

}  // namespace row_detail

void attend_row(const AttentionStep& step, float* scores) { row_detail::attend(step, scores); }
void rms_norm_row(const float* x, const float* weight, int64_t width, double eps, float* y) { row_detail::rms_norm(x, weight, width, eps, y); }

void keep_best(const float* x, int64_t count, float added, int64_t first_place, size_t wanted, std::vector<Scored>& best) {
  const auto better = [](const Scored& a, const Scored& b) { return a.score > b.score; };  // a heap whose front is the worst
  const auto least = [&] { return best.size() < wanted ? -std::numeric_limits<float>::infinity() : best.front().score; };
  // Sums are rounded: what may come up to the worst is looked at closely.
  const auto bound = [&] { return best.size() < wanted ? least() : (least() - added) - 1e-6F * (std::abs(least()) + std::abs(added)); };
  for (int64_t i = row_detail::next_above(x, 0, count, bound()); i < count; i = row_detail::next_above(x, i + 1, count, bound())) {
    const float score = x[i] + added;
    if (!(score > least())) continue;
    if (best.size() == wanted) {
      std::pop_heap(best.begin(), best.end(), better);
      best.pop_back();
    }
    best.push_back({score, first_place + i});
    std::push_heap(best.begin(), best.end(), better);
  }
}

}  // namespace zoo
