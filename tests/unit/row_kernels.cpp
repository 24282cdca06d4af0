// What single rows of decoding compute, against the operations on tensors.
#include <ATen/ATen.h>

#include <algorithm>

#include "models/blocks/layers.h"
#include "models/blocks/row_kernels.h"
#include "tests/catch.h"

namespace zoo::test::row_kernels {

TEST_CASE("attention of one row is softmax(scale q K^T + bias) V, of its own rows and of others'", "[row_kernels]") {
  at::manual_seed(1);
  for (const int64_t width : {1, 7, 16, 64, 80, 100}) {
    for (const int64_t length : {1, 3, 4, 16, 17, 61}) {
      const at::Tensor cache_k = at::randn({3, length, width}), cache_v = at::randn({3, length, width}), q = at::randn({width});
      at::Tensor bias = at::randn({length});
      if (length > 2) bias[1] = -INFINITY;  // hidden
      const at::Tensor origin = at::randint(0, 3, {length}, at::kLong), place = at::arange(length, at::kLong);
      for (const bool moved : {false, true}) {
        const at::Tensor k = moved ? cache_k.index({origin, place}) : cache_k[0], v = moved ? cache_v.index({origin, place}) : cache_v[0];
        const at::Tensor exact = at::matmul(at::softmax(0.3 * at::mv(k.to(at::kDouble), q.to(at::kDouble)) + bias, 0), v.to(at::kDouble));
        at::Tensor out = at::full({width}, 1e9);
        std::vector<float> scores(static_cast<size_t>(length + kRowRoom));
        attend_row({q.const_data_ptr<float>(), cache_k.const_data_ptr<float>(), cache_v.const_data_ptr<float>(), bias.const_data_ptr<float>(),
                    moved ? origin.const_data_ptr<int64_t>() : nullptr, out.mutable_data_ptr<float>(), length, length * width, width, 0.3F}, scores.data());
        INFO(length << " keys of " << width << (moved ? ", moved" : ""));
        CHECK((out - exact).abs().max().item<double>() < 2e-6);
      }
    }
  }
}

TEST_CASE("layer norms of rows: in their places and in an order, float32 and bfloat16", "[row_kernels]") {
  const at::NoGradGuard no_grad;
  at::manual_seed(2);
  for (const int64_t width : {1, 5, 16, 33, 64, 96, 777, 1536}) {
    INFO("width " << width);
    LayerNorm norm(width, 1e-5);
    norm->eval();
    norm->weight.normal_();
    norm->bias.normal_();
    at::Tensor x = at::randn({3, 7, width}) * 3 + 100;  // squares of what lies so far from 0 would lose the variance
    const at::Tensor order = at::tensor({6, 0, 0, 3, 5, 1, 2, 4, 6}, at::kLong), exact = at::layer_norm(x.to(at::kDouble), {width}, norm->weight.to(at::kDouble), norm->bias.to(at::kDouble), 1e-5);
    CHECK((norm(x) - exact).abs().max().item<double>() < 3e-4);
    CHECK(at::equal(norm->rows(x, false, order), norm(x).index_select(1, order)));
    CHECK(at::equal(norm->rows(x, true), norm(x).to(at::kBFloat16)));
    CHECK(at::equal(norm->rows(x, true, order), norm(x).index_select(1, order).to(at::kBFloat16)));
    CHECK(at::equal(norm(x[1]), norm(x)[1]));
    const at::Tensor more = at::randn({3, 9, width}), back = at::tensor({8, 1, 3, 2, 2, 0, 7}, at::kLong);
    CHECK(at::equal(added_rows(x, more, back), x + more.index_select(1, back)));
    x[1][2][0] = NAN;
    CHECK(norm->rows(x, true)[1][2].isnan().all().item<bool>());
    CHECK(norm->rows(x, true).isnan().sum().item<int64_t>() == width);
    CHECK_THROWS(added_rows(x, more, order));
  }
}

TEST_CASE("RMS norm in one pass is the formula", "[row_kernels]") {
  const at::NoGradGuard no_grad;
  for (const int64_t width : {1, 7, 8, 40, 768}) {
    const at::Tensor x = at::randn({5, width}), weight = at::randn({width}), wide = x.to(at::kDouble);
    const at::Tensor exact = weight * wide / (wide.square().mean(-1, true) + 1e-6).sqrt();
    CHECK((rms_norm(x, weight, 1e-6) - exact).abs().max().item<double>() < 2e-6);
  }
}

TEST_CASE("the best of rows are those of a sort, whatever was added", "[row_kernels]") {
  at::manual_seed(3);
  for (const float added : {0.0F, -3.75F, -1.0e9F}) {
    for (const int64_t count : {1, 15, 40, 3000}) {
      at::Tensor x = at::randn({2, count});
      if (count > 1) x[0][1] = -INFINITY;
      if (count > 15) x[1][7] = NAN;
      std::vector<Scored> best;
      for (int64_t row = 0; row < 2; ++row) keep_best(x.const_data_ptr<float>() + row * count, count, added * static_cast<float>(row), row * count, 8, best);
      std::vector<float> sums;
      for (int64_t i = 0; i < 2 * count; ++i) {
        const float sum = x.const_data_ptr<float>()[i] + (i < count ? 0.0F : added);
        if (sum > -INFINITY) sums.push_back(sum);
      }
      std::sort(sums.begin(), sums.end(), std::greater<>());
      sums.resize(std::min<size_t>(8, sums.size()));
      std::sort(best.begin(), best.end(), [](const Scored& a, const Scored& b) { return a.score > b.score; });
      REQUIRE(best.size() == sums.size());
      for (size_t i = 0; i < best.size(); ++i) {
        CHECK(best[i].score == sums[i]);
        CHECK(best[i].score == x.const_data_ptr<float>()[best[i].place] + (best[i].place < count ? 0.0F : added));
      }
    }
  }
}

}  // namespace zoo::test::row_kernels
