// How the ranks share work: the examples of a step, the batches of an evaluation.
#pragma once
#include <cstdint>
#include <span>

#include "app/engine/ranks.h"
#include "app/tasks/task.h"

namespace zoo::app {

// This rank's part of a step's examples: consecutive ones, parts differ by one at most, empty ones come when there are fewer
// examples than ranks. The parts of all ranks in order are the whole.
std::span<const int64_t> share_of(std::span<const int64_t> examples, const Ranks& ranks);

// An evaluation over several ranks gives the figures of one, bit for bit: rank r computes every batch whose number is r
// modulo the number of ranks, as the batch would be alone, and rank 0 hears them all in the order of their numbers.
//
// MetricsGatherer: add() on every rank for each round of batches (r, r + W, ...); `indices` and the tensors are empty where a
// rank has none in the last round. Rank 0's Metrics gets what all ranks have.
class MetricsGatherer {
 public:
  MetricsGatherer(const Ranks& ranks, Metrics& metrics) : ranks_(ranks), metrics_(metrics) {}
  void add(const Tensors& outputs, const Tensors& batch, std::span<const int64_t> indices);

 private:
  const Ranks& ranks_;
  Metrics& metrics_;
};

}  // namespace zoo::app
