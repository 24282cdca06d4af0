// Nearest rows by cosine in bounded memory: scores are made tile by tile and only the best of each row are kept.
#pragma once
#include <ATen/ATen.h>

#include <cstdint>
#include <functional>

namespace zoo::app {

struct TopK {
  at::Tensor scores;   // [N, k] float32, best first; -infinity where there are fewer than k rows on the right
  at::Tensor indices;  // [N, k] int64, rows of the right side; -1 there
};

struct Tiles {
  int64_t left = 1024, right = 8192;  // rows of one tile: 32 MB of scores
};

// For each row of left [N, D] the k rows of right [M, D] with the largest dot products. Equal scores: the lower index goes
// first. `done` hears of every finished stripe how many left rows it held. Throws std::invalid_argument for unequal D.
TopK top_k_rows(const at::Tensor& left, const at::Tensor& right, int64_t k, const std::function<void(int64_t)>& done = {},
                const Tiles& tiles = {});

// Calls found(i, j, score) for every pair i < j of rows with a dot product of at least `threshold`.
void similar_pairs(const at::Tensor& rows, double threshold, const std::function<void(int64_t, int64_t, float)>& found,
                   const std::function<void(int64_t)>& done = {}, const Tiles& tiles = {});

}  // namespace zoo::app
