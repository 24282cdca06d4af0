// FAVOR+ attention against softmax attention and by hand; the Student-t mixture against torch.distributions.
#include "models/blocks/attention.h"
#include "models/blocks/favor.h"
#include "models/blocks/student_t_mixture.h"
#include "tests/catch.h"
#include "weights/fill.h"

#include <cmath>

namespace favor_test {

// Root mean square difference from softmax attention, averaged over draws of the features.
double error(int64_t features) {
  const auto input = [](const char* name) { return zoo::weights::fill_inputs(name, {2, 2, 12, 8}, 0); };
  const auto q = input("q"), k = input("k"), v = input("v"), exact = zoo::attention(q, k, v);
  double squares = 0.0;
  for (int draw = 0; draw < 8; ++draw) {
    squares += (zoo::favor_attention(q, k, v, zoo::orthogonal_features(features, 8)) - exact).square().mean().item<double>() / 8.0;
  }
  return std::sqrt(squares);
}

}  // namespace favor_test

TEST_CASE("FAVOR+ converges to softmax attention as features grow", "[favor]") {
  at::manual_seed(7);
  const double few = favor_test::error(16), more = favor_test::error(256), many = favor_test::error(4096);
  INFO(few << " " << more << " " << many);
  CHECK(more < few / 2.0);  // 1 / sqrt(16) = 1/4 expected at each step
  CHECK(many < more / 2.0);
  CHECK(many < 0.01);
}

TEST_CASE("orthogonal features are orthogonal within a block, with Gaussian lengths", "[favor]") {
  at::manual_seed(3);
  const auto w = zoo::orthogonal_features(20, 8);  // two whole blocks and a part of one
  REQUIRE(w.sizes() == at::IntArrayRef({20, 8}));
  for (const auto& block : {w.slice(0, 0, 8), w.slice(0, 8, 16), w.slice(0, 16, 20)}) {
    const auto product = at::matmul(block, block.t());
    CHECK((product - at::diag(product.diagonal())).abs().max().item<double>() < 1e-4);
  }
  const auto lengths = zoo::orthogonal_features(8000, 8).square().sum(-1);  // chi-squared with 8 degrees: mean 8, variance 16
  CHECK(std::abs(lengths.mean().item<double>() - 8.0) < 0.2);
  CHECK(std::abs(lengths.var().item<double>() - 16.0) < 2.0);
}

TEST_CASE("FAVOR+ features and attention by hand", "[favor]") {
  // d = 1, so no scaling; two features w = +1 and -1; q = 1: exponents 1 - 1/2 and -1 - 1/2, the largest product 1 off.
  const auto w = at::tensor({1.0, -1.0}).view({2, 1}).to(at::kDouble);
  const auto q = at::ones({1, 1, 1, 1}, at::kDouble), k = at::tensor({0.0, 2.0}).view({1, 1, 2, 1}).to(at::kDouble);
  const auto v = at::tensor({10.0, 20.0}).view({1, 1, 2, 1}).to(at::kDouble);
  const double root = std::sqrt(2.0), tiny = 1e-4;
  const double q0 = (std::exp(-0.5) + tiny) / root, q1 = (std::exp(-2.5) + tiny) / root;
  const auto features = zoo::favor_queries(q, w);
  CHECK(features[0][0][0][0].item<double>() == Approx(q0));
  CHECK(features[0][0][0][1].item<double>() == Approx(q1));
  // Keys share one largest product, 2: key 0 gives exp(0 - 0 - 2) twice, key 2 gives exp(2 - 2 - 2) and exp(-2 - 2 - 2).
  const double a0 = (std::exp(-2.0) + tiny) / root, b0 = a0, b1 = (std::exp(-6.0) + tiny) / root;
  const double first = q0 * a0 + q1 * a0, second = q0 * b0 + q1 * b1;
  CHECK(zoo::favor_attention(q, k, v, w).item<double>() == Approx((10.0 * first + 20.0 * second) / (first + second)));
}

TEST_CASE("the mixture of Student-t has torch.distributions' densities and mean", "[mixture]") {
  const auto row = [](std::vector<double> values) { return at::tensor(values, at::kDouble).expand({3, -1}); };
  const zoo::StudentTMixture mixture = {row({0.2, 0.5, 0.3}), row({2.5, 4.0, 30.0}), row({-1.0, 0.5, 2.0}), row({0.3, 1.0, 2.0})};
  const auto density = mixture.log_prob(at::tensor({-1.2, 0.0, 7.0}, at::kDouble));
  // MixtureSameFamily(Categorical(...), StudentT(...)).log_prob of torch 2.13
  CHECK(density[0].item<double>() == Approx(-1.402527863534).epsilon(1e-10));
  CHECK(density[1].item<double>() == Approx(-1.564178376106).epsilon(1e-10));
  CHECK(density[2].item<double>() == Approx(-5.631506944870).epsilon(1e-10));
  CHECK(mixture.mean()[0].item<double>() == Approx(0.65));
  zoo::Tensors outputs;
  CHECK_THROWS_AS(zoo::StudentTMixture::from(outputs), std::invalid_argument);
  mixture.into(outputs);
  CHECK(zoo::StudentTMixture::from(outputs).df.equal(mixture.df));
  // A weight of zero neither counts nor spoils the gradient.
  auto weight = at::tensor({1.0, 0.0}, at::kFloat).requires_grad_(true);
  const zoo::StudentTMixture lone = {weight, at::full({2}, 3.0), at::zeros({2}), at::ones({2})};
  lone.log_prob(at::zeros({})).backward();
  CHECK(weight.grad().isfinite().all().item<bool>());
}
