// Learning rate over the steps of a training: a linear rise, then one of the shapes below.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace zoo::app {

// Plain data; `at` depends on nothing else, so a resumed training needs no state. Shapes from the peak `lr` after the rise,
// with t from 0 to 1 over the steps that are left, numbers as transformers 5.23.0 (T) and torch 2.13 (P) have them:
//   constant         lr
//   linear, cosine   down to min_lr (T)
//   cosine_restarts  `cycles` times down to min_lr, starting at lr again (T)
//   polynomial       min_lr + (lr - min_lr) (1 - t)^power (T)
//   wsd              lr, then in the last decay_share of all steps down to min_lr by `decay`: linear, cosine, 1-sqrt (T)
//   step             lr times `factor` after every `every_steps` or `every_epochs`, counted from the training's start (P: StepLR;
//                    the first cut
//                    comes after `hold_epochs` where that is given; factor 0.5 per epoch after 2 is "type1" of Time-Series-Library)
//   exponential      the same without stairs: lr factor^(steps / every) (P: ExponentialLR)
//   inverse_sqrt     lr / sqrt(step / rise), step counted from the start; without a rise, lr / sqrt(1 + step / 10000) (T)
//   one_cycle        a cosine from lr / div_factor up to lr in the rise (default: 0.3 of all steps), then down to
//                    lr / div_factor / final_div_factor (P: OneCycleLR)
//   plateau          lr, cut by Plateau below whenever validation gets no better (P: ReduceLROnPlateau)
// Where a shape does not end at min_lr by itself (step, exponential, inverse_sqrt, plateau), min_lr is its floor.
struct Schedule {
  std::string name = "cosine";
  int64_t warmup_steps = 0;     // of the rise from 0; when 0, warmup_share of all steps
  double warmup_share = 0.0;
  double min_lr = 0.0;
  int64_t cycles = 1;                        // cosine_restarts
  double power = 1.0;                        // polynomial
  double decay_share = 0.1;                  // wsd
  std::string decay = "linear";              // wsd
  double factor = 0.1;                       // step, exponential, plateau
  int64_t every_steps = 0, every_epochs = 0; // step, exponential: one of them; both 0: every epoch
  int64_t hold_epochs = 0;                   // step: epochs before the first cut; 0: as between later ones
  int64_t patience = 10;                     // plateau: measurements without progress that are borne before the cut
  double threshold = 1e-4;                   // plateau: progress is a figure better by more than this share
  double div_factor = 25.0, final_div_factor = 1e4;  // one_cycle

  // The rate of step 0 .. total_steps - 1 for a peak of `lr`. The first step of a rise over w steps takes lr / w, so that
  // no step is lost; the peak comes at step w - 1 (transformers' rates come a step later there: it starts with a step of 0).
  // steps_per_epoch is read by step and exponential alone; 0 stands for total_steps.
  double at(int64_t step, int64_t total_steps, double lr, int64_t steps_per_epoch = 0) const;
};

const std::vector<std::string>& schedule_names();

// Cuts the rate when the validation figure stops getting better, as torch's ReduceLROnPlateau (threshold_mode rel, no
// cooldown). Its members are all that a resumed training needs.
struct Plateau {
  double scale = 1.0;   // what the rate is multiplied with
  double best = 0.0;    // the best figure so far; means nothing while measured is false
  bool measured = false;
  int64_t waited = 0;   // measurements since the last progress

  // Hears of a validation. A figure that is not a number counts as no progress.
  void observe(const Schedule& schedule, double figure, bool higher_is_better);
  // schedule.at() times the scale for the schedule "plateau", and schedule.at() itself for all others.
  double apply(const Schedule& schedule, double rate) const;
};

}  // namespace zoo::app
