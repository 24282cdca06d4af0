// Shared blocks against naive loops and values computed by hand.
#include <ATen/ATen.h>

#include "models/blocks/attention.h"
#include "models/blocks/conv_norm.h"
#include "models/blocks/layers.h"
#include "models/blocks/linear.h"
#include "models/blocks/positions.h"
#include "models/init.h"
#include "tests/catch.h"

using namespace zoo;

TEST_CASE("linear equals a naive loop, packed and unpacked, in values and gradients", "[blocks]") {
  at::manual_seed(0);
  for (const bool with_bias : {true, false}) {
    Linear layer(5, 3, with_bias);
    layer->init();
    const auto x = at::randn({2, 4, 5}).set_requires_grad(true);
    const auto y = layer(x);
    auto naive = at::zeros({2, 4, 3});
    for (int64_t b = 0; b < 2; ++b)
      for (int64_t t = 0; t < 4; ++t)
        for (int64_t o = 0; o < 3; ++o) {
          double sum = with_bias ? layer->bias[o].item<double>() : 0.0;
          for (int64_t i = 0; i < 5; ++i) sum += x[b][t][i].item<double>() * layer->weight[o][i].item<double>();
          naive[b][t][o] = sum;
        }
    CHECK(at::allclose(y, naive, 1e-5, 1e-6));
    y.square().sum().backward();
    const auto upstream = 2 * naive;
    CHECK(at::allclose(x.grad(), at::matmul(upstream, layer->weight.detach()), 1e-4, 1e-5));
    CHECK(at::allclose(layer->weight.grad(), at::matmul(upstream.reshape({8, 3}).t(), x.detach().reshape({8, 5})), 1e-4, 1e-5));
    if (with_bias) CHECK(at::allclose(layer->bias.grad(), upstream.sum(at::IntArrayRef{0, 1}), 1e-4, 1e-5));
    layer->pack();
    at::NoGradGuard no_grad;
    CHECK(at::allclose(layer(x), naive, 1e-5, 1e-6));
    CHECK(layer(x.slice(0, 0, 0)).sizes() == at::IntArrayRef({0, 4, 3}));  // an empty batch is not an error
  }
}

TEST_CASE("attention in training, with a dropout too small to happen, equals attention without", "[blocks]") {
  at::manual_seed(0);
  const auto q = at::randn({2, 3, 4, 8}), k = at::randn({2, 3, 6, 8}), v = at::randn({2, 3, 6, 5});
  auto keep = at::ones({2, 6}, at::kBool);
  keep[0].slice(0, 2).fill_(false);
  keep[1].fill_(false);  // a row that keeps nothing
  const auto added = at::randn({2, 1, 4, 6});
  for (const auto& mask : {at::Tensor(), key_mask(keep), added}) {
    std::vector<at::Tensor> results;
    for (const double dropout : {0.0, 1e-9}) {
      std::vector<at::Tensor> leaves;
      for (const auto& x : {q, k, v}) leaves.push_back(x.clone().requires_grad_());
      const auto mixed = attention(leaves[0], leaves[1], leaves[2], mask, dropout, 0.3);
      mixed.square().sum().backward();
      results.push_back(mixed.detach());
      for (const auto& leaf : leaves) results.push_back(leaf.grad());
    }
    for (size_t i = 0; i < 4; ++i) CHECK(at::allclose(results[i], results[i + 4], 1e-4, 1e-5));
  }
}

TEST_CASE("attention equals softmax(q k^T / sqrt(d)) v by loops, with a key mask", "[blocks]") {
  at::manual_seed(0);
  const auto q = at::randn({2, 2, 3, 4}), k = at::randn({2, 2, 5, 4}), v = at::randn({2, 2, 5, 4});
  auto keep = at::ones({2, 5}, at::kBool);
  keep[1].slice(0, 3).fill_(false);
  const auto mixed = attention(q, k, v, key_mask(keep));
  for (int64_t b = 0; b < 2; ++b)
    for (int64_t h = 0; h < 2; ++h)
      for (int64_t t = 0; t < 3; ++t) {
        const int64_t kept = b == 0 ? 5 : 3;
        double total = 0, expected = 0;
        for (int64_t s = 0; s < kept; ++s) {
          const double weight = std::exp((q[b][h][t] * k[b][h][s]).sum().item<double>() / 2.0);
          total += weight;
          expected += weight * v[b][h][s][1].item<double>();
        }
        CHECK(mixed[b][h][t][1].item<double>() == Approx(expected / total).epsilon(1e-4));
      }
}

TEST_CASE("attention over few keys, without gradients, equals the formula in double", "[blocks]") {
  at::manual_seed(0);
  const at::NoGradGuard no_grad;
  for (const int64_t width : {16, 32, 80}) {
    for (const auto& [queries, keys] : {std::pair<int64_t, int64_t>{4, 1}, {7, 7}, {49, 49}, {5, 16}, {9, 128}, {6, 200}}) {
      const auto heads_of = [&](int64_t rows) { return at::randn({2, rows, 3 * width}).view({2, rows, 3, width}).transpose(1, 2); };  // not dense
      const auto q = heads_of(queries), k = heads_of(keys), v = heads_of(keys);
      auto hidden = at::randn({2, 1, queries, keys});
      if (keys > 1) hidden.select(3, 0).fill_(-INFINITY);
      for (const auto& mask : {Tensor(), at::randn({1, 3, queries, keys}), at::randn({2, 3, queries, keys}), hidden}) {
        INFO(width << " wide, " << queries << " to " << keys << (mask.defined() ? ", masked" : ""));
        auto scores = 0.3 * at::matmul(q.to(at::kDouble), k.to(at::kDouble).transpose(2, 3));
        if (mask.defined()) scores = scores + mask;
        const auto exact = at::matmul(at::softmax(scores, -1), v.to(at::kDouble));
        CHECK((attention(q, k, v, mask, 0.0, 0.3) - exact).abs().max().item<double>() < 5e-6);
      }
    }
  }
}

TEST_CASE("attention in bfloat16, without gradients, is that of the rounded numbers, in its own type", "[blocks]") {
  at::manual_seed(0);
  const at::NoGradGuard no_grad;
  for (const int64_t width : {32, 64, 80}) {  // 80: by way of float32
    for (const auto& [queries, keys] : {std::pair<int64_t, int64_t>{4, 1}, {7, 7}, {49, 49}, {5, 33}, {9, 128}, {6, 199}, {4, 300}, {2, 5}}) {
      const auto heads_of = [&](int64_t rows) { return at::randn({2, rows, 3 * width}).to(at::kBFloat16).view({2, rows, 3, width}).transpose(1, 2); };
      const auto q = heads_of(queries), k = heads_of(keys), v = heads_of(keys);
      auto keep = at::ones({2, 1, 1, keys}, at::kBool);
      if (keys > 1) keep.select(3, keys / 2).fill_(false);
      for (const auto& mask : {Tensor(), at::randn({1, 3, queries, keys}), keep}) {
        INFO(width << " wide, " << queries << " to " << keys << (mask.defined() ? ", masked" : ""));
        auto scores = 0.3 * at::matmul(q.to(at::kDouble), k.to(at::kDouble).transpose(2, 3));
        if (mask.defined()) scores = mask.scalar_type() == at::kBool ? scores.masked_fill(mask.logical_not(), -INFINITY) : scores + mask;
        const auto exact = at::matmul(at::softmax(scores, -1), v.to(at::kDouble)), found = attention(q, k, v, mask, 0.0, 0.3);
        CHECK(found.scalar_type() == at::kBFloat16);
        CHECK(((found - exact).abs() / (exact.abs() + 0.3)).max().item<double>() < 0.01);  // two roundings of 2^-9: of the weights, of what comes out
      }
    }
  }
}

TEST_CASE("attention with a mask that says which keys to keep is the same for few keys and for LibTorch", "[blocks]") {
  at::manual_seed(0);
  const auto q = at::randn({2, 3, 9, 32}), k = at::randn({2, 3, 40, 32}), v = at::randn({2, 3, 40, 32});
  auto keep = at::rand({2, 1, 1, 40}).gt(0.3);
  keep[1].fill_(false);  // a text that keeps nothing
  const auto theirs = at::scaled_dot_product_attention(q, k, v, std::optional<Tensor>(keep));
  const at::NoGradGuard no_grad;
  CHECK(at::allclose(attention(q, k, v, keep), theirs, 1e-5, 1e-5));
}

TEST_CASE("heads split and merge without mixing", "[blocks]") {
  const auto x = at::arange(24, at::kFloat).reshape({1, 3, 8});
  const auto split = split_heads(x, 2);
  CHECK(split.sizes() == at::IntArrayRef({1, 2, 3, 4}));
  CHECK(split[0][1][2].equal(x[0][2].slice(0, 4)));
  CHECK(merge_heads(split).equal(x));
}

TEST_CASE("a mask that keeps everything is no mask", "[blocks]") {
  CHECK_FALSE(key_mask(at::ones({2, 3}, at::kBool)).defined());
  CHECK_FALSE(key_mask({}).defined());
  auto mask = at::ones({2, 3}, at::kBool);
  mask[0][2] = false;
  CHECK(key_mask(mask).sizes() == at::IntArrayRef({2, 1, 1, 3}));
}

TEST_CASE("layer norm has mean 0 and variance 1 before its affine part", "[blocks]") {
  LayerNorm norm(4, 1e-12);
  norm->init();
  const auto y = norm(at::arange(8, at::kFloat).reshape({2, 4}));
  const double unit = 1.5 / std::sqrt(1.25);  // 0 1 2 3: mean 1.5, variance 1.25
  CHECK(y[0][0].item<double>() == Approx(-unit).epsilon(1e-5));
  CHECK(y[1][3].item<double>() == Approx(unit).epsilon(1e-5));
}

TEST_CASE("batch norm: the batch's statistics in training, the running ones in eval mode", "[blocks]") {
  at::manual_seed(0);
  BatchNorm norm(3, 1e-3);
  norm->init();
  const at::NoGradGuard no_grad;
  norm->weight.uniform_(0.5, 1.5);
  norm->bias.uniform_(-1.0, 1.0);
  const auto x = at::randn({4, 3, 5, 2}) * 2.0 + 1.0;
  const auto per_channel = [](const Tensor& v) { return v.view({1, 3, 1, 1}); };
  const auto mean = x.mean(at::IntArrayRef{0, 2, 3}), biased = x.var(at::IntArrayRef{0, 2, 3}, at::Scalar(0)), unbiased = x.var(at::IntArrayRef{0, 2, 3}, at::Scalar(1));
  const auto expected = [&](const Tensor& m, const Tensor& v) {
    return (x - per_channel(m)) / at::sqrt(per_channel(v) + 1e-3) * per_channel(norm->weight) + per_channel(norm->bias);
  };
  CHECK(at::allclose(norm(x), expected(mean, biased), 1e-4, 1e-5));
  CHECK(at::allclose(norm->running_mean, 0.1 * mean, 1e-4, 1e-5));
  CHECK(at::allclose(norm->running_var, 0.9 + 0.1 * unbiased, 1e-4, 1e-5));
  CHECK(norm->num_batches_tracked.item<int64_t>() == 1);
  norm->eval();
  CHECK(at::allclose(norm(x), expected(0.1 * mean, 0.9 + 0.1 * unbiased), 1e-4, 1e-5));
  CHECK(norm->num_batches_tracked.item<int64_t>() == 1);
}

TEST_CASE("patches are what a kernel sees, in the order of a weight with channels last", "[blocks]") {
  at::manual_seed(0);
  for (const int64_t kernel : {1, 3, 7}) {
    for (const int64_t stride : {1, 2, 3}) {
      for (const auto& [height, width] : {std::pair<int64_t, int64_t>{1, 1}, {2, 5}, {9, 6}}) {
        INFO(kernel << " " << stride << " " << height << " " << width);
        const auto x = at::randn({2, 4, height, width}), weight = at::randn({3, 4, kernel, kernel});
        const auto convolved = at::conv2d(x, weight, {}, {stride, stride}, {kernel / 2, kernel / 2});
        const auto rows = at::matmul(patches(x, kernel, stride), weight.permute({0, 2, 3, 1}).reshape({3, -1}).t());
        CHECK(at::allclose(rows.permute({0, 3, 1, 2}), convolved, 1e-4, 1e-5));
      }
    }
  }
}

TEST_CASE("convolution with batch norm: packed as plain, with and without a residual", "[blocks]") {
  at::manual_seed(0);
  const at::NoGradGuard no_grad;
  for (const std::string activation : {"", "relu", "gelu"}) {
    for (const auto& [kernel, stride] : {std::pair<int64_t, int64_t>{1, 1}, {1, 2}, {3, 1}, {3, 2}, {7, 2}}) {
      INFO(activation << " " << kernel << " " << stride);
      ConvNorm layer(16, 24, kernel, stride, activation);
      for (const auto& module : layer->modules(/*include_self=*/false)) dynamic_cast<Module&>(*module).init();
      layer->normalization->weight.uniform_(0.5, 1.5);
      layer->normalization->bias.uniform_(-1.0, 1.0);
      layer->normalization->running_mean.uniform_(-1.0, 1.0);
      layer->normalization->running_var.uniform_(0.5, 2.0);
      layer->eval();
      const auto x = at::randn({3, 16, 9, 6});
      const auto plain = layer(x);
      const auto residual = at::randn(plain.sizes());
      const auto sum = layer->normalization(layer->convolution(x)) + residual;
      const auto with_residual = layer(x, residual);
      CHECK(at::allclose(with_residual, activation.empty() ? sum : zoo::activation(activation)(sum), 1e-4, 1e-5));
      // As a whole, for int8's kernel, and so the error of a single number, depends on the processor; in float32 each number.
      const auto share = [](const at::Tensor& here, const at::Tensor& wanted) { return (here - wanted).norm().item<double>() / wanted.norm().item<double>(); };
      for (const auto& [precision, most] : {std::pair{Precision::float32, 1e-5}, {Precision::bfloat16, 0.02}, {Precision::int8, 0.05}}) {
        if (!layer->pack(precision)) continue;  // this processor has no better kernel
        CHECK(share(layer(x), plain) < most);
        CHECK(share(layer(x, residual), with_residual) < most);
        if (precision == Precision::float32) CHECK(at::allclose(layer(x), plain, 1e-4, 1e-5));
        if (precision == Precision::float32) CHECK(at::allclose(layer(x, residual), with_residual, 1e-4, 1e-5));
        CHECK(layer(x).is_contiguous(at::MemoryFormat::ChannelsLast));
      }
    }
  }
}

TEST_CASE("drop path keeps the expectation, drops whole rows, and does nothing in eval mode", "[blocks]") {
  at::manual_seed(0);
  const auto x = at::ones({4000, 3});
  CHECK(drop_path(x, 0.25, false).equal(x));
  const auto y = drop_path(x, 0.25, true);
  CHECK(y.mean().item<double>() == Approx(1.0).margin(0.05));
  CHECK(y.select(1, 0).equal(y.select(1, 2)));
  CHECK((y.eq(0) | (y - 1 / 0.75).abs().lt(1e-6)).all().item<bool>());
}

TEST_CASE("position tables: sine values, and a resize that keeps extra rows and constants", "[blocks]") {
  const auto sine = sine_position_table(6, 4);
  CHECK(sine[0][0][0].item<double>() == 0.0);
  CHECK(sine[0][0][1].item<double>() == 1.0);
  CHECK(sine[0][3][0].item<double>() == Approx(std::sin(3.0)).epsilon(1e-6));
  CHECK(sine[0][3][3].item<double>() == Approx(std::cos(0.03)).epsilon(1e-6));

  auto table = at::full({1, 1 + 9, 2}, 5.0);
  table[0][0] = -1.0;
  for (const auto how : {Resize::bilinear, Resize::bicubic}) {
    const auto larger = resize_position_table(table, 1 + 16, 1, how);
    REQUIRE(larger.sizes() == at::IntArrayRef({1, 17, 2}));
    CHECK(larger[0][0].equal(table[0][0]));
    CHECK(at::allclose(larger.slice(1, 1), at::full({1, 16, 2}, 5.0), 1e-5, 1e-5));
  }
  // Two by two to four by four, bilinear, half-pixel centres: first row 0, 1/4, 3/4, 1.
  const auto ramp = at::tensor({0.0f, 1.0f, 0.0f, 1.0f}).reshape({1, 4, 1});
  const auto resized = resize_position_table(ramp, 16, 0, Resize::bilinear).reshape({4, 4});
  CHECK(at::allclose(resized[0], at::tensor({0.0f, 0.25f, 0.75f, 1.0f})));
  CHECK_FALSE(resize_position_table(at::zeros({1, 7, 2}), 16, 0, Resize::bilinear).defined());  // 7 is no square
}

TEST_CASE("activations give their defining values; unknown ones are refused with the known names", "[blocks]") {
  const auto x = at::tensor({-1.0, 0.5}, at::kDouble);
  CHECK(activation("gelu")(x)[1].item<double>() == Approx(0.5 * 0.5 * (1 + std::erf(0.5 / std::sqrt(2.0)))));
  CHECK(activation("quick_gelu")(x)[1].item<double>() == Approx(0.5 / (1 + std::exp(-1.702 * 0.5))));
  CHECK(activation("silu")(x)[0].item<double>() == Approx(-1.0 / (1 + std::exp(1.0))));
  const double inner = std::sqrt(2 / M_PI) * (0.5 + 0.044715 * 0.125);
  CHECK(activation("gelu_new")(x)[1].item<double>() == Approx(0.25 * (1 + std::tanh(inner))));
  CHECK_THROWS_WITH(activation("gelo"), ContainsSubstring("gelu"));
}

TEST_CASE("starting values have the references' moments", "[blocks]") {
  at::manual_seed(0);
  auto t = at::empty({400, 400});
  trunc_normal(t, 0.2);
  CHECK(t.std().item<double>() == Approx(0.2).epsilon(0.02));
  CHECK(t.abs().max().item<double>() <= 2.0);
  trunc_normal(t, 2.0);  // the cut at +-2 bites: PyTorch's absolute bounds
  CHECK(t.abs().max().item<double>() <= 2.0);
  kaiming_normal(t);
  CHECK(t.std().item<double>() == Approx(std::sqrt(2.0 / 400)).epsilon(0.02));
}
