// Attention over a few hundred positions (windows, texts, patches) on the CPU, for inference. LibTorch's kernel calls a matrix library
// for every head, which takes longer there than the products themselves.
#pragma once
#include <cstdint>

namespace zoo {

// [batch, heads, rows, width] by strides in numbers; the last axis is dense.
struct HeadRows {
  const void* data = nullptr;
  int64_t batch = 0, head = 0, row = 0;
};

struct ShortAttention {
  HeadRows q, k, v;  // float32, or bfloat16 with `half`, as is then what comes out
  HeadRows mask;     // float32 [batch, heads, queries, keys], added to the scores; its data null: none; strides may be 0
  void* out;         // [batch, queries, heads, width], dense
  int64_t heads, queries, keys, width;  // width: of all three, a multiple of kShortLanes
  float scale;
  bool half = false;  // only where attends_halves()
};
constexpr int64_t kShortLanes = 16;

// out = softmax(scale q K^T + mask) V for the pairs of a batch's row and a head, numbered row by row, from `first` up to `last`. A row whose
// scores are all -infinity gives zeros. Results depend neither on threads nor on the other rows.
void attend_short(const ShortAttention& a, int64_t first, int64_t last);

}  // namespace zoo
