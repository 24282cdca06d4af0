#include "app/engine/token_scores.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace zoo::app {
namespace token_scores_detail {

constexpr double kNever = -std::numeric_limits<double>::infinity();

at::Tensor ids_tensor(const std::vector<int64_t>& ids, const at::Tensor& like) {
  return at::tensor(ids, at::kLong).to(like.device());
}

// Each token of the history counts once, however often it stands there (Keskar et al., 2019, arXiv:1909.05858, section 4.1).
at::Tensor penalised(const at::Tensor& scores, std::span<const RowHistory> rows, double penalty) {
  const int64_t vocabulary = scores.size(1);
  std::vector<int64_t> places;
  for (size_t row = 0; row < rows.size(); ++row) {
    std::vector<int64_t> seen(rows[row].ids.begin() + rows[row].padding, rows[row].ids.end());
    std::sort(seen.begin(), seen.end());
    seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
    for (const int64_t id : seen)
      if (id >= 0 && id < vocabulary) places.push_back(static_cast<int64_t>(row) * vocabulary + id);
  }
  const at::Tensor where = ids_tensor(places, scores), flat = scores.flatten();
  const at::Tensor seen = flat.index_select(0, where);
  return flat.index_copy(0, where, at::where(seen < 0, seen * penalty, seen / penalty)).view_as(scores);
}

// Tokens that would complete an n-gram of `text` after the last n - 1 tokens of `history`.
void completions(const std::vector<int64_t>& text, const std::vector<int64_t>& history, int64_t n, std::vector<int64_t>& found) {
  const auto length = static_cast<int64_t>(text.size()), read = static_cast<int64_t>(history.size());
  if (read < n - 1) return;
  for (int64_t begin = 0; begin + n <= length; ++begin) {
    if (std::equal(text.begin() + begin, text.begin() + begin + n - 1, history.end() - (n - 1))) found.push_back(text[begin + n - 1]);
  }
}

void bad_words(const std::vector<int64_t>& history, const GenerationOptions& options, std::vector<int64_t>& found) {
  for (const auto& word : options.bad_words) {
    const bool ends = word.size() == 1 && std::find(options.eos.begin(), options.eos.end(), word.front()) != options.eos.end();
    if (ends || word.size() > history.size() + 1) continue;
    if (std::equal(word.begin(), word.end() - 1, history.end() - static_cast<int64_t>(word.size() - 1))) found.push_back(word.back());
  }
}

// Flat indices of what no row may write next.
std::vector<int64_t> forbidden(std::span<const RowHistory> rows, int64_t vocabulary, int64_t written, const GenerationOptions& o) {
  std::vector<int64_t> places;
  for (size_t row = 0; row < rows.size(); ++row) {
    const auto& history = rows[row].ids;
    std::vector<int64_t> ids;
    if (o.no_repeat_ngram_size > 0) completions(history, history, o.no_repeat_ngram_size, ids);
    if (o.encoder_no_repeat_ngram_size > 0 && rows[row].source) completions(*rows[row].source, history, o.encoder_no_repeat_ngram_size, ids);
    bad_words(history, o, ids);
    if (written < o.min_new_tokens) ids.insert(ids.end(), o.eos.begin(), o.eos.end());
    for (const int64_t id : ids)
      if (id >= 0 && id < vocabulary) places.push_back(static_cast<int64_t>(row) * vocabulary + id);
  }
  return places;
}

at::Tensor only(const at::Tensor& scores, const std::vector<int64_t>& ids) {
  return at::full_like(scores, kNever).index_fill_(1, ids_tensor(ids, scores), 0.0);
}

at::Tensor without(const at::Tensor& scores, const std::vector<int64_t>& ids) {
  return ids.empty() ? scores : scores.index_fill(1, ids_tensor(ids, scores), kNever);
}

// In beam search one token besides the ends must stay, so that there is something to go on with.
int64_t least_kept(const GenerationOptions& o) {
  return o.num_beams > 1 ? std::max<int64_t>(2, static_cast<int64_t>(o.eos.size()) + 1) : 1;
}

// The smallest set of likeliest tokens with probability top_p (Holtzman et al., 2020, arXiv:1904.09751).
at::Tensor nucleus(const at::Tensor& scores, double top_p, int64_t keep) {
  const auto [sorted, order] = scores.sort(-1, /*descending=*/false);
  at::Tensor remove = sorted.softmax(-1).cumsum(-1) <= 1.0 - top_p;
  remove.narrow(1, remove.size(1) - keep, keep).fill_(false);
  return scores.masked_fill(at::zeros_like(remove).scatter_(1, order, remove), kNever);
}

at::Tensor above_share_of_best(const at::Tensor& scores, double min_p, int64_t keep) {  // arXiv:2407.01082
  const at::Tensor p = scores.softmax(-1);
  at::Tensor remove = p < min_p * p.amax(-1, true);
  remove.scatter_(-1, std::get<1>(p.topk(keep, -1)), false);
  return scores.masked_fill(remove, kNever);
}

// The tokens whose information is nearest to the entropy (Meister et al., 2022, arXiv:2202.00666).
at::Tensor typical(const at::Tensor& scores, double mass, int64_t keep) {
  const at::Tensor log_p = scores.log_softmax(-1);
  const at::Tensor entropy = -(log_p * log_p.exp()).nansum(-1, true);
  const auto [distance, order] = (-log_p - entropy).abs().sort(-1, /*descending=*/false);
  const at::Tensor reached = scores.gather(-1, order).softmax(-1).cumsum(-1);
  const at::Tensor last = (reached < mass).sum(1, true).clamp_max(scores.size(1) - 1);
  at::Tensor remove = distance > distance.gather(1, last);
  remove.narrow(1, 0, keep).fill_(false);
  return scores.masked_fill(at::zeros_like(remove).scatter_(1, order, remove), kNever);
}

}  // namespace token_scores_detail

at::Tensor constrained(at::Tensor scores, std::span<const RowHistory> rows, int64_t written, const GenerationOptions& o) {
  namespace d = token_scores_detail;
  if (o.repetition_penalty != 1.0) scores = d::penalised(scores, rows, o.repetition_penalty);
  const auto places = d::forbidden(rows, scores.size(1), written, o);
  if (!places.empty()) scores = scores.flatten().index_fill(0, d::ids_tensor(places, scores), d::kNever).view_as(scores);
  const bool first = written == 0 && rows.front().ids.size() == 1;  // only the start token has been read
  if (first && o.forced_bos >= 0) scores = d::only(scores, {o.forced_bos});
  if (written == o.max_new_tokens - 1 && !o.forced_eos.empty()) scores = d::only(scores, o.forced_eos);
  scores = d::without(scores, o.suppress_tokens);
  const int64_t begin = o.forced_bos >= 0 && rows.front().ids.size() - static_cast<size_t>(written) == 1 ? 1 : 0;
  return written == begin ? d::without(scores, o.begin_suppress_tokens) : scores;
}

at::Tensor warped(at::Tensor scores, const GenerationOptions& o) {
  namespace d = token_scores_detail;
  const int64_t keep = std::min(d::least_kept(o), scores.size(1));
  if (o.temperature != 1.0) scores = scores / o.temperature;
  if (o.top_k > 0) {
    const int64_t k = std::min(std::max(o.top_k, keep), scores.size(1));
    scores = scores.masked_fill(scores < std::get<0>(scores.topk(k)).select(1, k - 1).unsqueeze(1), d::kNever);
  }
  if (o.top_p < 1.0) scores = d::nucleus(scores, o.top_p, keep);
  if (o.min_p > 0.0) scores = d::above_share_of_best(scores, o.min_p, keep);
  if (o.typical_p < 1.0) scores = d::typical(scores, o.typical_p, keep);
  return scores;
}

}  // namespace zoo::app
