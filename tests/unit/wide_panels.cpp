// Panels for AVX-512, against the plain operations.
#include "models/blocks/wide_panels.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>

#include "models/blocks/layers.h"
#include "models/blocks/linear.h"
#include "models/blocks/winograd.h"
#include "tests/catch.h"
#include "tests/unit/panels_support.h"

namespace zoo::test::wide_panels {
namespace {

bool possible(PanelType type) {
  if (!WidePanels::possible(type)) WARN("SKIPPED: needs a processor with what wide panels of type " << static_cast<int>(type) << " take");
  return WidePanels::possible(type);
}

at::Tensor product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, Pointwise after, const at::Tensor& residual, PanelType type = PanelType::float32) {
  return product_by<WidePanels>(x, weight, bias, after, residual, type);
}

// What eight bits make of the weight and of the rows, in float64.
at::Tensor rounded_weight(const at::Tensor& weight) {
  const at::Tensor scale = weight.abs().amax(1, true) / 127.0;
  return (weight / scale).round().to(at::kDouble) * scale.to(at::kDouble);
}
at::Tensor rounded_rows(const at::Tensor& x) {
  const at::Tensor low = x.amin(1, true).clamp_max(0), step = (x.amax(1, true).clamp_min(0) / 255.0 - low / 255.0).clamp_min(1e-30), zero = (-low / step).round();
  return ((x / step + zero).round().clamp(0, 255).to(at::kDouble) - zero.to(at::kDouble)) * step.to(at::kDouble);
}

const std::vector<std::pair<int64_t, int64_t>> kShapes = {{1, 1}, {2, 384}, {31, 385}, {32, 7}, {64, 768}, {70, 802}, {161, 1001}, {128, 3072}};
const std::vector<int64_t> kRowCounts = {1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 111, 112, 113, 230};

}  // namespace

TEST_CASE("wide panels: every number of rows and odd shapes, float32 and bfloat16", "[panels]") {
  if (!possible(PanelType::float32)) return;
  at::manual_seed(1);
  const auto half = [](const at::Tensor& t) { return t.to(at::kBFloat16).to(at::kDouble); };
  for (const auto& [out, in] : kShapes) {
    const at::Tensor weight = at::randn({out, in}), bias = at::randn({out}), turned = weight.t().contiguous().t();
    const double bound = 2e-4 + 1e-5 * std::sqrt(static_cast<double>(in));  // sums of more terms round more
    for (const int64_t rows : kRowCounts) {
      INFO(rows << " x " << in << " -> " << out);
      const at::Tensor x = at::randn({rows, in}), residual = at::randn({rows, out});
      const at::Tensor exact = at::linear(x.to(at::kDouble), weight.to(at::kDouble), bias.to(at::kDouble));
      CHECK(largest_difference(product(x, weight, bias, Pointwise::none, residual), exact + residual) < bound);
      CHECK(largest_difference(product(x, weight, {}, Pointwise::none, {}), exact - bias) < bound);
      CHECK(largest_difference(product(x, turned, bias, Pointwise::gelu, residual), at::gelu(exact) + residual) < bound);
      if (!possible(PanelType::bfloat16)) continue;
      const at::Tensor rounded = at::linear(half(x), half(weight), bias.to(at::kDouble));
      CHECK(largest_difference(product(x, weight, bias, Pointwise::none, residual, PanelType::bfloat16), rounded + residual) < bound);
      CHECK(at::equal(product(x, turned, {}, Pointwise::silu, {}, PanelType::bfloat16), product(x, weight, {}, Pointwise::silu, {}, PanelType::bfloat16)));
    }
  }
}

TEST_CASE("wide panels: eight bits are exact sums of rounded weights and rounded rows", "[panels]") {
  if (!possible(PanelType::int8)) return;
  at::manual_seed(2);
  for (const auto& [out, in] : kShapes) {
    const at::Tensor weight = at::randn({out, in}), bias = at::randn({out});
    for (const int64_t rows : kRowCounts) {
      INFO(rows << " x " << in << " -> " << out);
      const at::Tensor x = at::randn({rows, in}) + 0.5, residual = at::randn({rows, out});
      const at::Tensor exact = at::linear(rounded_rows(x), rounded_weight(weight), bias.to(at::kDouble));
      // Halves may fall to the other side where the row's numbers are multiplied by 1 / step instead of divided: one step of one number.
      const double one_step = (x.amax() - x.amin()).item<double>() / 255.0 * weight.abs().max().item<double>();
      CHECK(largest_difference(product(x, weight, bias, Pointwise::none, residual, PanelType::int8), exact + residual) < 1.01 * one_step + 1e-3);
      CHECK(largest_difference(product(x, weight, {}, Pointwise::relu, {}, PanelType::int8), at::relu(exact - bias)) < 1.01 * one_step + 1e-3);
      CHECK(at::equal(product(x, weight.t().contiguous().t(), bias, Pointwise::none, {}, PanelType::int8), product(x, weight, bias, Pointwise::none, {}, PanelType::int8)));
    }
  }
}

TEST_CASE("wide panels: eight bits at their limits neither overflow nor hide what is no number", "[panels]") {
  if (!possible(PanelType::int8)) return;
  const int64_t many = WidePanels::kMostInputs;
  const at::Tensor ones = at::ones({3, many}), weight = at::ones({33, many});
  CHECK(largest_difference(product(ones, weight, {}, Pointwise::none, {}, PanelType::int8), at::full({3, 33}, double(many))) < 0.1);
  CHECK(largest_difference(product(-ones, weight, {}, Pointwise::none, {}, PanelType::int8), at::full({3, 33}, -double(many))) < 0.1);
  CHECK(product(at::zeros({2, 40}), at::randn({20, 40}), {}, Pointwise::none, {}, PanelType::int8).eq(0).all().item<bool>());
  CHECK(product(at::ones({2, 40}), at::zeros({20, 40}), {}, Pointwise::none, {}, PanelType::int8).eq(0).all().item<bool>());
  at::Tensor x = at::ones({3, 40}), holed = at::ones({20, 40});
  x[0][39] = NAN;
  x[1][3] = INFINITY;
  holed[7][1] = NAN;
  const at::Tensor y = product(x, at::ones({20, 40}), {}, Pointwise::none, {}, PanelType::int8);
  CHECK(y.slice(0, 0, 2).isnan().all().item<bool>());
  CHECK(y[2].isfinite().all().item<bool>());
  CHECK(product(at::ones({1, 40}), holed, {}, Pointwise::none, {}, PanelType::int8).isnan().sum().item<int64_t>() == 1);
  CHECK_THROWS_AS(product(at::ones({1, many + 1}), at::ones({1, many + 1}), {}, Pointwise::none, {}, PanelType::int8), std::logic_error);
}

TEST_CASE("wide panels: a row does not depend on its neighbours or the threads", "[panels]") {
  const at::Tensor x = at::randn({200, 900}), weight = at::randn({300, 900}), bias = at::randn({300});
  const int threads = at::get_num_threads();
  for (const auto type : {PanelType::float32, PanelType::bfloat16, PanelType::int8}) {
    if (!possible(type)) continue;
    const at::Tensor all = product(x, weight, bias, Pointwise::gelu, {}, type);
    for (const int64_t row : {0, 57, 199}) CHECK(at::equal(product(x.narrow(0, row, 1), weight, bias, Pointwise::gelu, {}, type), all.narrow(0, row, 1)));
    for (const int64_t rows : {2, 4, 15, 16, 17, 31, 32, 33, 120, 129}) CHECK(at::equal(product(x.narrow(0, 3, rows), weight, bias, Pointwise::gelu, {}, type), all.narrow(0, 3, rows)));
    at::set_num_threads(threads == 1 ? 2 : 1);
    CHECK(at::equal(product(x, weight, bias, Pointwise::gelu, {}, type), all));
    at::set_num_threads(threads);
  }
}

TEST_CASE("wide panels: products by tiles do not disturb LibTorch's, which may use them, too", "[panels]") {
  if (!possible(PanelType::bfloat16)) return;
  at::manual_seed(8);
  const at::Tensor x = at::randn({70, 96}), weight = at::randn({64, 96}), other = at::randn({40, 256}).to(at::kBFloat16), others = at::randn({300, 256}).to(at::kBFloat16);
  const at::Tensor ours = product(x, weight, {}, Pointwise::none, {}, PanelType::bfloat16), theirs = at::linear(other, others);
  for (int turn = 0; turn < 3; ++turn) {
    CHECK(at::equal(product(x, weight, {}, Pointwise::none, {}, PanelType::bfloat16), ours));
    CHECK(at::equal(at::linear(other, others), theirs));
  }
}

TEST_CASE("wide panels: several weights that read the same rows give what each gives alone, to the last bit", "[panels]") {
  if (!possible(PanelType::float32)) return;
  at::manual_seed(5);
  for (const PanelType type : {PanelType::float32, PanelType::bfloat16, PanelType::int8}) {
    if (!possible(type)) continue;
    for (const int64_t rows : {1, 9, 130}) {
      const at::Tensor x = at::randn({rows, 96});
      std::vector<at::Tensor> weights, biases, results;
      std::vector<std::unique_ptr<WidePanels>> panels;
      std::vector<WidePanels::Share> shares;
      for (const int64_t out : {64, 33, 300}) {
        weights.push_back(at::randn({out, 96}));
        biases.push_back(at::randn({out}));
        results.push_back(at::full({rows, out}, 1e9));
        panels.push_back(std::make_unique<WidePanels>(weights.back().const_data_ptr<float>(), out, 96, 96, 1, type));
        shares.push_back({panels.back().get(), biases.back().const_data_ptr<float>(), Pointwise::relu, nullptr, results.back().mutable_data_ptr(), false});
      }
      WidePanels::multiply(x.const_data_ptr(), false, rows, shares.data(), shares.size());
      for (size_t i = 0; i < 3; ++i) CHECK(at::equal(results[i], product(x, weights[i], biases[i], Pointwise::relu, {}, type)));
    }
  }
}

TEST_CASE("wide panels: rows and results in bfloat16 are the rounded ones of float32, to the last bit", "[panels]") {
  if (!possible(PanelType::bfloat16)) return;
  at::manual_seed(6);
  for (const PanelType type : {PanelType::bfloat16, PanelType::int8}) {
    for (const auto& [out, in] : kShapes) {
      const at::Tensor weight = at::randn({out, in}), bias = at::randn({out});
      const WidePanels panels(weight.const_data_ptr<float>(), out, in, in, 1, type);
      const auto multiply = [&](const at::Tensor& x, at::Tensor y, Pointwise after) {
        const auto is_half = [](const at::Tensor& t) { return t.scalar_type() == at::kBFloat16; };
        const WidePanels::Share share = {&panels, bias.const_data_ptr<float>(), after, nullptr, y.mutable_data_ptr(), is_half(y)};
        WidePanels::multiply(x.const_data_ptr(), is_half(x), x.size(0), &share, 1);
        return y;
      };
      for (const int64_t rows : kRowCounts) {
        INFO(rows << " x " << in << " -> " << out << ", type " << static_cast<int>(type));
        const at::Tensor x = at::randn({rows, in}), rounded = x.to(at::kBFloat16), room = at::full({rows, out}, 1e9);
        for (const Pointwise after : {Pointwise::none, Pointwise::relu, Pointwise::silu}) {
          CHECK(at::equal(multiply(x, room.to(at::kBFloat16), after), product(x, weight, bias, after, {}, type).to(at::kBFloat16)));
        }
        if (type == PanelType::bfloat16 && in % 2 != 0) continue;
        CHECK(at::equal(multiply(rounded, room.clone(), Pointwise::gelu), product(rounded.to(at::kFloat), weight, bias, Pointwise::gelu, {}, type)));
      }
    }
  }
}

TEST_CASE("wide panels: GELU for results in bfloat16 is GELU as far as they show it", "[panels]") {
  if (!possible(PanelType::bfloat16)) return;
  const at::Tensor one = at::ones({1, 1}), inputs = at::arange(-12.0, 12.0, 1.0 / 64).view({-1, 1}), x = at::cat({inputs, at::full({1, 1}, NAN), at::full({1, 1}, INFINITY)}).to(at::kFloat);
  const WidePanels identity(one.const_data_ptr<float>(), 1, 1, 1, 1, PanelType::bfloat16);
  const at::Tensor y = at::empty_like(x, at::kBFloat16);
  const WidePanels::Share share = {&identity, nullptr, Pointwise::gelu, nullptr, y.mutable_data_ptr(), true};
  WidePanels::multiply(x.const_data_ptr(), false, x.size(0), &share, 1);
  const at::Tensor number = y.narrow(0, 0, inputs.size(0)).to(at::kDouble), exact = at::gelu(inputs.to(at::kBFloat16).to(at::kDouble));
  CHECK(((number - exact).abs() - exact.abs() / 256).max().item<double>() < 1e-4);
  CHECK(y[-2].isnan().item<bool>());
  CHECK(y[-1].item<double>() == INFINITY);
}

TEST_CASE("wide panels: convolutions of pictures equal LibTorch's", "[panels]") {
  if (!possible(PanelType::float32)) return;
  at::manual_seed(7);
  struct Shape {
    int64_t count, height, width, channels, out, kernel, stride;
  };
  for (const Shape& p : {Shape{1, 14, 14, 64, 64, 3, 1}, {2, 7, 9, 64, 70, 3, 2}, {1, 13, 5, 256, 32, 1, 2}, {3, 6, 6, 96, 33, 1, 1}, {2, 9, 9, 16, 64, 1, 2}, {1, 30, 31, 32, 40, 5, 1}, {2, 1, 1, 128, 8, 3, 1}, {1, 40, 40, 256, 16, 3, 1}}) {
    for (const PanelType type : {PanelType::float32, PanelType::bfloat16}) {
      if (!possible(type)) continue;
      INFO(p.count << " x " << p.height << " x " << p.width << " x " << p.channels << ", kernel " << p.kernel << ", stride " << p.stride << ", type " << static_cast<int>(type));
      REQUIRE(WidePanels::takes_patches(type, p.kernel * p.kernel * p.channels, p.kernel * p.channels));
      const auto rounded = [&](const at::Tensor& t) { return (type == PanelType::bfloat16 ? t.to(at::kBFloat16) : t).to(at::kDouble); };
      const at::Tensor x = at::randn({p.count, p.height, p.width, p.channels}), weight = at::randn({p.out, p.kernel, p.kernel, p.channels}) * 0.1, bias = at::randn({p.out});
      at::Tensor exact = at::conv2d(rounded(x).permute({0, 3, 1, 2}), rounded(weight).permute({0, 3, 1, 2}), bias.to(at::kDouble), p.stride, p.kernel / 2).permute({0, 2, 3, 1});
      const at::Tensor residual = at::randn(exact.sizes()), matrix = weight.reshape({p.out, -1});
      const WidePanels panels(matrix.const_data_ptr<float>(), p.out, matrix.size(1), matrix.size(1), 1, type, p.kernel * p.channels);
      for (const bool with_residual : {false, true}) {
        at::Tensor y = at::full(exact.sizes(), 1e9);
        panels.multiply_patches({x.const_data_ptr(), false, p.count, p.height, p.width, p.channels, p.kernel, p.stride}, bias.const_data_ptr<float>(), Pointwise::relu,
                                with_residual ? residual.const_data_ptr() : nullptr, y.mutable_data_ptr(), false);
        CHECK(largest_difference(y, at::relu(with_residual ? exact + residual : exact)) < 3e-4);
        if (type != PanelType::bfloat16) continue;
        // The same in bfloat16, with the residual in it, too, and an activation that registers can't give.
        const at::Tensor half = x.to(at::kBFloat16), more = residual.to(at::kBFloat16);
        at::Tensor z = at::full(exact.sizes(), 1e9).to(at::kBFloat16);
        for (const Pointwise after : {Pointwise::relu, Pointwise::silu}) {
          panels.multiply_patches({half.const_data_ptr(), true, p.count, p.height, p.width, p.channels, p.kernel, p.stride}, bias.const_data_ptr<float>(), after,
                                  with_residual ? more.const_data_ptr() : nullptr, z.mutable_data_ptr(), true);
          const at::Tensor sum = with_residual ? exact + more : exact, wanted = after == Pointwise::relu ? at::relu(sum) : at::silu(sum);
          CHECK(((z - wanted).abs() - wanted.abs() / 256).max().item<double>() < 3e-4);
        }
      }
    }
  }
  CHECK_FALSE(WidePanels::takes_patches(PanelType::float32, 147, 21));  // blocks so short are not worth it
  CHECK_FALSE(WidePanels::takes_patches(PanelType::int8, 576, 192));
}

TEST_CASE("Winograd: convolutions equal LibTorch's, and a picture does not depend on its neighbours or the threads", "[panels]") {
  if (!possible(PanelType::float32)) return;
  at::manual_seed(8);
  struct Shape {
    int64_t count, height, width, channels, out;
  };
  for (const Shape& p : {Shape{1, 1, 1, 16, 16}, {2, 2, 2, 32, 48}, {3, 7, 5, 64, 64}, {2, 14, 14, 256, 32}, {1, 56, 56, 64, 256}, {9, 3, 8, 128, 128}}) {
    for (const PanelType type : {PanelType::float32, PanelType::bfloat16}) {
      if (!possible(type)) continue;
      INFO(p.count << " x " << p.height << " x " << p.width << " x " << p.channels << " -> " << p.out << ", type " << static_cast<int>(type));
      REQUIRE(Winograd::possible(type, p.out, p.channels));
      const bool half = type == PanelType::bfloat16;
      const at::ScalarType as = half ? at::kBFloat16 : at::kFloat;
      const at::Tensor x = at::randn({p.count, p.height, p.width, p.channels}).to(as), weight = at::randn({p.out, 3, 3, p.channels}) * 0.1, bias = at::randn({p.out});
      const at::Tensor exact = at::conv2d(x.to(at::kDouble).permute({0, 3, 1, 2}), weight.to(at::kDouble).permute({0, 3, 1, 2}), bias.to(at::kDouble), 1, 1).permute({0, 2, 3, 1});
      const at::Tensor residual = at::randn(exact.sizes()).to(as);
      const Winograd winograd(weight.const_data_ptr<float>(), p.out, p.channels, type);
      const auto convolve = [&](const at::Tensor& pictures, const at::Tensor& more, Pointwise after) {
        const at::Tensor y = at::full({pictures.size(0), p.height, p.width, p.out}, 1e9).to(as);
        winograd.convolve({pictures.const_data_ptr(), half, pictures.size(0), p.height, p.width, p.channels, 3, 1}, bias.const_data_ptr<float>(), after, more.defined() ? more.const_data_ptr() : nullptr, y.mutable_data_ptr(), half);
        return y;
      };
      // What rounding the transformed numbers and weights to 8 bits can change in sums of so many.
      const double bound = half ? 0.01 * std::sqrt(static_cast<double>(p.channels)) : 3e-5;
      const at::Tensor y = convolve(x, residual, Pointwise::relu);
      CHECK(((y - at::relu(exact + residual)).abs() - exact.abs() / (half ? 256 : 1e6)).max().item<double>() < bound);
      CHECK(((convolve(x, {}, Pointwise::silu) - at::silu(exact)).abs() - exact.abs() / (half ? 256 : 1e6)).max().item<double>() < bound);
      CHECK(at::equal(convolve(x.narrow(0, p.count - 1, 1), residual.narrow(0, p.count - 1, 1), Pointwise::relu), y.narrow(0, p.count - 1, 1)));
      const int threads = at::get_num_threads();
      at::set_num_threads(threads == 1 ? 3 : 1);
      CHECK(at::equal(convolve(x, residual, Pointwise::relu), y));
      at::set_num_threads(threads);
    }
  }
  CHECK_FALSE(Winograd::possible(PanelType::float32, 64, 40));
  CHECK_FALSE(Winograd::possible(PanelType::float32, 512, 64));
  CHECK_FALSE(Winograd::possible(PanelType::int8, 64, 64));
}
}  // namespace zoo::test::wide_panels
