// Groups of similar rows.
#pragma once
#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace zoo::app {

// Which cluster each row of unit vectors [N, D] belongs to; clusters are numbered by their first row, from 0.

// Rows joined by any chain of pairs whose cosine is at least `threshold`: the connected components, which is what
// LinkTransformer's "SLINK" (DBSCAN with two points) finds at distance 1 - threshold. Any number of rows: memory for N
// numbers and one tile of scores. `done` hears of finished rows.
std::vector<int64_t> connected_clusters(const at::Tensor& rows, double threshold, const std::function<void(int64_t)>& done = {});

// Agglomerative clustering of up to kMostAgglomerated rows, whose distances are all kept: merges the two nearest clusters
// while their distance is at most the limit. "average", "complete": over 1 - cosine, limit 1 - threshold. "ward": over
// Euclidean distances, limit sqrt(2 - 2 threshold), the distance of two rows at that cosine.
// Throws std::invalid_argument for more rows and for an unknown linkage.
constexpr int64_t kMostAgglomerated = 20000;
std::vector<int64_t> agglomerative_clusters(const at::Tensor& rows, double threshold, const std::string& linkage,
                                            const std::function<void(int64_t)>& done = {});

}  // namespace zoo::app
