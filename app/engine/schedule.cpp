#include "app/engine/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <stdexcept>

#include "models/names.h"

namespace zoo::app {
namespace schedule_detail {

// Where a step stands: whole training and the part after the rise.
struct Place {
  int64_t step, total, rise, per_epoch;
  double after_rise() const {  // 0 .. 1
    return std::min(1.0, static_cast<double>(step - rise) / static_cast<double>(std::max<int64_t>(total - rise, 1)));
  }
};

double half_cosine(double t) { return 0.5 * (1.0 + std::cos(std::numbers::pi * t)); }
double between(double low, double high, double share) { return low + (high - low) * share; }

double restarts(const Schedule& s, const Place& place) {
  const double t = place.after_rise();
  return t >= 1.0 ? 0.0 : half_cosine(std::fmod(static_cast<double>(s.cycles) * t, 1.0));
}

double stable_then_decay(const Schedule& s, const Place& place) {
  const auto falling = static_cast<int64_t>(std::llround(s.decay_share * static_cast<double>(place.total)));
  const int64_t stable_until = std::max(place.rise, place.total - falling);
  if (place.step < stable_until) return 1.0;
  const double span = static_cast<double>(std::max<int64_t>(place.total - stable_until, 1));
  const double t = std::min(1.0, static_cast<double>(place.step - stable_until) / span);
  if (s.decay == "linear") return 1.0 - t;
  if (s.decay == "cosine") return half_cosine(t);
  if (s.decay == "1-sqrt") return 1.0 - std::sqrt(t);
  throw std::invalid_argument("schedule.decay is '" + s.decay.substr(0, 80) + "'; expected linear, cosine or 1-sqrt");
}

double by_factor(const Schedule& s, const Place& place) {
  if (s.every_steps > 0 && s.every_epochs > 0) throw std::invalid_argument("schedule: give every_steps or every_epochs, not both");
  const int64_t every = s.every_steps > 0 ? s.every_steps : std::max<int64_t>(s.every_epochs, 1) * place.per_epoch;
  const int64_t hold = s.name == "step" && s.hold_epochs > 0 ? s.hold_epochs * place.per_epoch - every : 0;
  const double times = static_cast<double>(std::max<int64_t>(place.step - hold, 0)) / static_cast<double>(every);
  return std::pow(s.factor, s.name == "step" ? std::floor(times) : times);
}

double inverse_root(const Place& place) {
  const double scale = place.rise > 0 ? static_cast<double>(place.rise) : 10000.0;
  return 1.0 / std::sqrt((static_cast<double>(place.step - place.rise) + scale) / scale);
}

// As OneCycleLR, whose phases end at the steps rise - 1 and total - 1.
double one_cycle(const Schedule& s, const Place& place, double lr) {
  const double start = lr / s.div_factor, end = start / s.final_div_factor;
  const bool own = s.warmup_steps == 0 && s.warmup_share == 0.0;
  const double top = (own ? 0.3 * static_cast<double>(place.total) : static_cast<double>(place.rise)) - 1.0;
  const double last = static_cast<double>(place.total) - 1.0, step = static_cast<double>(place.step);
  if (step <= top) return between(lr, start, half_cosine(top > 0.0 ? step / top : 1.0));
  return between(end, lr, half_cosine(last > top ? std::min(1.0, (step - top) / (last - top)) : 1.0));
}

}  // namespace schedule_detail

double Schedule::at(int64_t step, int64_t total_steps, double lr, int64_t steps_per_epoch) const {
  namespace d = schedule_detail;
  const int64_t rise = warmup_steps > 0 ? warmup_steps : static_cast<int64_t>(std::llround(warmup_share * static_cast<double>(total_steps)));
  const d::Place place{step, total_steps, rise, std::max<int64_t>(steps_per_epoch > 0 ? steps_per_epoch : total_steps, 1)};
  if (name == "one_cycle") return d::one_cycle(*this, place, lr);
  if (step < rise) return lr * static_cast<double>(step + 1) / static_cast<double>(rise);
  if (name == "constant" || name == "plateau") return lr;
  if (name == "linear") return d::between(min_lr, lr, 1.0 - place.after_rise());
  if (name == "cosine") return d::between(min_lr, lr, d::half_cosine(place.after_rise()));
  if (name == "cosine_restarts") return d::between(min_lr, lr, d::restarts(*this, place));
  if (name == "polynomial") return d::between(min_lr, lr, std::pow(1.0 - place.after_rise(), power));
  if (name == "wsd") return d::between(min_lr, lr, d::stable_then_decay(*this, place));
  if (name == "step" || name == "exponential") return std::max(min_lr, lr * d::by_factor(*this, place));
  if (name == "inverse_sqrt") return std::max(min_lr, lr * d::inverse_root(place));
  throw std::invalid_argument("unknown schedule '" + name.substr(0, 80) + "'; known: " + join(schedule_names()));
}

const std::vector<std::string>& schedule_names() {
  static const std::vector<std::string> names = {"constant", "linear", "cosine", "cosine_restarts", "polynomial", "wsd",
                                                 "step", "exponential", "inverse_sqrt", "one_cycle", "plateau"};
  return names;
}

void Plateau::observe(const Schedule& schedule, double figure, bool higher_is_better) {
  const double limit = higher_is_better ? best * (1.0 + schedule.threshold) : best * (1.0 - schedule.threshold);
  const bool better = !std::isnan(figure) && (!measured || (higher_is_better ? figure > limit : figure < limit));
  if (better) {
    best = figure;
    measured = true;
    waited = 0;
  } else if (++waited > schedule.patience) {
    scale *= schedule.factor;
    waited = 0;
  }
}

double Plateau::apply(const Schedule& schedule, double rate) const {
  return schedule.name == "plateau" && scale != 1.0 ? std::max(std::min(rate, schedule.min_lr), rate * scale) : rate;
}

}  // namespace zoo::app
