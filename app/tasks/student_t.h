// The densities that networks give beside a forecast: mixtures of Student-t distributions (weight, df, loc, scale, each [..., K];
// infinite df, which networks leave out: normal), and of negative binomial ones for counts (weight, total_count, logits).
#pragma once
#include <ATen/ATen.h>

#include <vector>

#include "models/model.h"

namespace zoo::app {

struct StudentMixture {
  at::Tensor weight, df, loc, scale;  // [..., K]; weights sum to 1, df and scale above 0
};
// "distribution.*" of a network's outputs; nothing when it gives none.
bool has_distribution(const Tensors& outputs);
StudentMixture distribution_of(const Tensors& outputs);

// Of either kind. Throw UsageError when the density is one of counts and y is not whole numbers from 0 up.
at::Tensor log_density(const Tensors& outputs, const at::Tensor& y);
at::Tensor crps(const Tensors& outputs, const at::Tensor& y, int64_t samples, uint64_t seed);

// log p(y): [...] for y [...]. Differentiable.
at::Tensor log_density(const StudentMixture& mixture, const at::Tensor& y);
// CRPS = E|X - y| - E|X - X'| / 2 (Gneiting & Raftery, 2007, eq. 21): [...], from `samples` draws of each mixture with the
// second term's unbiased estimate. The draws follow `seed`. Infinite means (df <= 1) give noise instead of infinity.
at::Tensor crps(const StudentMixture& mixture, const at::Tensor& y, int64_t samples, uint64_t seed);

// P(T <= t) for `df` degrees of freedom, by the continued fraction of the incomplete beta function (DLMF 8.17.22).
double student_t_cdf(double t, double df);
// The value below which lies the share `p` of a mixture over K components, by bisection.
double mixture_quantile(const std::vector<double>& weight, const std::vector<double>& df, const std::vector<double>& loc,
                        const std::vector<double>& scale, double p);

// The smallest count up to which lies at least the share `p` of a mixture of negative binomials.
double count_quantile(const std::vector<double>& weight, const std::vector<double>& total_count, const std::vector<double>& logits, double p);

}  // namespace zoo::app
