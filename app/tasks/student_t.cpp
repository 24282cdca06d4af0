#include "app/tasks/student_t.h"

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace zoo::app {
namespace student_t_detail {

// I_x(a, b) / (x^a (1-x)^b / (a B(a, b))) by Lentz's method.
double beta_fraction(double a, double b, double x) {
  constexpr double kTiny = 1e-300;
  const auto away_from_zero = [](double v) { return std::abs(v) < kTiny ? kTiny : v; };
  double c = 1.0, d = 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0)), value = d;
  for (int m = 1; m <= 500; ++m) {
    const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1.0 / away_from_zero(1.0 + even * d);
    c = away_from_zero(1.0 + even / c);
    value *= d * c;
    const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1.0 / away_from_zero(1.0 + odd * d);
    c = away_from_zero(1.0 + odd / c);
    value *= d * c;
    if (std::abs(d * c - 1.0) < 1e-15) break;
  }
  return value;
}

// Regularised incomplete beta function.
double incomplete_beta(double a, double b, double x) {
  if (x <= 0.0) return 0.0;
  if (x >= 1.0) return 1.0;
  const double front = std::exp(std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b) + a * std::log(x) + b * std::log1p(-x));
  if (x < (a + 1.0) / (a + b + 2.0)) return front * beta_fraction(a, b, x) / a;
  return 1.0 - front * beta_fraction(b, a, 1.0 - x) / b;
}

// [S, ...]: draws of each mixture.
at::Tensor draw(const StudentMixture& m, int64_t samples, uint64_t seed) {
  auto generator = at::detail::createCPUGenerator(seed);
  auto shape = m.loc.sizes().vec();
  const int64_t components = shape.back();
  shape.pop_back();
  shape.insert(shape.begin(), samples);
  const at::Tensor edges = m.weight.cumsum(-1).unsqueeze(0);  // [1, ..., K]
  const at::Tensor uniform = at::rand(shape, generator, m.loc.options()).unsqueeze(-1);
  const at::Tensor chosen = uniform.gt(edges).sum(-1, /*keepdim=*/true).clamp_max(components - 1);  // [S, ..., 1]
  const auto pick = [&](const at::Tensor& values) {
    auto wide = shape;
    wide.push_back(components);
    return values.unsqueeze(0).expand(wide).gather(-1, chosen).squeeze(-1);
  };
  const at::Tensor df = pick(m.df);
  const at::Tensor chi = at::_standard_gamma(df * 0.5, generator).clamp_min(1e-300) * 2.0;
  return pick(m.loc) + pick(m.scale) * at::randn(shape, generator, m.loc.options()) * (df / chi).sqrt();
}

}  // namespace student_t_detail

bool has_distribution(const Tensors& outputs) { return outputs.contains("distribution.weight"); }

StudentMixture distribution_of(const Tensors& outputs) {
  return {outputs.at("distribution.weight"), outputs.at("distribution.df"), outputs.at("distribution.loc"), outputs.at("distribution.scale")};
}

at::Tensor log_density(const StudentMixture& m, const at::Tensor& y) {
  const at::Tensor z = (y.unsqueeze(-1) - m.loc) / m.scale, half = (m.df + 1.0) * 0.5;
  const at::Tensor log_t = at::lgamma(half) - at::lgamma(m.df * 0.5) - 0.5 * at::log(m.df * std::numbers::pi) - at::log(m.scale) -
                           half * at::log1p(z.square() / m.df);
  return at::logsumexp(at::log(m.weight) + log_t, -1);
}

at::Tensor crps(const StudentMixture& mixture, const at::Tensor& y, int64_t samples, uint64_t seed) {
  const at::NoGradGuard no_grad;
  const auto on_cpu = [](const at::Tensor& t) { return t.to(at::kCPU, at::kDouble); };
  const StudentMixture m{on_cpu(mixture.weight), on_cpu(mixture.df), on_cpu(mixture.loc), on_cpu(mixture.scale)};
  const at::Tensor draws = std::get<0>(student_t_detail::draw(m, samples, seed).sort(0));  // [S, ...]
  const at::Tensor distance = (draws - on_cpu(y).unsqueeze(0)).abs().mean(0);
  // The sum over pairs of |x_i - x_j| of sorted draws is 2 sum (2 i - n + 1) x_i.
  std::vector<int64_t> shape(size_t(draws.dim()), 1);
  shape[0] = samples;
  const at::Tensor ranks = at::arange(samples, at::kDouble).mul(2.0).add(1.0 - double(samples)).view(shape);
  const at::Tensor spread = (draws * ranks).sum(0) * (2.0 / (double(samples) * double(samples - 1)));
  return distance - 0.5 * spread;
}

double student_t_cdf(double t, double df) {
  if (std::isnan(t)) return t;
  const double x = df / (df + t * t), tail = 0.5 * student_t_detail::incomplete_beta(0.5 * df, 0.5, x);
  return t > 0 ? 1.0 - tail : tail;
}

double mixture_quantile(const std::vector<double>& weight, const std::vector<double>& df, const std::vector<double>& loc,
                        const std::vector<double>& scale, double p) {
  const auto below = [&](double x) {
    double sum = 0;
    for (size_t k = 0; k < weight.size(); ++k) sum += weight[k] * student_t_cdf((x - loc[k]) / scale[k], df[k]);
    return sum;
  };
  double low = *std::min_element(loc.begin(), loc.end()), high = *std::max_element(loc.begin(), loc.end());
  double step = *std::max_element(scale.begin(), scale.end());
  for (int i = 0; i < 1000 && below(low) > p; ++i, step *= 2) low -= step;
  step = *std::max_element(scale.begin(), scale.end());
  for (int i = 0; i < 1000 && below(high) < p; ++i, step *= 2) high += step;
  for (int i = 0; i < 200 && high - low > 1e-12 * (1.0 + std::abs(low)); ++i) {
    const double middle = 0.5 * (low + high);
    (below(middle) < p ? low : high) = middle;
  }
  return 0.5 * (low + high);
}

}  // namespace zoo::app
