// Proof of parity: re-runs a fixture written by tests/reference (the reference's inputs, intermediates, outputs, loss and
// gradients, no weights) against the network built here, filled by the same rule.
#pragma once
#include <c10/core/Device.h>

#include <filesystem>
#include <string>
#include <vector>

#include "models/model.h"

namespace zoo::app {

struct Proof {
  std::string model, fixture, level, reference;
  bool passed = false;
  int64_t keys = 0, parameters = 0;   // compared with the reference's
  int64_t tensors = 0;                // compared value by value: intermediates, outputs, loss, gradients
  double max_abs_error = 0, max_rel_error = 0;  // largest |a-b|; largest |a-b| / max|b| of one tensor (b below the absolute tolerance counts as that)
  std::string worst;                  // the tensor that holds max_abs_error
  std::string first_divergence;       // in execution order; empty = none
  std::string loss;                   // how the loss was formed, e.g. "mean(logits^2)"
  std::vector<std::string> problems;  // why it failed
  std::vector<std::string> not_compared;  // intermediates of the reference that have no counterpart here
  double seconds = 0;

  Json json() const;
};

// Never throws for what a fixture says: a fixture that cannot be read, built or run is a failed proof that says why.
// `weights`: the checkpoint folder for a fixture that was written with published weights instead of filled ones.
// The network runs on `device`; the comparison with the fixture is made on the CPU, in float64.
// `dtype` empty: as it trains, intermediates and gradients included. One of dtype_names(): as it runs inference in that precision; its outputs
// alone, for float32 element by element as above, else each tensor as a whole: |a - b| <= largest_share(dtype, model) |b| (Euclidean norms).
Proof verify_fixture(const std::filesystem::path& file, const std::filesystem::path& weights = {}, at::Device device = at::kCPU, const std::string& dtype = "");
// What rounding to `dtype` may change; see there.
double largest_share(const std::string& dtype, const std::string& model);

// Fixtures of one network (all when empty), by file name: <network>[.<case>].safetensors.
std::vector<std::filesystem::path> fixture_files(const std::filesystem::path& folder, const std::string& network);

}  // namespace zoo::app
