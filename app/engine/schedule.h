// Learning rate over the steps of a training: a linear rise, then constant, straight down, or half a cosine.
#pragma once
#include <cstdint>
#include <string>

namespace zoo::app {

struct Schedule {
  std::string name = "cosine";  // constant, linear, cosine
  int64_t warmup_steps = 0;     // of the rise from 0; when 0, warmup_share of all steps
  double warmup_share = 0.0;
  double min_lr = 0.0;          // where linear and cosine end

  // The rate of step 0 .. total_steps - 1 for a peak of `lr`. The first step of a rise over w steps takes lr / w, so that
  // no step is lost; the peak comes at step w - 1.
  double at(int64_t step, int64_t total_steps, double lr) const;
};

}  // namespace zoo::app
