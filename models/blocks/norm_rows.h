// Layer norms of many rows on a CPU, for inference: one pass that may pick its rows and round its results, where operations on tensors take three.
#pragma once
#include <cstdint>

namespace zoo {

// Row i of the result is (x - mean) / sqrt(var + eps) * weight + bias of x's row i, or, where there is an order, of row order[i % places] of those `per` rows that belong together:
// those from i / places * per on. Rows are dense.
struct NormRows {
  const float *x, *weight, *bias;  // [rows, width], [width], [width]
  void* y;                         // float32, or
  bool half;                       // bfloat16, to the nearest
  int64_t width;
  float eps;
  const int64_t* order = nullptr;  // [places]; null: every row in its place
  int64_t places = 1, per = 1;
};
void norm_rows(const NormRows& n, int64_t first, int64_t last);

// y [.., width]: row i of x plus row order[i % places] of those `per` rows of `more` that belong together.
struct AddRows {
  const float *x, *more;
  float* y;
  int64_t width;
  const int64_t* order;
  int64_t places, per;
};
void add_rows(const AddRows& a, int64_t first, int64_t last);

}  // namespace zoo
