// Work side by side.
#include "app/workers.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <atomic>
#include <stdexcept>
#include <vector>

#include "tests/catch.h"

namespace workers_tests {
using zoo::app::side_by_side;

TEST_CASE("side by side: every piece once, in the state of whoever calls, and threads as before", "[workers]") {
  const int threads = at::get_num_threads();
  const c10::InferenceMode guard;
  for (const int64_t workers : {0, 1, 2, 3, 50}) {
    std::vector<std::atomic<int>> done(17);
    std::atomic<int> strangers{0};
    side_by_side(workers, 17, [&](int64_t i) {
      ++done[static_cast<size_t>(i)];
      strangers += !c10::InferenceMode::is_enabled();
    });
    for (const auto& one : done) CHECK(one == 1);
    CHECK(strangers == 0);
    CHECK(at::get_num_threads() == threads);
  }
  side_by_side(2, 0, [](int64_t) { throw std::runtime_error("nothing to do"); });
}

TEST_CASE("side by side: the first failure ends the rest and comes out", "[workers]") {
  const int threads = at::get_num_threads();
  constexpr int64_t kPieces = 1'000'000'000;  // so many that no other thread is through them before the failing one gets to say so
  for (const int64_t workers : {1, 3}) {
    std::atomic<int64_t> begun{0};
    CHECK_THROWS_WITH(side_by_side(workers, kPieces, [&](int64_t i) {
                        ++begun;
                        if (i == 5) throw std::runtime_error("piece 5");
                      }), "piece 5");
    CHECK(begun < kPieces);
    CHECK(at::get_num_threads() == threads);
  }
}

}  // namespace workers_tests
