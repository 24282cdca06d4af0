#include "app/tasks/top_k.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <set>

#include "app/tasks/clusters.h"
#include "tests/catch.h"
#include "weights/fill.h"

namespace top_k_tests {
using namespace zoo::app;

at::Tensor unit_rows(const char* name, int64_t count, int64_t width) {
  const auto rows = zoo::weights::fill_inputs(name, {count, width}, 3);
  return rows / rows.norm(2, at::IntArrayRef{1}, true);
}

// The same partners as a full sort finds, up to scores that differ by rounding.
void check_against_sort(const at::Tensor& left, const at::Tensor& right, int64_t k, const Tiles& tiles) {
  const auto best = top_k_rows(left, right, k, {}, tiles);
  const auto scores = at::mm(left, right.t());
  const auto sorted = std::get<0>(scores.sort(1, /*descending=*/true));
  const int64_t found = std::min(k, right.size(0));
  CHECK(at::allclose(best.scores.slice(1, 0, found), sorted.slice(1, 0, found), 1e-5, 1e-6));
  CHECK(at::allclose(scores.gather(1, best.indices.slice(1, 0, found)), best.scores.slice(1, 0, found), 1e-5, 1e-6));
  for (int64_t row = 0; row < left.size(0); ++row) {
    std::set<int64_t> distinct;
    for (int64_t rank = 0; rank < found; ++rank) distinct.insert(best.indices[row][rank].item<int64_t>());
    CHECK(int64_t(distinct.size()) == found);
  }
  CHECK((best.indices.slice(1, found) == -1).all().item<bool>());
}

TEST_CASE("top-k in tiles equals a full sort", "[text][top_k]") {
  const auto left = unit_rows("left", 37, 12), right = unit_rows("right", 301, 12);
  for (const int64_t k : {1, 2, 7, 64}) {
    check_against_sort(left, right, k, {8, 50});
    check_against_sort(left, right, k, {37, 301});
    check_against_sort(left, right, k, {1, 64});
  }
  check_against_sort(left, right.slice(0, 0, 3), 5, {8, 2});
}

TEST_CASE("top-k: equal scores go to the lower index, across tiles too", "[text][top_k]") {
  const auto left = at::ones({2, 4}), right = at::ones({200, 4});
  const auto best = top_k_rows(left, right, 3, {}, {1, 64});
  for (int64_t rank = 0; rank < 3; ++rank) CHECK(best.indices[1][rank].item<int64_t>() == rank);
  CHECK_THROWS(top_k_rows(left, at::ones({3, 5}), 1));
}

TEST_CASE("top-k tells how far it is", "[text][top_k]") {
  int64_t done = 0;
  top_k_rows(unit_rows("left", 21, 4), unit_rows("right", 5, 4), 1, [&](int64_t rows) { done += rows; }, {8, 4});
  CHECK(done == 21);
}

TEST_CASE("similar pairs in tiles equal the double loop", "[text][top_k]") {
  const auto rows = unit_rows("rows", 150, 3);
  const auto scores = at::mm(rows, rows.t());
  constexpr double threshold = 0.97;
  std::set<std::pair<int64_t, int64_t>> expected, found;
  for (int64_t i = 0; i < 150; ++i)
    for (int64_t j = i + 1; j < 150; ++j)
      if (scores[i][j].item<float>() >= threshold) expected.emplace(i, j);
  REQUIRE(expected.size() > 20);
  for (const Tiles tiles : {Tiles{16, 40}, Tiles{64, 32}, Tiles{150, 150}}) {
    found.clear();
    similar_pairs(rows, threshold, [&](int64_t i, int64_t j, float) { CHECK(found.emplace(i, j).second); }, {}, tiles);
    CHECK(found == expected);
  }
}

// Hidden because it takes a minute: zoo_tests "[large]".
TEST_CASE("top-k of 100000 x 100000 rows stays within its memory", "[.][large]") {
  const auto peak = [] {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return double(usage.ru_maxrss) / 1024;  // MiB
  };
  constexpr int64_t count = 100000, width = 384;
  at::manual_seed(1);
  const auto right = at::randn({count, width}), order = at::randperm(count);
  const auto left = right.index_select(0, order);
  const double before = peak();
  const auto start = std::chrono::steady_clock::now();
  const auto best = top_k_rows(left, right, 2);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::cerr << "top-2 of 100000 x 100000 x 384: " << seconds << " s, " << peak() - before << " MiB more than both tables\n";
  CHECK(at::equal(best.indices.select(1, 0), order));
  CHECK(peak() - before < 300);
}

// Agglomeration as its definition says it: all pairs of clusters, the nearest merged, until none is near enough.
std::vector<int64_t> naive_clusters(const at::Tensor& rows, double threshold, const std::string& linkage) {
  const auto cosines = at::mm(rows, rows.t()).to(at::kDouble);
  std::vector<std::vector<int64_t>> clusters;
  for (int64_t i = 0; i < rows.size(0); ++i) clusters.push_back({i});
  const auto distance = [&](const std::vector<int64_t>& a, const std::vector<int64_t>& b) {
    double sum = 0, largest = 0;
    for (const int64_t i : a)
      for (const int64_t j : b) {
        const double one = 1 - cosines[i][j].item<double>();
        sum += one;
        largest = std::max(largest, one);
      }
    return linkage == "average" ? sum / double(a.size() * b.size()) : largest;
  };
  for (;;) {
    size_t best_a = 0, best_b = 0;
    double best = 1 - threshold;
    for (size_t a = 0; a < clusters.size(); ++a)
      for (size_t b = a + 1; b < clusters.size(); ++b)
        if (const double d = distance(clusters[a], clusters[b]); d <= best) best = d, best_a = a, best_b = b;
    if (best_b == 0) break;
    clusters[best_a].insert(clusters[best_a].end(), clusters[best_b].begin(), clusters[best_b].end());
    clusters.erase(clusters.begin() + int64_t(best_b));
  }
  std::vector<int64_t> labels(rows.size(0));
  for (auto& cluster : clusters) std::sort(cluster.begin(), cluster.end());
  std::sort(clusters.begin(), clusters.end());
  for (size_t c = 0; c < clusters.size(); ++c)
    for (const int64_t i : clusters[c]) labels[i] = int64_t(c);
  return labels;
}

TEST_CASE("agglomerative clusters equal the definition", "[text][clusters]") {
  const auto rows = unit_rows("rows", 40, 3);
  for (const char* linkage : {"average", "complete"})
    for (const double threshold : {0.99, 0.9, 0.5, 0.0}) {
      INFO(linkage << " at " << threshold);
      CHECK(agglomerative_clusters(rows, threshold, linkage) == naive_clusters(rows, threshold, linkage));
    }
  CHECK_THROWS_AS(agglomerative_clusters(rows, 0.5, "single"), std::invalid_argument);
}

TEST_CASE("ward merges two rows at their Euclidean distance", "[text][clusters]") {
  const auto rows = at::tensor({1.0, 0.0, 0.8, 0.6, -1.0, 0.0}, at::kFloat).view({3, 2});  // cosines 0.8, -1, -0.8
  CHECK(agglomerative_clusters(rows, 0.79, "ward") == std::vector<int64_t>{0, 0, 1});
  CHECK(agglomerative_clusters(rows, 0.81, "ward") == std::vector<int64_t>{0, 1, 2});
}

TEST_CASE("connected clusters follow chains and count from the first row", "[text][clusters]") {
  // On a circle at 0, 30, 60, 180, 200 degrees: steps of at most 30 degrees connect.
  std::vector<float> values;
  for (const double degrees : {180.0, 0.0, 60.0, 30.0, 200.0}) {
    values.push_back(float(std::cos(degrees * M_PI / 180)));
    values.push_back(float(std::sin(degrees * M_PI / 180)));
  }
  const auto rows = at::tensor(values, at::kFloat).view({5, 2});
  CHECK(connected_clusters(rows, 0.86) == std::vector<int64_t>{0, 1, 1, 1, 0});
  CHECK(connected_clusters(rows, 0.87) == std::vector<int64_t>{0, 1, 2, 3, 0});
  CHECK(connected_clusters(rows, -1.0) == std::vector<int64_t>{0, 0, 0, 0, 0});
}

}  // namespace top_k_tests
