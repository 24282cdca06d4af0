#include "app/tasks/sentence_losses.h"

#include "app/cli.h"
#include "models/names.h"

namespace zoo::app {
namespace sentence_losses_detail {

at::Tensor unit(const at::Tensor& rows) { return rows / rows.norm(2, at::IntArrayRef{-1}, true).clamp_min(1e-12); }

at::Tensor cosines(const at::Tensor& first, const at::Tensor& second) { return (unit(first) * unit(second)).sum(-1); }

double positive(const Json& options, const char* key, double fallback) {
  const auto found = options.find(key);
  if (found == options.end()) return fallback;
  const double value = found->is_number() ? found->get<double>() : 0.0;
  if (!(value > 0) || !std::isfinite(value))
    throw UsageError(std::string(key) + " is " + found->dump() + "; a number above 0 is expected");
  return value;
}

}  // namespace sentence_losses_detail

at::Tensor cosine_loss(const at::Tensor& first, const at::Tensor& second, const at::Tensor& targets) {
  return at::mse_loss(sentence_losses_detail::cosines(first, second), targets.to(first.scalar_type()));
}

at::Tensor multiple_negatives_loss(const at::Tensor& first, const at::Tensor& second, double scale) {
  const auto scores = at::mm(sentence_losses_detail::unit(first), sentence_losses_detail::unit(second).t()) * scale;  // [B, B]
  return at::cross_entropy_loss(scores, at::arange(scores.size(0), scores.options().dtype(at::kLong)));
}

at::Tensor supervised_contrastive_loss(const at::Tensor& vectors, const at::Tensor& groups, double temperature) {
  const auto rows = sentence_losses_detail::unit(vectors);
  const auto self = at::eye(rows.size(0), rows.options().dtype(at::kBool));
  const auto scores = (at::mm(rows, rows.t()) / temperature).masked_fill(self, -std::numeric_limits<float>::infinity());
  // A row's own -inf must not meet the 0 of the mask below.
  const auto log_share = at::log_softmax(scores, 1).masked_fill(self, 0.0);  // [N, N]
  const auto same = (groups.unsqueeze(0) == groups.unsqueeze(1)).logical_and(self.logical_not()).to(rows.scalar_type());
  const auto partners = same.sum(1);  // [N]
  const auto each = (same * log_share).sum(1) / partners.clamp_min(1);
  return -each.sum() / (partners > 0).sum().clamp_min(1);
}

at::Tensor online_contrastive_loss(const at::Tensor& first, const at::Tensor& second, const at::Tensor& matches, double margin) {
  const auto distances = 1 - sentence_losses_detail::cosines(first, second);
  const auto near = distances.masked_select(matches), far = distances.masked_select(matches.logical_not());
  auto loss = distances.sum() * 0;  // keeps the graph when one kind is missing
  const auto bound = [](const at::Tensor& of, const at::Tensor& otherwise, bool largest) {
    if (of.numel() > 1) return largest ? of.max() : of.min();
    return otherwise.mean();
  };
  if (near.numel() > 0) {
    const auto wrong = far.numel() > 0 ? near.masked_select(near > bound(far, near, false)) : near;
    loss = loss + wrong.square().sum();
  }
  if (far.numel() > 0) {
    const auto wrong = near.numel() > 0 ? far.masked_select(far < bound(near, far, true)) : far;
    loss = loss + (margin - wrong).clamp_min(0).square().sum();
  }
  return loss;
}

const std::vector<std::string>& sentence_loss_names() {
  static const std::vector<std::string> names = {"cosine", "multiple_negatives", "supervised_contrastive", "online_contrastive"};
  return names;
}

at::Tensor sentence_loss(const Tensors& outputs, const Tensors& batch, const Json& options) {
  using sentence_losses_detail::positive;
  const auto wanted = options.find("loss");
  const std::string name = wanted == options.end() ? "cosine" : wanted->is_string() ? wanted->get<std::string>() : wanted->dump();
  const auto &first = outputs.at("first"), &second = outputs.at("second"), &labels = batch.at("labels");
  if (name == "cosine") return cosine_loss(first, second, labels);
  if (name == "multiple_negatives") return multiple_negatives_loss(first, second, positive(options, "scale", 20.0));
  if (name == "online_contrastive") return online_contrastive_loss(first, second, labels >= 0.5, positive(options, "margin", 0.5));
  if (name == "supervised_contrastive")
    return supervised_contrastive_loss(at::cat({first, second}), batch.at("groups"), positive(options, "temperature", 0.07));
  throw UsageError("loss '" + name.substr(0, 80) + "' is unknown; nearest: " + join(nearest(name, sentence_loss_names())));
}

}  // namespace zoo::app
