#include "app/engine/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace zoo::app {

double Schedule::at(int64_t step, int64_t total_steps, double lr) const {
  const int64_t rise = warmup_steps > 0 ? warmup_steps : static_cast<int64_t>(std::llround(warmup_share * static_cast<double>(total_steps)));
  if (step < rise) return lr * static_cast<double>(step + 1) / static_cast<double>(rise);
  if (name == "constant") return lr;
  const double span = static_cast<double>(std::max<int64_t>(total_steps - rise, 1));
  const double done = std::min(1.0, static_cast<double>(step - rise) / span);
  const double left = name == "linear" ? 1.0 - done : 0.5 * (1.0 + std::cos(std::numbers::pi * done));
  return min_lr + (lr - min_lr) * left;
}

}  // namespace zoo::app
