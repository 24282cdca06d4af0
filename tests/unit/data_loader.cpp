// data/loader.h: order, errors, stopping.
#include "data/loader.h"

#include <atomic>
#include <chrono>
#include <random>

#include "tests/catch.h"

namespace data_loader_tests {
using zoo::data::Batch;
using zoo::data::Loader;

Batch numbered(int64_t number) {
  std::mt19937 random(static_cast<unsigned>(number));
  std::this_thread::sleep_for(std::chrono::microseconds(random() % 500));  // batches become ready out of order
  return {{"x", at::full({2}, number, at::kLong)}};
}

std::vector<int64_t> all_from(Loader& loader) {
  std::vector<int64_t> seen;
  while (const auto batch = loader.next()) seen.push_back(batch->at("x")[0].item<int64_t>());
  return seen;
}

TEST_CASE("batches come in order whatever the number of workers", "[data][loader]") {
  std::vector<int64_t> expected(40);
  for (int64_t i = 0; i < 40; ++i) expected[i] = i;
  for (const int workers : {0, 1, 3}) {
    INFO(workers << " workers");
    Loader loader(40, numbered, workers);
    CHECK(all_from(loader) == expected);
    CHECK_FALSE(loader.next().has_value());
  }
  Loader none(0, numbered, 2);
  CHECK_FALSE(none.next().has_value());
}

TEST_CASE("an error comes with its batch, after those before it", "[data][loader]") {
  for (const int workers : {0, 2}) {
    Loader loader(10, [](int64_t number) -> Batch {
      if (number == 3) throw std::runtime_error("batch 3 is bad");
      return numbered(number);
    }, workers);
    for (int i = 0; i < 3; ++i) CHECK(loader.next().has_value());
    CHECK_THROWS_WITH(loader.next(), "batch 3 is bad");
  }
}

TEST_CASE("workers run ahead only so far, and stop when the loader goes", "[data][loader]") {
  std::atomic<int64_t> made{0};
  {
    Loader loader(1000, [&](int64_t) -> Batch { ++made; return {}; }, /*workers=*/2, /*prefetch_per_worker=*/2);
    loader.next();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    CHECK(made.load() <= 5);
  }
  CHECK(made.load() <= 5);
}

}  // namespace data_loader_tests
