#include "app/engine/token_scores.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <stdexcept>

#include "app/engine/token_trie.h"

namespace zoo::app {
namespace token_scores_detail {

constexpr double kNever = -std::numeric_limits<double>::infinity();

at::Tensor ids_tensor(const std::vector<int64_t>& ids, const at::Tensor& like) {
  return at::tensor(ids, at::kLong).to(like.device());
}

// The given tokens of each row lose by `penalty` (below 1: win), each once, however often it stands there (Keskar et al., 2019,
// arXiv:1909.05858, section 4.1).
at::Tensor penalised(const at::Tensor& scores, std::vector<std::vector<int64_t>> seen, double penalty) {
  const int64_t vocabulary = scores.size(1);
  std::vector<int64_t> places;
  for (size_t row = 0; row < seen.size(); ++row) {
    std::sort(seen[row].begin(), seen[row].end());
    seen[row].erase(std::unique(seen[row].begin(), seen[row].end()), seen[row].end());
    for (const int64_t id : seen[row])
      if (id >= 0 && id < vocabulary) places.push_back(static_cast<int64_t>(row) * vocabulary + id);
  }
  const at::Tensor where = ids_tensor(places, scores), flat = scores.flatten();
  const at::Tensor old = flat.index_select(0, where);
  return flat.index_copy(0, where, at::where(old < 0, old * penalty, old / penalty)).view_as(scores);
}

at::Tensor penalised_history(const at::Tensor& scores, std::span<const RowHistory> rows, double penalty) {
  std::vector<std::vector<int64_t>> seen;
  for (const auto& row : rows) seen.emplace_back(row.ids.begin() + row.padding, row.ids.end());
  return penalised(scores, std::move(seen), penalty);
}

// A penalty above 1 speaks for the tokens of the source.
at::Tensor penalised_source(const at::Tensor& scores, std::span<const RowHistory> rows, double penalty) {
  std::vector<std::vector<int64_t>> seen;
  for (const auto& row : rows) seen.push_back(row.source ? *row.source : std::vector<int64_t>());
  return penalised(scores, std::move(seen), 1.0 / penalty);
}

// The last of these ids gains its bias where the ones before it end the history. Of several biases for the same ids the last counts.
at::Tensor biased(const at::Tensor& scores, std::span<const RowHistory> rows, const std::vector<SequenceBias>& biases) {
  const int64_t vocabulary = scores.size(1);
  std::vector<float> bias(static_cast<size_t>(scores.numel()), 0.0F);
  std::map<std::vector<int64_t>, float> by_ids;
  for (const auto& one : biases) by_ids[one.ids] = one.bias;
  for (const auto& [ids, value] : by_ids) {
    if (ids.back() >= vocabulary) throw std::invalid_argument("sequence_bias names token " + std::to_string(ids.back()) + "; the network has " + std::to_string(vocabulary));
    for (size_t row = 0; row < rows.size(); ++row) {
      const auto& history = rows[row].ids;
      if (ids.size() > history.size() + 1 || !std::equal(ids.begin(), ids.end() - 1, history.end() - static_cast<int64_t>(ids.size() - 1))) continue;
      bias[row * static_cast<size_t>(vocabulary) + static_cast<size_t>(ids.back())] += value;
    }
  }
  return scores + at::tensor(bias, at::kFloat).view_as(scores).to(scores.device());
}

// Hamming diversity: what other groups have just chosen loses a penalty for each time.
at::Tensor diverse(const at::Tensor& scores, std::span<const RowHistory> rows, double penalty) {
  std::vector<at::Tensor> counts;
  for (const auto& row : rows) counts.push_back(at::bincount(at::tensor(row.chosen_by_others, at::kLong), {}, scores.size(1)));
  return scores - penalty * at::stack(counts).to(scores.device());
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

// Tokens of the vocabulary: lists in files may name more than a network has.
at::Tensor known(std::vector<int64_t> ids, const at::Tensor& scores) {
  std::erase_if(ids, [&](int64_t id) { return id >= scores.size(1); });
  return ids_tensor(ids, scores);
}

at::Tensor only(const at::Tensor& scores, const std::vector<int64_t>& ids) {
  const at::Tensor forced = known(ids, scores);
  if (forced.numel() == 0) throw std::invalid_argument("the forced token " + std::to_string(ids.front()) + " is not among the network's " + std::to_string(scores.size(1)));
  return at::full_like(scores, kNever).index_fill_(1, forced, 0.0);
}

at::Tensor without(const at::Tensor& scores, const std::vector<int64_t>& ids) {
  return ids.empty() ? scores : scores.index_fill(1, known(ids, scores), kNever);
}

// All but the allowed tokens become -infinity; where that leaves an input's rows nothing, the allowed ones are all alike.
at::Tensor within(const at::Tensor& scores, std::span<const RowHistory> rows, int64_t written, const GenerationOptions& o) {
  std::vector<int64_t> places;
  for (size_t row = 0; row < rows.size(); ++row) {
    auto ids = o.allowed->next(std::span(rows[row].ids).last(static_cast<size_t>(written)));
    if (ids.empty()) ids = o.eos;
    for (const int64_t id : ids)
      if (id < scores.size(1)) places.push_back(static_cast<int64_t>(row) * scores.size(1) + id);
  }
  const at::Tensor mask = at::full_like(scores, kNever).flatten().index_fill_(0, ids_tensor(places, scores), 0.0).view_as(scores);
  const at::Tensor left = scores + mask;
  const at::Tensor nothing = left.amax(-1).isneginf().view({-1, o.num_beams}).all(1).repeat_interleave(o.num_beams).unsqueeze(1);
  return at::where(nothing, mask, left);
}

// The ends of sequence gain, the more the longer the text is.
at::Tensor decayed(const at::Tensor& scores, int64_t late, const GenerationOptions& o) {
  const at::Tensor ends = known(o.eos, scores), old = scores.index_select(1, ends);
  const at::Tensor gain = (old.abs() * (std::pow(o.decay_factor, static_cast<double>(late)) - 1.0)).masked_fill(old.isfinite().logical_not(), 0.0);
  return scores.index_copy(1, ends, old + gain);
}

at::Tensor finite(const at::Tensor& scores) {
  return at::nan_to_num(scores, 0.0, std::numeric_limits<float>::max(), std::numeric_limits<float>::lowest());
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

// The likeliest tokens while their share of the entropy, among the hundred likeliest, stays below top_h.
at::Tensor within_entropy(const at::Tensor& scores, double top_h) {
  const auto [best, places] = scores.topk(std::min<int64_t>(100, scores.size(1)));
  const at::Tensor log_p = best - best.logsumexp(-1, true), p = log_p.softmax(-1);
  const at::Tensor entropy = -(log_p.clamp_min(std::numeric_limits<float>::lowest()) * p).sum(-1, true);
  at::Tensor keep = (-p * p.log()).cumsum(-1) <= top_h * entropy;  // where p is 0 the sum is no number, and nothing is kept
  keep.select(1, 0).fill_(true);
  return scores.masked_fill(at::zeros_like(scores, at::kBool).scatter_(1, places, keep).logical_not(), kNever);
}

// Tokens of a probability below the limit [rows, 1] or number, unless they are among the best `keep`.
template <class Limit>
at::Tensor above(const at::Tensor& scores, const at::Tensor& p, const Limit& limit, int64_t keep) {
  const at::Tensor last_kept = std::get<0>(scores.topk(keep)).select(1, keep - 1).unsqueeze(1);
  return scores.masked_fill((p < limit).logical_and(scores < last_kept), kNever);
}

// Hewitt et al., 2022, arXiv:2210.15191: the limit falls with the entropy.
at::Tensor eta(const at::Tensor& scores, double epsilon, int64_t keep) {
  const at::Tensor log_p = scores.log_softmax(-1), p = log_p.exp();
  const at::Tensor entropy = -(log_p.clamp_min(std::numeric_limits<float>::lowest()) * p).sum(-1, true);
  return above(scores, p, (std::sqrt(epsilon) * (-entropy).exp()).clamp_max(epsilon), keep);
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
  if (!o.sequence_bias.empty()) scores = d::biased(scores, rows, o.sequence_bias);
  if (!rows.front().chosen_by_others.empty() && o.diversity_penalty > 0) scores = d::diverse(scores, rows, o.diversity_penalty);
  if (o.encoder_repetition_penalty != 1.0) scores = d::penalised_source(scores, rows, o.encoder_repetition_penalty);
  if (o.repetition_penalty != 1.0) scores = d::penalised_history(scores, rows, o.repetition_penalty);
  const auto places = d::forbidden(rows, scores.size(1), written, o);
  if (!places.empty()) (scores = scores.contiguous()).view(-1).index_fill_(0, d::ids_tensor(places, scores), d::kNever);
  if (o.allowed) scores = d::within(scores, rows, written, o);
  const bool first = written == 0 && rows.front().ids.size() == 1;  // only the start token has been read
  if (first && o.forced_bos >= 0) scores = d::only(scores, {o.forced_bos});
  if (written == o.max_new_tokens - 1 && !o.forced_eos.empty()) scores = d::only(scores, o.forced_eos);
  if (o.remove_invalid_values) scores = d::finite(scores);
  if (o.decay_start >= 0 && written > o.decay_start && !o.eos.empty()) scores = d::decayed(scores, written - o.decay_start, o);
  scores = d::without(scores, o.suppress_tokens);
  const int64_t begin = o.forced_bos >= 0 && rows.front().ids.size() - static_cast<size_t>(written) == 1 ? 1 : 0;
  return written == begin ? d::without(scores, o.begin_suppress_tokens) : scores;
}

bool chosen_by_logits_alone(const GenerationOptions& o) {
  const bool greedy = !o.do_sample && o.num_beams == 1 && o.num_beam_groups == 1 && o.num_return_sequences == 1;
  const bool by_history = !o.sequence_bias.empty() || o.encoder_repetition_penalty != 1.0 || o.repetition_penalty != 1.0 || o.no_repeat_ngram_size > 0 ||
                          o.encoder_no_repeat_ngram_size > 0 || !o.bad_words.empty() || o.allowed;
  const bool by_place = o.forced_bos >= 0 || !o.forced_eos.empty() || o.decay_start >= 0 || !o.begin_suppress_tokens.empty();
  return greedy && !by_history && !by_place && !o.remove_invalid_values && o.suppress_tokens.empty();
}

at::Tensor warped(at::Tensor scores, const GenerationOptions& o) {
  namespace d = token_scores_detail;
  const int64_t keep = std::min(d::least_kept(o), scores.size(1));
  if (o.temperature != 1.0) scores = scores / o.temperature;
  if (o.top_h > 0.0) scores = d::within_entropy(scores, o.top_h);
  if (o.top_k > 0) {
    const int64_t k = std::min(std::max(o.top_k, keep), scores.size(1));
    scores = scores.masked_fill(scores < std::get<0>(scores.topk(k)).select(1, k - 1).unsqueeze(1), d::kNever);
  }
  if (o.top_p < 1.0) scores = d::nucleus(scores, o.top_p, keep);
  if (o.min_p > 0.0) scores = d::above_share_of_best(scores, o.min_p, keep);
  if (o.typical_p < 1.0) scores = d::typical(scores, o.typical_p, keep);
  if (o.epsilon_cutoff > 0.0 && o.epsilon_cutoff < 1.0) scores = d::above(scores, scores.softmax(-1), o.epsilon_cutoff, keep);
  if (o.eta_cutoff > 0.0 && o.eta_cutoff < 1.0) scores = d::eta(scores, o.eta_cutoff, keep);
  return scores;
}

}  // namespace zoo::app
