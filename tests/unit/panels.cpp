// Panels, packed weights and what is fused with them, against the plain operations.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>

#include "models/blocks/layers.h"
#include "models/blocks/linear.h"
#include "models/blocks/transposed_linear.h"
#include "tests/catch.h"
#include "tests/unit/panels_support.h"

namespace zoo::test::panels {
namespace {

at::Tensor through_panels(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, Pointwise after, const at::Tensor& residual,
                          PanelType type = PanelType::float32) {
  return product_by<Panels>(x, weight, bias, after, residual, type);
}

}  // namespace

TEST_CASE("panels: every number of rows and odd shapes", "[panels]") {
  NEEDS(Panels::possible(), "a processor with AVX2");
  at::manual_seed(1);
  for (const auto& [out, in] : std::vector<std::pair<int64_t, int64_t>>{{1, 1}, {2, 384}, {15, 385}, {16, 7}, {64, 768}, {70, 800}, {129, 1000}}) {
    const at::Tensor weight = at::randn({out, in}), bias = at::randn({out});
    for (const int64_t rows : {1, 2, 3, 4, 5, 6, 7, 13, 95, 96, 97, 200}) {
      const at::Tensor x = at::randn({rows, in}), residual = at::randn({rows, out});
      const at::Tensor exact = at::linear(x.to(at::kDouble), weight.to(at::kDouble), bias.to(at::kDouble));
      INFO(rows << " x " << in << " -> " << out);
      CHECK(largest_difference(through_panels(x, weight, bias, Pointwise::none, residual), exact + residual) < 2e-4);
      CHECK(largest_difference(through_panels(x, weight, {}, Pointwise::none, {}), exact - bias) < 2e-4);
      const at::Tensor rounded = at::linear(x.to(at::kDouble), weight.to(at::kBFloat16).to(at::kDouble));
      CHECK(largest_difference(through_panels(x, weight, {}, Pointwise::none, {}, PanelType::bfloat16), rounded) < 2e-4);
      CHECK(largest_difference(through_panels(x, weight.t().contiguous().t(), bias, Pointwise::none, residual), exact + residual) < 2e-4);
    }
  }
}

// What codes of so many levels in groups of so many inputs stand for.
at::Tensor rounded_in_groups(const at::Tensor& weight, int64_t most, int64_t group) {
  std::vector<at::Tensor> parts;
  for (int64_t block = 0; block < weight.size(1); block += 384) {
    const int64_t end = std::min<int64_t>(block + 384, weight.size(1));
    for (int64_t from = block; from < end; from += group) {
      const at::Tensor part = weight.slice(1, from, std::min(from + group, end));
      const at::Tensor scale = part.abs().amax(1, true) / static_cast<double>(most);  // float32, as there: halves fall to the same side
      parts.push_back((part / scale).round().to(at::kDouble) * scale.to(at::kDouble));
    }
  }
  return at::cat(parts, 1);
}

TEST_CASE("panels: codes are exact sums of rounded weights, and activations lose a 16-bit rounding", "[panels]") {
  NEEDS(Panels::possible(), "a processor with AVX2");
  at::manual_seed(2);
  for (const auto& [out, in] : std::vector<std::pair<int64_t, int64_t>>{{1, 1}, {15, 385}, {16, 7}, {64, 768}, {70, 802}, {129, 1001}}) {
    const at::Tensor weight = at::randn({out, in}), bias = at::randn({out});
    for (const int64_t rows : {1, 2, 3, 4, 5, 6, 7, 13, 97}) {
      const at::Tensor x = at::randn({rows, in}), residual = at::randn({rows, out});
      for (const auto& [type, most, group] : {std::tuple{PanelType::int8, 127, 384}, {PanelType::int4, 7, 64}}) {
        INFO(rows << " x " << in << " -> " << out << ", codes up to " << most);
        const at::Tensor exact = at::linear(x.to(at::kDouble), rounded_in_groups(weight, most, group), bias.to(at::kDouble)) + residual;
        CHECK(largest_difference(through_panels(x, weight, bias, Pointwise::none, residual, type), exact) < 2.5e-4 * std::sqrt(double(in)) + 2e-4);
        const at::Tensor turned = weight.t().contiguous().t();
        CHECK(at::equal(through_panels(x, turned, bias, Pointwise::none, residual, type), through_panels(x, weight, bias, Pointwise::none, residual, type)));
      }
    }
  }
}

TEST_CASE("panels: codes at their limits neither overflow nor hide what is no number", "[panels]") {
  NEEDS(Panels::possible(), "a processor with AVX2");
  for (const auto type : {PanelType::int8, PanelType::int4}) {
    const at::Tensor ones = at::ones({3, 1536}), weight = at::ones({20, 1536});  // every code and every activation the largest
    CHECK(largest_difference(through_panels(ones, weight, {}, Pointwise::none, {}, type), at::full({3, 20}, 1536.0)) < 1e-2);
    CHECK(largest_difference(through_panels(-ones, weight, {}, Pointwise::none, {}, type), at::full({3, 20}, -1536.0)) < 1e-2);
    CHECK(through_panels(at::zeros({2, 40}), at::randn({20, 40}), {}, Pointwise::none, {}, type).eq(0).all().item<bool>());
    CHECK(through_panels(ones, at::zeros({20, 1536}), {}, Pointwise::none, {}, type).eq(0).all().item<bool>());
    at::Tensor x = at::ones({3, 40});
    x[0][39] = NAN;
    x[1][3] = INFINITY;
    const at::Tensor y = through_panels(x, at::ones({20, 40}), {}, Pointwise::none, {}, type);
    CHECK(y.slice(0, 0, 2).isnan().all().item<bool>());
    CHECK(y[2].isfinite().all().item<bool>());
    at::Tensor holed = at::ones({20, 40});
    holed[7][1] = NAN;
    CHECK(through_panels(at::ones({1, 40}), holed, {}, Pointwise::none, {}, type).isnan().sum().item<int64_t>() == 1);
  }
}

TEST_CASE("panels: activations to a millionth over their whole range", "[panels]") {
  NEEDS(Panels::possible(), "a processor with AVX2");
  const at::Tensor x = at::linspace(-12, 12, 24001).unsqueeze(1), one = at::ones({1, 1}), wide = at::ones({16, 1});
  for (const std::string name : {"relu", "gelu", "gelu_new", "quick_gelu", "silu", "tanh"}) {
    INFO(name);
    const at::Tensor exact = activation(name)(x.to(at::kDouble));
    CHECK(largest_difference(through_panels(x, one, {}, pointwise_of(name), {}), exact) < 2e-6);
    CHECK(largest_difference(through_panels(x, wide, {}, pointwise_of(name), {}).select(1, 9).unsqueeze(1), exact) < 2e-6);
  }
}

TEST_CASE("panels: what is not a number or infinite stays so", "[panels]") {
  NEEDS(Panels::possible(), "a processor with AVX2");
  const at::Tensor x = at::tensor({NAN, INFINITY, 1.0F}).unsqueeze(1), weight = at::ones({16, 1});
  for (const auto after : {Pointwise::none, Pointwise::relu, Pointwise::gelu, Pointwise::gelu_tanh, Pointwise::silu}) {
    const at::Tensor y = through_panels(x, weight, {}, after, {});
    CHECK(y[0].isnan().all().item<bool>());
    CHECK((y[1] == INFINITY).all().item<bool>());
  }
  CHECK(through_panels(at::ones({1, 1}), at::full({16, 1}, NAN), {}, Pointwise::none, {}, PanelType::bfloat16).isnan().all().item<bool>());
}

TEST_CASE("panels: a row does not depend on its neighbours or the threads", "[panels]") {
  NEEDS(Panels::possible(), "a processor with AVX2");
  const at::Tensor x = at::randn({200, 900}), weight = at::randn({300, 900}), bias = at::randn({300});
  const at::Tensor all = through_panels(x, weight, bias, Pointwise::gelu, {});
  for (const int64_t row : {0, 57, 199}) CHECK(at::equal(through_panels(x.narrow(0, row, 1), weight, bias, Pointwise::gelu, {}), all.narrow(0, row, 1)));
  const int threads = at::get_num_threads();
  const at::Tensor coded = through_panels(x, weight, bias, Pointwise::gelu, {}, PanelType::int8);
  for (const int64_t row : {0, 57, 199}) CHECK(at::equal(through_panels(x.narrow(0, row, 1), weight, bias, Pointwise::gelu, {}, PanelType::int8), coded.narrow(0, row, 1)));
  at::set_num_threads(threads == 1 ? 2 : 1);
  CHECK(at::equal(through_panels(x, weight, bias, Pointwise::gelu, {}), all));
  at::set_num_threads(threads);
}

TEST_CASE("packed layers give what plain ones give, fused or not", "[panels]") {
  const at::NoGradGuard no_grad;
  Linear layer(40, 56);
  TransposedLinear transposed(40, 56, 0.02);
  for (auto& p : layer->parameters()) p.normal_();
  for (auto& p : transposed->parameters()) p.normal_();
  const at::Tensor x = at::randn({3, 5, 40}), residual = at::randn({3, 5, 56});
  const auto check = [&](auto& l) {
    const at::Tensor plain = l(x), active = activated(l, x, "gelu"), sum = added(l, x, residual);
    CHECK(at::equal(active, at::gelu(plain)));  // not packed: apart
    for (const auto& [precision, bound] : {std::pair{Precision::float32, 1e-4}, {Precision::bfloat16, 0.3}, {Precision::int8, 1.5}, {Precision::int8_weights, 0.5}, {Precision::int4_weights, 6.0}}) {
      if (precision > Precision::int8 && !Panels::possible()) continue;
      l->pack(precision);
      CHECK(largest_difference(l(x), plain) < bound);
      CHECK(largest_difference(activated(l, x, "gelu"), active) < bound);
      CHECK(largest_difference(added(l, x, residual), sum) < bound);
      CHECK(largest_difference(added(l, x, residual.slice(0, 0, 1)), residual.slice(0, 0, 1) + plain) < bound);  // broadcast: apart
    }
  };
  check(layer);
  check(transposed);
}

TEST_CASE("panels: a matrix is turned exactly", "[panels]") {
  NEEDS(Panels::possible(), "a processor with AVX2");
  for (const auto& [rows, columns] : std::vector<std::pair<int64_t, int64_t>>{{1, 1}, {8, 8}, {7, 130}, {65, 64}, {200, 83}}) {
    const at::Tensor x = at::randn({rows, columns}), y = at::full({columns, rows}, 1e9);
    transpose(x.const_data_ptr<float>(), rows, columns, y.mutable_data_ptr<float>());
    CHECK(at::equal(y, x.t()));
  }
}

// So many rows that training multiplies by panels where the processor prefers them, and one fewer.
TEST_CASE("linear layers: values and all three gradients, with few rows and with many", "[panels][blocks]") {
  at::manual_seed(5);
  for (const int64_t rows : {3, 127, 128, 401}) {
    for (const auto& [out, in] : std::vector<std::pair<int64_t, int64_t>>{{1, 16}, {130, 75}, {256, 385}}) {
      INFO(rows << " x " << in << " -> " << out);
      const auto leaf = [](std::vector<int64_t> shape) { return at::randn(shape).requires_grad_(); };
      const auto twin = [](const at::Tensor& t) { return t.detach().to(at::kDouble).requires_grad_(); };
      const at::Tensor x = leaf({rows, 1, in}), weight = leaf({out, in}), bias = leaf({out}), upstream = at::randn({rows, 1, out});
      const at::Tensor x2 = twin(x), weight2 = twin(weight), bias2 = twin(bias);
      const at::Tensor y = linear(x, weight, bias), exact = at::linear(x2, weight2, bias2);
      y.backward(upstream);
      exact.backward(upstream.to(at::kDouble));
      CHECK(largest_difference(y, exact) < 2e-4);
      CHECK(largest_difference(x.grad(), x2.grad()) < 2e-4);
      CHECK(largest_difference(weight.grad(), weight2.grad()) < 4e-4);
      CHECK(largest_difference(bias.grad(), bias2.grad()) < 4e-4);
      // A gradient that comes turned around, and a layer without bias.
      const at::Tensor plain = linear(x.detach(), weight, at::Tensor());
      weight.mutable_grad().reset();
      plain.transpose(0, 2).contiguous().transpose(0, 2).backward(upstream.transpose(0, 2).contiguous().transpose(0, 2));
      CHECK(largest_difference(weight.grad(), weight2.grad()) < 4e-4);
    }
  }
}

}  // namespace zoo::test::panels
