#include "app/tasks/student_t.h"

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "app/cli.h"
#include "models/blocks/negative_binomial_mixture.h"
#include "models/blocks/student_t_mixture.h"

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

// Which of a mixture's components each of the draws [S, ...] comes from.
class Choice {
 public:
  Choice(const at::Tensor& weight, int64_t samples, at::Generator& generator) : shape_(weight.sizes().vec()) {
    const int64_t components = shape_.back();
    shape_.pop_back();
    shape_.insert(shape_.begin(), samples);
    const at::Tensor edges = weight.cumsum(-1).unsqueeze(0);  // [1, ..., K]
    const at::Tensor uniform = at::rand(shape_, generator, weight.options()).unsqueeze(-1);
    chosen_ = uniform.gt(edges).sum(-1, /*keepdim=*/true).clamp_max(components - 1);  // [S, ..., 1]
  }
  const std::vector<int64_t>& shape() const { return shape_; }
  at::Tensor pick(const at::Tensor& values) const {  // [..., K] -> [S, ...]
    auto wide = shape_;
    wide.push_back(values.size(-1));
    return values.unsqueeze(0).expand(wide).gather(-1, chosen_).squeeze(-1);
  }

 private:
  std::vector<int64_t> shape_;
  at::Tensor chosen_;
};

// [S, ...]: draws of each mixture.
at::Tensor draw(const StudentMixture& m, int64_t samples, uint64_t seed) {
  auto generator = at::detail::createCPUGenerator(seed);
  const Choice choice(m.weight, samples, generator);
  const at::Tensor df = choice.pick(m.df), normal = df.isinf(), finite = df.masked_fill(normal, 1.0);
  const at::Tensor chi = at::_standard_gamma(finite * 0.5, generator).clamp_min(1e-300) * 2.0;
  const at::Tensor wider = (finite / chi).sqrt().masked_fill(normal, 1.0);
  return choice.pick(m.loc) + choice.pick(m.scale) * at::randn(choice.shape(), generator, m.loc.options()) * wider;
}

at::Tensor draw(const NegativeBinomialMixture& m, int64_t samples, uint64_t seed) {
  auto generator = at::detail::createCPUGenerator(seed);
  const Choice choice(m.weight, samples, generator);
  return at::poisson(at::_standard_gamma(choice.pick(m.total_count), generator) * choice.pick(m.logits).exp(), generator);
}

// From draws [S, ...], in any order.
at::Tensor crps_of(const at::Tensor& drawn, const at::Tensor& y) {
  const int64_t samples = drawn.size(0);
  const at::Tensor draws = std::get<0>(drawn.sort(0));
  const at::Tensor distance = (draws - y.unsqueeze(0)).abs().mean(0);
  // The sum over pairs of |x_i - x_j| of sorted draws is 2 sum (2 i - n + 1) x_i.
  std::vector<int64_t> shape(size_t(draws.dim()), 1);
  shape[0] = samples;
  const at::Tensor ranks = at::arange(samples, at::kDouble).mul(2.0).add(1.0 - double(samples)).view(shape);
  const at::Tensor spread = (draws * ranks).sum(0) * (2.0 / (double(samples) * double(samples - 1)));
  return distance - 0.5 * spread;
}

at::Tensor on_cpu(const at::Tensor& t) { return t.to(at::kCPU, at::kDouble); }

void require_counts(const at::Tensor& y) {
  if (y.lt(0).logical_or(y.ne(y.round())).any().item<bool>())
    throw UsageError("the network gives negative binomial densities, which are of counts: whole numbers from 0 up; the data hold others (a data set of counts "
                     "stays one with the option scaler=none; else set config.distribution_output=student_t)");
}

}  // namespace student_t_detail

bool has_distribution(const Tensors& outputs) { return outputs.contains("distribution.weight"); }

StudentMixture distribution_of(const Tensors& outputs) {
  const StudentTMixture mixture = StudentTMixture::from(outputs);
  return {mixture.weight, mixture.df, mixture.loc, mixture.scale};
}

at::Tensor log_density(const Tensors& outputs, const at::Tensor& y) {
  if (!NegativeBinomialMixture::in(outputs)) return log_density(distribution_of(outputs), y);
  student_t_detail::require_counts(y);
  return NegativeBinomialMixture::from(outputs).log_prob(y);
}

at::Tensor log_density(const StudentMixture& m, const at::Tensor& y) {
  const at::Tensor normal = m.df.isinf(), df = m.df.masked_fill(normal, 1.0);  // what is not chosen must have a gradient all the same
  const at::Tensor z = (y.unsqueeze(-1) - m.loc) / m.scale, half = (df + 1.0) * 0.5;
  const at::Tensor log_t = at::lgamma(half) - at::lgamma(df * 0.5) - 0.5 * at::log(df * std::numbers::pi) - at::log(m.scale) -
                           half * at::log1p(z.square() / df);
  const at::Tensor log_normal = -0.5 * z.square() - at::log(m.scale) - 0.5 * std::log(2.0 * std::numbers::pi);
  return at::logsumexp(at::log(m.weight) + at::where(normal, log_normal, log_t), -1);
}

at::Tensor crps(const Tensors& outputs, const at::Tensor& y, int64_t samples, uint64_t seed) {
  namespace d = student_t_detail;
  if (!NegativeBinomialMixture::in(outputs)) return crps(distribution_of(outputs), y, samples, seed);
  const at::NoGradGuard no_grad;
  const auto mixture = NegativeBinomialMixture::from(outputs);
  return d::crps_of(d::draw(NegativeBinomialMixture{d::on_cpu(mixture.weight), d::on_cpu(mixture.total_count), d::on_cpu(mixture.logits)}, samples, seed), d::on_cpu(y));
}

at::Tensor crps(const StudentMixture& m, const at::Tensor& y, int64_t samples, uint64_t seed) {
  namespace d = student_t_detail;
  const at::NoGradGuard no_grad;
  return d::crps_of(d::draw(StudentMixture{d::on_cpu(m.weight), d::on_cpu(m.df), d::on_cpu(m.loc), d::on_cpu(m.scale)}, samples, seed), d::on_cpu(y));
}

double count_quantile(const std::vector<double>& weight, const std::vector<double>& total_count, const std::vector<double>& logits, double p) {
  const auto below = [&](double x) {  // P(X <= x), x whole
    double sum = 0;
    for (size_t k = 0; k < weight.size(); ++k) sum += weight[k] * student_t_detail::incomplete_beta(total_count[k], x + 1.0, 1.0 / (1.0 + std::exp(logits[k])));
    return sum;
  };
  double high = 1.0, low = -1.0;  // below(low) < p <= below(high), low by definition
  while (below(high) < p && high < 1e15) low = high, high *= 2.0;
  while (high - low > 1.0) {
    const double middle = std::floor(0.5 * (low + high));
    (below(middle) < p ? low : high) = middle;
  }
  return high;
}

double student_t_cdf(double t, double df) {
  if (std::isnan(t)) return t;
  if (std::isinf(df)) return 0.5 * std::erfc(-t / std::numbers::sqrt2);
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
