#include "app/engine/mixing.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace zoo::app {
namespace mixing_detail {

double uniform() { return at::rand({1}, at::kDouble).item<double>(); }

// Beta(alpha, alpha) as a share of two Gamma(alpha) draws, taken from PyTorch's generator like all else.
double draw_share(double alpha) {
  const at::Tensor draws = at::_sample_dirichlet(at::full({2}, alpha, at::kDouble));
  return draws[0].item<double>();
}

struct Box {
  int64_t top, left, bottom, right;
};

// A box of (1 - share) of the area around a random middle, cut at the borders (Yun et al., 2019, section 3.1).
Box draw_box(int64_t height, int64_t width, double share) {
  const double side = std::sqrt(1.0 - share);
  const auto half_height = static_cast<int64_t>(static_cast<double>(height) * side) / 2;
  const auto half_width = static_cast<int64_t>(static_cast<double>(width) * side) / 2;
  const auto middle_y = static_cast<int64_t>(uniform() * static_cast<double>(height));
  const auto middle_x = static_cast<int64_t>(uniform() * static_cast<double>(width));
  return {std::max<int64_t>(middle_y - half_height, 0), std::max<int64_t>(middle_x - half_width, 0),
          std::min(middle_y + half_height, height), std::min(middle_x + half_width, width)};
}

void check(const Tensors& batch) {
  if (!batch.contains("image") || !batch.contains("labels")) {
    throw std::invalid_argument("mixup and cutmix work on batches of pictures with labels; this task's batches have none");
  }
  const auto& image = batch.at("image");
  const auto& labels = batch.at("labels");
  if (image.dim() == 4 && labels.dim() == 1 && labels.scalar_type() == at::kLong && labels.size(0) == image.size(0)) return;
  throw std::invalid_argument("mixup and cutmix need images [B,C,H,W] and one whole number per picture as label");
}

// Smoothed as torch's cross_entropy does: 1 - s on the label, and s spread over all classes.
at::Tensor soft(const at::Tensor& labels, int64_t classes, double smoothing) {
  return at::one_hot(labels, classes).to(at::kFloat) * (1.0 - smoothing) + smoothing / static_cast<double>(classes);
}

}  // namespace mixing_detail

MixedBatch mix(const MixingOptions& options, const Tensors& batch, int64_t classes, double label_smoothing) {
  namespace d = mixing_detail;
  d::check(batch);
  const at::NoGradGuard no_grad;
  const at::Tensor& image = batch.at("image");
  const at::Tensor targets = d::soft(batch.at("labels"), classes, label_smoothing);
  if (!options.active() || d::uniform() >= options.probability) return {batch, targets};
  const bool cut = options.cutmix > 0.0 && (options.mixup <= 0.0 || d::uniform() < 0.5);
  double share = d::draw_share(cut ? options.cutmix : options.mixup);
  const at::Tensor order = at::randperm(image.size(0), at::kLong).to(image.device());
  const at::Tensor others = image.index_select(0, order);
  Tensors mixed = batch;
  if (cut) {
    const d::Box box = d::draw_box(image.size(2), image.size(3), share);
    const auto inside = [&](const at::Tensor& x) { return x.slice(2, box.top, box.bottom).slice(3, box.left, box.right); };
    mixed["image"] = image.clone();
    inside(mixed["image"]).copy_(inside(others));
    const auto area = static_cast<double>((box.bottom - box.top) * (box.right - box.left));
    share = 1.0 - area / static_cast<double>(image.size(2) * image.size(3));
  } else {
    mixed["image"] = image * share + others * (1.0 - share);
  }
  return {mixed, targets * share + targets.index_select(0, order) * (1.0 - share)};
}

at::Tensor soft_cross_entropy(const at::Tensor& logits, const at::Tensor& targets) {
  return -(targets * at::log_softmax(logits, 1, at::kFloat)).sum(1).mean();
}

}  // namespace zoo::app
