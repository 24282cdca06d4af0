// Losses that train sentence encoders on pairs.
#pragma once
#include <ATen/ATen.h>

#include <string>
#include <vector>

#include "models/model.h"

namespace zoo::app {

// first, second: [B, D] vectors of both sentences, of any length. Each returns a scalar.

// Mean squared difference of cosine and target in [-1, 1] (sentence-transformers CosineSimilarityLoss).
at::Tensor cosine_loss(const at::Tensor& first, const at::Tensor& second, const at::Tensor& targets);

// Each first sentence must find its own second one among the batch's: cross entropy over scale * cosine
// (MultipleNegativesRankingLoss; van den Oord et al., 2018; scale 20 there).
at::Tensor multiple_negatives_loss(const at::Tensor& first, const at::Tensor& second, double scale);

// vectors [N, D], groups [N] int64: rows of one group attract each other, all others repel (Khosla et al., 2020,
// arXiv:2004.11362, equation 2; LinkTransformer's "supcon", which divides by a base temperature of the same 0.07).
// Rows alone in their group only repel; a batch without any pair gives 0 with a gradient of 0.
at::Tensor supervised_contrastive_loss(const at::Tensor& vectors, const at::Tensor& groups, double temperature);

// The pairs that are still wrong: matches farther apart than the nearest non-match, non-matches nearer than the farthest
// match; squared distance, and squared shortfall from the margin, summed. Distance 1 - cosine; matches [B] bool
// (LinkTransformer's "onlinecontrastive"; margin 0.5 there).
at::Tensor online_contrastive_loss(const at::Tensor& first, const at::Tensor& second, const at::Tensor& matches, double margin);

// cosine, multiple_negatives, supervised_contrastive, online_contrastive
const std::vector<std::string>& sentence_loss_names();

// The loss that options "loss" (default cosine), "scale", "temperature" and "margin" ask for, from outputs first, second
// [B, D] and the batch's labels [B] in 0 .. 1 and groups [2B]. Throws UsageError for unknown names.
at::Tensor sentence_loss(const Tensors& outputs, const Tensors& batch, const Json& options);

}  // namespace zoo::app
