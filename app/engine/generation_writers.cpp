#include "app/engine/generation_writers.h"

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <cmath>

#include "app/engine/stop_strings.h"

namespace zoo::app {
namespace generation_writers_detail {

constexpr float kOut = -1.0e9F;  // what the reference adds to a beam that must not go on

bool contains(const std::vector<int64_t>& ids, int64_t id) { return std::find(ids.begin(), ids.end(), id) != ids.end(); }

int64_t filler(const GenerationOptions& o) { return o.pad >= 0 ? o.pad : o.eos.empty() ? 0 : o.eos.front(); }

}  // namespace generation_writers_detail

Writer::Writer(const GenerationOptions& options, int64_t i, size_t prompt, std::vector<RowHistory> histories)
    : index(i), rows(std::move(histories)), o_(options), prompt_(prompt) {
  const auto number = static_cast<size_t>(i);
  generator_ = at::make_generator<at::CPUGeneratorImpl>(number < o_.seeds.size() ? o_.seeds[number] : o_.seed + number);
}

void Writer::follow(const Move& move) {
  std::vector<RowHistory> next;
  for (size_t i = 0; i < move.parents.size(); ++i) {
    next.push_back(rows[static_cast<size_t>(move.parents[i])]);
    next.back().ids.push_back(move.tokens[i]);
  }
  rows = std::move(next);
}

bool Writer::ends(const std::vector<int64_t>& before, int64_t token) const {
  return generation_writers_detail::contains(o_.eos, token) || (o_.stop && o_.stop->completed(before, token));
}

Generated Writer::result(const std::vector<int64_t>& ids, size_t end, double score) const {
  const size_t begin = prompt_ - o_.prefix.size();  // what stood before the new tokens belongs to the text
  return {{ids.begin() + static_cast<int64_t>(begin), ids.begin() + static_cast<int64_t>(end)}, score};
}

double Writer::per_length(double score, int64_t length) const { return score / std::pow(static_cast<double>(length), o_.length_penalty); }

// ---- beam search ----

BeamWriter::BeamWriter(const GenerationOptions& options, int64_t i, size_t prompt, std::vector<RowHistory> histories)
    : Writer(options, i, prompt, std::move(histories)), scores_(rows.size(), generation_writers_detail::kOut) {
  scores_[0] = 0.0F;  // all beams start alike: one counts
}

Move BeamWriter::advance(const std::vector<Candidate>& candidates) {
  using generation_writers_detail::kOut;
  const int64_t length = next_length();
  const bool last = is_last();
  std::vector<Candidate> running = candidates;
  for (size_t i = 0; i < candidates.size(); ++i) {
    const Candidate& c = candidates[i];
    if (!last && !ends(rows[static_cast<size_t>(c.beam)].ids, c.token)) continue;
    if (i < scores_.size()) finish(c, length);
    running[i].score += kOut;
  }
  std::stable_sort(running.begin(), running.end(), [](const Candidate& a, const Candidate& b) { return a.score > b.score; });
  running.resize(scores_.size());
  Move move;
  for (size_t i = 0; i < running.size(); ++i) {
    scores_[i] = running[i].score;
    move.parents.push_back(running[i].beam);
    move.tokens.push_back(running[i].token);
  }
  follow(move);
  const bool dead = std::isinf(scores_.front());  // nothing that is allowed is left
  done = last || dead || !improvable(length) || (o_.early_stopping == BeamStop::yes && full());
  return move;
}

std::vector<Generated> BeamWriter::results() const {
  const auto count = std::min<int64_t>(o_.num_return_sequences, static_cast<int64_t>(finished_.size()));
  return {finished_.begin(), finished_.begin() + count};
}

void BeamWriter::finish(const Candidate& c, int64_t length) {
  if (!(c.score > generation_writers_detail::kOut / 2)) return;  // a beam that is out
  const float score = c.score / static_cast<float>(std::pow(static_cast<double>(length), o_.length_penalty));
  const auto place = std::find_if(finished_.begin(), finished_.end(), [&](const Generated& g) { return static_cast<float>(g.score) < score; });
  if (place == finished_.end() && full()) return;
  std::vector<int64_t> ids = rows[static_cast<size_t>(c.beam)].ids;
  ids.push_back(c.token);
  finished_.insert(place, result(ids, ids.size(), score));
  if (finished_.size() > scores_.size()) finished_.pop_back();
}

// Whether the best running beam could still beat the worst finished one.
bool BeamWriter::improvable(int64_t length) const {
  if (!full()) return true;
  const bool longest = o_.early_stopping == BeamStop::never && o_.length_penalty > 0.0;
  const double at_length = static_cast<double>(longest ? o_.max_new_tokens : length);
  const float best = scores_.front() / static_cast<float>(std::pow(at_length, o_.length_penalty));
  return best > static_cast<float>(finished_.back().score);
}

// ---- groups ----

GroupWriter::GroupWriter(const GenerationOptions& options, int64_t i, size_t prompt, std::vector<RowHistory> histories)
    : Writer(options, i, prompt, std::move(histories)), size_(static_cast<int64_t>(rows.size()) / options.num_beam_groups),
      groups_(static_cast<size_t>(options.num_beam_groups)), scores_(rows.size(), generation_writers_detail::kOut) {
  for (size_t first = 0; first < scores_.size(); first += static_cast<size_t>(size_)) scores_[first] = 0.0F;
}

std::span<const float> GroupWriter::scores(int64_t group) const { return std::span(scores_).subspan(static_cast<size_t>(group * size_), static_cast<size_t>(size_)); }

std::vector<RowHistory> GroupWriter::histories(int64_t group) const {
  std::vector<RowHistory> own(rows.begin() + group * size_, rows.begin() + (group + 1) * size_);
  for (auto& row : own) row.chosen_by_others = move_.tokens;
  return own;
}

void GroupWriter::choose(int64_t number, const std::vector<Candidate>& candidates) {
  Group& group = groups_[static_cast<size_t>(number)];
  const int64_t length = next_length(), first = number * size_;
  for (int64_t taken = 0; group.done && taken < size_; ++taken) {  // only so that the rows stay as many
    scores_[static_cast<size_t>(first + taken)] = 0.0F;
    move_.parents.push_back(first);
    move_.tokens.push_back(generation_writers_detail::filler(o_));
  }
  if (group.done) return;
  int64_t taken = 0;
  for (size_t rank = 0; rank < candidates.size() && taken < size_; ++rank) {
    const Candidate& c = candidates[rank];
    const auto& ids = rows[static_cast<size_t>(first + c.beam)].ids;
    if (ends(ids, c.token)) {
      if (static_cast<int64_t>(rank) >= size_) continue;
      Generated found = result(ids, ids.size(), per_length(c.score, length));
      found.ids.push_back(c.token);
      finish(group, std::move(found));
      continue;
    }
    scores_[static_cast<size_t>(first + taken++)] = c.score;
    move_.parents.push_back(first + c.beam);
    move_.tokens.push_back(c.token);
  }
  group.done = cannot_improve(group, candidates.front().score, length);
}

Move GroupWriter::advance() {
  const bool last = is_last();
  const Move move = std::exchange(move_, {});
  follow(move);
  done = std::all_of(groups_.begin(), groups_.end(), [](const Group& group) { return group.done; });
  if (!last || done) return move;
  done = true;
  for (size_t row = 0; row < rows.size(); ++row) {  // what was still running counts as it is
    Group& group = groups_[row / static_cast<size_t>(size_)];
    const auto& ids = rows[row].ids;
    if (!group.done) finish(group, result(ids, ids.size(), per_length(scores_[row], static_cast<int64_t>(ids.size() - prompt_))));
  }
  return move;
}

void GroupWriter::finish(Group& group, Generated found) {
  auto& all = group.finished;
  if (static_cast<int64_t>(all.size()) >= size_ && !(found.score > group.worst)) return;
  all.push_back(std::move(found));
  const auto worse = [](const Generated& a, const Generated& b) { return a.score < b.score; };
  if (static_cast<int64_t>(all.size()) > size_) all.erase(std::min_element(all.begin(), all.end(), worse));
  group.worst = std::min_element(all.begin(), all.end(), worse)->score;
}

bool GroupWriter::cannot_improve(const Group& group, double best, int64_t length) const {
  if (static_cast<int64_t>(group.finished.size()) < size_) return false;
  if (o_.early_stopping == BeamStop::yes) return true;
  const bool longest = o_.early_stopping == BeamStop::never && o_.length_penalty > 0.0;
  return group.worst >= per_length(best, longest ? o_.max_new_tokens : length);
}

std::vector<Generated> GroupWriter::results() const {
  std::vector<Generated> all;
  for (const auto& group : groups_) all.insert(all.end(), group.finished.begin(), group.finished.end());
  std::reverse(all.begin(), all.end());  // of equal scores the reference takes the later one
  std::stable_sort(all.begin(), all.end(), [](const Generated& a, const Generated& b) { return a.score > b.score; });
  all.resize(std::min(all.size(), static_cast<size_t>(o_.num_return_sequences)));
  return all;
}

// ---- greedy and sampling ----

RowWriter::RowWriter(const GenerationOptions& options, int64_t i, size_t prompt, std::vector<RowHistory> histories)
    : Writer(options, i, prompt, std::move(histories)), ends_(rows.size(), 0) {}

Move RowWriter::advance(const std::vector<int64_t>& chosen) {
  Move move;
  const bool last = is_last();
  for (size_t i = 0; i < chosen.size(); ++i) {
    const bool ended = ends_[i] > 0;
    if (i == 0 && !ended && o_.on_token) o_.on_token(index, chosen[i]);
    if (!ended && ends(rows[i].ids, chosen[i])) ends_[i] = rows[i].ids.size() + 1;
    move.parents.push_back(static_cast<int64_t>(i));
    move.tokens.push_back(ended ? generation_writers_detail::filler(o_) : chosen[i]);
  }
  follow(move);
  done = last || std::all_of(ends_.begin(), ends_.end(), [](size_t end) { return end > 0; });
  return move;
}

std::vector<Generated> RowWriter::results() const {
  std::vector<Generated> all;
  for (size_t i = 0; i < rows.size(); ++i) all.push_back(result(rows[i].ids, ends_[i] > 0 ? ends_[i] : rows[i].ids.size(), 0.0));
  return all;
}

}  // namespace zoo::app
