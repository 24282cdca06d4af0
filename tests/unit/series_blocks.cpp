// Blocks of the forecasting networks against plain loops and PyTorch's own operators.
#include <ATen/Parallel.h>

#include <cmath>

#include "models/blocks/dropout.h"
#include "models/blocks/informer.h"
#include "models/blocks/series.h"
#include "tests/catch.h"
#include "weights/fill.h"

using namespace zoo;

namespace series_blocks_test {

at::Tensor values(const std::string& name, at::IntArrayRef shape) { return weights::fill_inputs(name, shape, 0); }

bool close(const at::Tensor& a, const at::Tensor& b) { return at::allclose(a, b, 1e-4, 1e-6); }

}  // namespace series_blocks_test
using namespace series_blocks_test;

TEST_CASE("dropout keeps the expectation, drops the share asked for, and does nothing in evaluation", "[blocks]") {
  at::manual_seed(3);
  const auto x = at::ones({400, 1001});
  CHECK(fast_dropout(x, 0.3, false).is_same(x));
  CHECK(fast_dropout(x, 0.0, true).is_same(x));
  const auto y = fast_dropout(x, 0.3, true);
  CHECK(std::abs((y == 0).to(at::kFloat).mean().item<double>() - 0.3) < 0.004);  // five standard deviations
  CHECK(std::abs(y.mean().item<double>() - 1.0) < 0.006);
  CHECK(y.max().item<double>() == Approx(1.0 / 0.7).epsilon(1e-4));
  CHECK(std::abs((y.slice(0, 0, 200) * y.slice(0, 200)).mean().item<double>() - 1.0) < 0.02);  // rows are independent
  CHECK_FALSE(fast_dropout(x, 0.3, true).equal(y));
}

TEST_CASE("dropout repeats with the generator's seed, whatever the number of threads", "[blocks]") {
  const auto x = values("x", {301, 1003});
  const int threads = at::get_num_threads();
  at::manual_seed(5);
  const auto first = fast_dropout(x, 0.1, true);
  at::set_num_threads(1);
  at::manual_seed(5);
  CHECK(fast_dropout(x, 0.1, true).equal(first));
  at::set_num_threads(threads);
  CHECK(fast_dropout(x.to(at::kBFloat16), 0.1, true).scalar_type() == at::kBFloat16);
}

TEST_CASE("dropout's gradient has its mask, also through a transposed view", "[blocks]") {
  auto x = at::ones({50, 40}).requires_grad_();
  const auto y = fast_dropout(x.transpose(0, 1), 0.5, true);  // [40, 50]
  y.transpose(0, 1).backward(at::full({50, 40}, 3.0));
  CHECK(close(x.grad(), 3.0 * y.detach().transpose(0, 1)));
}

TEST_CASE("a circular convolution equals PyTorch's on a padded series", "[blocks]") {
  for (const int64_t length : {1, 2, 7}) {
    const auto x = values("x", {2, length, 3}), weight = values("w", {4, 3, 3}), bias = values("b", {4});
    const auto rows = x.transpose(1, 2);
    const auto padded = at::cat({rows.slice(2, length - 1), rows, rows.slice(2, 0, 1)}, 2);
    CHECK(close(circular_convolution(x, weight, bias), at::conv1d(padded, weight, bias).transpose(1, 2)));
  }
}

TEST_CASE("distilling equals convolution, batch norm, ELU and pooling, and moves the statistics in training", "[blocks]") {
  for (const int64_t length : {6, 7}) {
    at::manual_seed(1);
    Distil distil(4);
    distil->init();
    distil->norm->init();
    const auto x = values("x", {3, length, 4});
    const auto y = circular_convolution(x, distil->weight, distil->bias).transpose(1, 2);  // [B, D, L]
    const auto mean = y.mean(at::IntArrayRef{0, 2}, true), variance = y.var(at::IntArrayRef{0, 2}, at::Scalar(0), true);
    const auto expected = at::max_pool1d(at::elu((y - mean) / at::sqrt(variance + 1e-5)), {3}, {2}, {1}).transpose(1, 2);
    const auto trained = distil(x);
    CHECK(close(trained, expected));
    CHECK(trained.size(1) == (length + 1) / 2);
    CHECK(distil->norm->num_batches_tracked.item<int64_t>() == 1);
    CHECK(close(distil->norm->running_mean, 0.1 * mean.flatten()));
    distil->eval();
    distil(x);
    CHECK(distil->norm->num_batches_tracked.item<int64_t>() == 1);
  }
}

TEST_CASE("sparse attention serves the chosen queries fully and the others by the mean or the running sum", "[blocks]") {
  const int64_t length = 9, active = 3;
  const auto q = values("q", {2, 2, length, 4}), k = values("k", {2, 2, length, 4}), v = values("v", {2, 2, length, 4});
  const auto sample = weights::fill_tokens("sample", {length, 5}, 0, 0, length);
  for (const bool causal : {false, true}) {
    const auto out = sparse_attention(q, k, v, sample, active, causal);
    for (int64_t b = 0; b < 2; ++b) {
      for (int64_t h = 0; h < 2; ++h) {
        std::vector<std::pair<double, int64_t>> sparsity;
        for (int64_t i = 0; i < length; ++i) {
          const auto scores = k[b][h].index_select(0, sample[i]).matmul(q[b][h][i]);
          sparsity.emplace_back(-(scores.max() - scores.sum() / double(length)).item<double>(), i);
        }
        std::sort(sparsity.begin(), sparsity.end());
        for (int64_t place = 0; place < length; ++place) {
          const int64_t i = sparsity[place].second, seen = causal ? i + 1 : length;
          const auto values = v[b][h].slice(0, 0, seen);
          const auto weights = at::softmax(k[b][h].slice(0, 0, seen).matmul(q[b][h][i]) / 2.0, 0);
          const auto expected = place < active ? weights.matmul(values) : causal ? values.sum(0) : values.mean(0);
          CHECK(close(out[b][h][i], expected));
        }
      }
    }
  }
}

TEST_CASE("drawn samples repeat in evaluation and differ in training", "[blocks]") {
  at::manual_seed(1);
  CHECK(draw_sample({4, 6}, 50, false, at::kCPU).equal(draw_sample({4, 6}, 50, false, at::kCPU)));
  const auto first = draw_sample({4, 6}, 50, true, at::kCPU);
  CHECK_FALSE(first.equal(draw_sample({4, 6}, 50, true, at::kCPU)));
  CHECK(first.scalar_type() == at::kLong);
}

TEST_CASE("a normalised window has mean 0 and variance 1, a constant one stays finite, and forecasts go back", "[blocks]") {
  auto window = values("window", {3, 40, 2}) * 7.0 + 100.0;
  window.select(2, 1).fill_(4.0);
  const WindowNorm norm(window);
  CHECK(norm.series.select(2, 0).mean(1).abs().max().item<double>() < 1e-4);
  CHECK(close(norm.series.select(2, 0).var(1, /*unbiased=*/false), at::ones({3})));
  CHECK(norm.series.select(2, 1).abs().max().item<double>() == 0.0);
  CHECK(at::allclose(norm.restore(norm.series), window, 1e-4, 1e-4));
  WindowNorm last = norm;
  last.keep_last();
  CHECK(last.restore(at::zeros({3, 5, 1})).equal(at::full({3, 5, 1}, 4.0)));
}

TEST_CASE("a position table interleaves sines and cosines", "[blocks]") {
  const auto table = series_position_table(50, 6);
  REQUIRE(table.sizes() == at::IntArrayRef({50, 6}));
  for (const int64_t row : {0, 1, 49}) {
    for (int64_t i = 0; i < 3; ++i) {
      const double angle = double(row) / std::pow(10000.0, 2.0 * double(i) / 6.0);
      CHECK(table[row][2 * i].item<double>() == Approx(std::sin(angle)).margin(1e-5));
      CHECK(table[row][2 * i + 1].item<double>() == Approx(std::cos(angle)).margin(1e-5));
    }
  }
}
