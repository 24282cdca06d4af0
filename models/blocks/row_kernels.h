// The arithmetic of single rows that decoding on a CPU is made of, in float32: attention of one query, RMS norm, the best of a row. Here
// an operation on tensors costs more than what it computes.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace zoo {

// One head of one row: out [width] = softmax(scale q K^T + bias) V over `length` keys, which lie `width` numbers apart.
struct AttentionStep {
  const float *q, *key, *value, *bias;  // bias [length], or null
  const int64_t* origin;                // [length]: in which row of the cache a position lies; null: all in the first
  float* out;
  int64_t length, row_stride, width;    // row_stride: from one row of the cache to the next
  float scale;
};
constexpr int64_t kRowRoom = 16;
void attend_row(const AttentionStep& step, float* scores);  // scores: room for length + kRowRoom numbers

// y [width] = x / sqrt(mean x^2 + eps) * weight; the mean in double. y may be x.
void rms_norm_row(const float* x, const float* weight, int64_t width, double eps, float* y);

struct Scored {
  float score;
  int64_t place;
};
// Puts the numbers x[i] + added, i < count, that are among the `wanted` largest so far into `best`, a heap with the smallest first,
// under the place first_place + i; what is -infinity or no number never. Of equal ones the first found stays.
void keep_best(const float* x, int64_t count, float added, int64_t first_place, size_t wanted, std::vector<Scored>& best);

}  // namespace zoo
