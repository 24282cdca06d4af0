#include "app/tasks/clusters.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>

#include "app/tasks/top_k.h"
#include "models/blocks/linear.h"
#include "models/names.h"

namespace zoo::app {
namespace clusters_detail {

class DisjointSets {
 public:
  explicit DisjointSets(int64_t count) : parent_(count) { std::iota(parent_.begin(), parent_.end(), int64_t{0}); }
  int64_t root(int64_t item) {
    while (parent_[item] != item) item = parent_[item] = parent_[parent_[item]];
    return item;
  }
  // The lower root stays, so that a cluster's root is its first row.
  void join(int64_t a, int64_t b) {
    const auto [low, high] = std::minmax({root(a), root(b)});
    parent_[high] = low;
  }
  std::vector<int64_t> numbered() {
    std::vector<int64_t> numbers(parent_.size(), -1), labels(parent_.size());
    int64_t next = 0;
    for (size_t i = 0; i < parent_.size(); ++i) {
      auto& number = numbers[root(int64_t(i))];
      if (number < 0) number = next++;
      labels[i] = number;
    }
    return labels;
  }

 private:
  std::vector<int64_t> parent_;
};

struct Merge {
  int64_t a, b;
  float distance;
};

// The nearest-neighbour chain (Murtagh, 1983): follow nearest neighbours until two point at each other, merge these, go on
// from there. Exact for linkages whose distances never shrink by merging, in O(N^2) time. Distances of the merged cluster
// by the formula of Lance and Williams (1967). Ward's distances are squared in here.
class NeighbourChain {
 public:
  NeighbourChain(at::Tensor distances, std::string linkage)
      : count_(distances.size(0)), held_(distances.contiguous()), values_(held_.data_ptr<float>()),
        linkage_(std::move(linkage)), sizes_(count_, 1) {}

  std::vector<Merge> merges(const std::function<void(int64_t)>& done) {
    std::vector<Merge> merges;
    std::vector<int64_t> chain;
    while (int64_t(merges.size()) + 1 < count_) {
      if (chain.empty()) chain.push_back(first_alive());
      const int64_t tip = chain.back(), before = chain.size() > 1 ? chain[chain.size() - 2] : -1;
      const int64_t next = nearest_to(tip, before);
      if (next != before) {
        chain.push_back(next);
        continue;
      }
      merges.push_back({std::min(tip, next), std::max(tip, next), values_[tip * count_ + next]});
      chain.resize(chain.size() - 2);
      merge(std::min(tip, next), std::max(tip, next));
      if (done) done(1);
    }
    return merges;
  }

 private:
  int64_t first_alive() const {
    int64_t i = 0;
    while (sizes_[i] == 0) ++i;
    return i;
  }
  // Of equally near ones `preferred` wins, without which a chain could run in circles.
  int64_t nearest_to(int64_t row, int64_t preferred) const {
    int64_t best = preferred;
    float distance = preferred >= 0 ? values_[row * count_ + preferred] : std::numeric_limits<float>::infinity();
    for (int64_t i = 0; i < count_; ++i) {
      const float other = values_[row * count_ + i];
      if (sizes_[i] > 0 && i != row && (other < distance || best < 0)) best = i, distance = other;
    }
    return best;
  }
  void merge(int64_t a, int64_t b) {
    const double na = double(sizes_[a]), nb = double(sizes_[b]);
    const float between = values_[a * count_ + b];
    for (int64_t i = 0; i < count_; ++i) {
      if (sizes_[i] == 0 || i == a || i == b) continue;
      const double da = values_[a * count_ + i], db = values_[b * count_ + i], n = double(sizes_[i]);
      double merged = std::max(da, db);  // complete
      if (linkage_ == "average") merged = (na * da + nb * db) / (na + nb);
      if (linkage_ == "ward") merged = ((na + n) * da + (nb + n) * db - n * between) / (na + nb + n);
      values_[a * count_ + i] = values_[i * count_ + a] = float(merged);
    }
    sizes_[a] += sizes_[b];
    sizes_[b] = 0;
  }

  const int64_t count_;
  at::Tensor held_;
  float* values_;
  std::string linkage_;
  std::vector<int64_t> sizes_;  // 0: merged into another
};

}  // namespace clusters_detail

std::vector<int64_t> connected_clusters(const at::Tensor& rows, double threshold, const std::function<void(int64_t)>& done) {
  clusters_detail::DisjointSets sets(rows.size(0));
  similar_pairs(rows, threshold, [&](int64_t i, int64_t j, float) { sets.join(i, j); }, done);
  return sets.numbered();
}

std::vector<int64_t> agglomerative_clusters(const at::Tensor& rows, double threshold, const std::string& linkage,
                                            const std::function<void(int64_t)>& done) {
  static const std::vector<std::string> known = {"average", "complete", "ward"};
  if (std::find(known.begin(), known.end(), linkage) == known.end())
    throw std::invalid_argument("cluster method '" + linkage.substr(0, 80) + "' is unknown; nearest: " + join(nearest(linkage, known)));
  const int64_t count = rows.size(0);
  if (count > kMostAgglomerated)
    throw std::invalid_argument("cluster method " + linkage + " keeps all distances and takes at most " + std::to_string(kMostAgglomerated) +
                                " rows; the table has " + std::to_string(count) + " (use the method \"connected\")");
  const c10::InferenceMode inference;
  const bool ward = linkage == "ward";
  auto distances = zoo::linear(rows, rows, {}).cpu();
  distances.neg_().add_(1).clamp_(0);
  if (ward) distances.mul_(2);  // |a - b|^2 = 2 - 2 cos
  const double limit = ward ? 2 - 2 * threshold : 1 - threshold;
  clusters_detail::DisjointSets sets(count);
  for (const auto& merge : clusters_detail::NeighbourChain(distances, linkage).merges(done))
    if (merge.distance <= limit) sets.join(merge.a, merge.b);
  return sets.numbered();
}

}  // namespace zoo::app
