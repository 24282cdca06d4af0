// Panels for AVX-512, against the plain operations.
#include "models/blocks/wide_panels.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>

#include "models/blocks/layers.h"
#include "models/blocks/linear.h"
#include "tests/catch.h"
#include "tests/unit/panels_support.h"

namespace zoo::test::wide_panels {
namespace {

bool possible(PanelType type) {
  if (!WidePanels::possible(type)) WARN("not checked: this processor lacks what wide panels of type " << static_cast<int>(type) << " need");
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
    at::set_num_threads(threads == 1 ? 2 : 1);
    CHECK(at::equal(product(x, weight, bias, Pointwise::gelu, {}, type), all));
    at::set_num_threads(threads);
  }
}

}  // namespace zoo::test::wide_panels
