#include "app/tasks/top_k.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "models/blocks/linear.h"

namespace zoo::app {
namespace top_k_detail {

constexpr int64_t kBlock = 64;  // scores whose maximum is looked at before any of them
constexpr float kNone = -std::numeric_limits<float>::infinity();

struct Tile {
  at::Tensor scores;  // [rows, columns rounded up to kBlock], padding -infinity
  at::Tensor maxima;  // [rows, blocks]
  int64_t columns = 0;
};

// Scores on the device, maxima of blocks there too; then both on the CPU. Nearly all blocks hold nothing of interest, so
// that the scan in plain C++ reads few scores.
Tile make_tile(const at::Tensor& left, const at::Tensor& right) {
  Tile tile;
  tile.columns = right.size(0);
  auto scores = zoo::linear(left, right, {});
  const int64_t spare = (kBlock - tile.columns % kBlock) % kBlock;
  if (spare > 0) scores = at::constant_pad_nd(scores, {0, spare}, kNone);
  tile.maxima = scores.view({left.size(0), -1, kBlock}).amax(2).cpu().contiguous();
  tile.scores = scores.cpu().contiguous();
  return tile;
}

// The k best of one row so far, best first, in slices of the result's tensors.
struct Best {
  float* scores;
  int64_t* indices;
  int64_t k;
  float worst() const { return scores[k - 1]; }
  void insert(float score, int64_t index) {
    int64_t at = k - 1;
    for (; at > 0 && scores[at - 1] < score; --at) scores[at] = scores[at - 1], indices[at] = indices[at - 1];
    scores[at] = score;
    indices[at] = index;
  }
};

// Rows visit(row, column, score) for scores above what bound(row) says at that time, columns in rising order.
template <class Bound, class Visit>
void scan_row(const Tile& tile, int64_t row, const Bound& bound, const Visit& visit) {
  const int64_t blocks = tile.maxima.size(1);
  const float* maxima = tile.maxima.const_data_ptr<float>() + row * blocks;
  const float* scores = tile.scores.const_data_ptr<float>() + row * blocks * kBlock;
  for (int64_t block = 0; block < blocks; ++block) {
    if (!(maxima[block] > bound())) continue;
    const int64_t end = std::min((block + 1) * kBlock, tile.columns);
    for (int64_t column = block * kBlock; column < end; ++column)
      if (scores[column] > bound()) visit(column, scores[column]);
  }
}

void check_widths(const at::Tensor& left, const at::Tensor& right) {
  TORCH_CHECK_VALUE(left.dim() == 2 && right.dim() == 2 && left.size(1) == right.size(1), "top-k: vectors of ", left.sizes(), " and ",
                    right.sizes(), "; two tables of one width are expected");
}

}  // namespace top_k_detail

TopK top_k_rows(const at::Tensor& left, const at::Tensor& right, int64_t k, const std::function<void(int64_t)>& done,
                const Tiles& tiles) {
  using namespace top_k_detail;
  check_widths(left, right);
  const c10::InferenceMode inference;
  const int64_t rows = left.size(0);
  TopK best{at::full({rows, k}, kNone, at::kFloat), at::full({rows, k}, -1, at::kLong)};
  auto* scores = best.scores.data_ptr<float>();
  auto* indices = best.indices.data_ptr<int64_t>();
  for (int64_t top = 0; top < rows; top += tiles.left) {
    const auto stripe = left.slice(0, top, std::min(top + tiles.left, rows));
    for (int64_t first = 0; first < right.size(0); first += tiles.right) {
      const auto tile = make_tile(stripe, right.slice(0, first, std::min(first + tiles.right, right.size(0))));
      at::parallel_for(0, stripe.size(0), 16, [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
          Best kept{scores + (top + row) * k, indices + (top + row) * k, k};
          scan_row(tile, row, [&] { return kept.worst(); }, [&](int64_t column, float score) { kept.insert(score, first + column); });
        }
      });
    }
    if (done) done(stripe.size(0));
  }
  return best;
}

void similar_pairs(const at::Tensor& rows, double threshold, const std::function<void(int64_t, int64_t, float)>& found,
                   const std::function<void(int64_t)>& done, const Tiles& tiles) {
  using namespace top_k_detail;
  check_widths(rows, rows);
  const c10::InferenceMode inference;
  // scan_row wants more than its bound; the threshold itself counts.
  const float bound = std::nextafter(float(threshold), kNone);
  for (int64_t top = 0; top < rows.size(0); top += tiles.left) {
    const auto stripe = rows.slice(0, top, std::min(top + tiles.left, rows.size(0)));
    for (int64_t first = top / tiles.right * tiles.right; first < rows.size(0); first += tiles.right) {
      const auto tile = make_tile(stripe, rows.slice(0, first, std::min(first + tiles.right, rows.size(0))));
      for (int64_t row = 0; row < stripe.size(0); ++row) {
        scan_row(tile, row, [&] { return bound; }, [&](int64_t column, float score) {
          if (first + column > top + row) found(top + row, first + column, score);
        });
      }
    }
    if (done) done(stripe.size(0));
  }
}

}  // namespace zoo::app
