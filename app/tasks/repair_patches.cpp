#include "app/tasks/repair_patches.h"

#include <algorithm>
#include <map>
#include <set>

namespace zoo::app {
namespace repair_patches_detail {

std::string stripped(const std::string& text) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

std::string indentation(const std::string& line) { return line.substr(0, std::min(line.find_first_not_of(" \t"), line.size())); }

void insert(std::vector<std::string>& lines, const Hunk& hunk, const std::string& text) {
  const auto count = static_cast<int64_t>(lines.size());
  const int64_t at = std::clamp<int64_t>(hunk.length > 0 ? hunk.start - 1 : hunk.start, 0, count), end = std::min(count, at + hunk.length);
  // As the reference: the known repair's indentation, where there is one.
  const bool known = hunk.known && hunk.added.find_first_not_of(" \t\r\n") != std::string::npos;
  const std::string indent = known ? indentation(hunk.added) : at < count ? indentation(lines[static_cast<size_t>(at)]) : "";
  lines.erase(lines.begin() + at, lines.begin() + end);
  if (!text.empty()) lines.insert(lines.begin() + at, indent + text + "\n");
}

}  // namespace repair_patches_detail

std::vector<Candidate> rank_candidates(const std::vector<std::pair<std::string, double>>& written, const Hunk& hunk) {
  const std::string source = single_blanks(hunk.removed), target = single_blanks(hunk.added);
  std::vector<Candidate> candidates;
  std::set<std::string> seen{source};
  for (size_t i = 0; i < written.size(); ++i) {
    Candidate one{repair_patches_detail::stripped(written[i].first), single_blanks(written[i].first), written[i].second, static_cast<int64_t>(i)};
    if (one.normal.empty()) one.rank = 0, one.score = 0;
    if (seen.insert(one.normal).second) candidates.push_back(std::move(one));
  }
  if (!source.empty() && seen.insert("").second) candidates.insert(candidates.begin(), Candidate{});
  std::stable_sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) { return a.rank != b.rank ? a.rank < b.rank : a.score > b.score; });
  for (auto& one : candidates) one.exact = hunk.known && one.normal == target;
  return candidates;
}

std::vector<Patch> assemble_patches(const std::vector<std::vector<Candidate>>& of_hunks) {
  std::vector<Patch> patches;
  for (const Candidate& first : of_hunks.empty() ? std::vector<Candidate>() : of_hunks.front()) {
    Patch patch{{first.patch}, first.score, first.rank};
    for (size_t hunk = 1; hunk < of_hunks.size(); ++hunk) {
      const auto same = std::find_if(of_hunks[hunk].begin(), of_hunks[hunk].end(), [&](const Candidate& one) { return one.normal == first.normal; });
      if (same == of_hunks[hunk].end()) break;
      patch.texts.push_back(same->patch);
      patch.rank += same->rank;
      patch.score = std::max(patch.score, same->score);
    }
    if (patch.texts.size() == of_hunks.size()) patches.push_back(std::move(patch));
  }
  std::stable_sort(patches.begin(), patches.end(), [](const Patch& a, const Patch& b) { return a.rank != b.rank ? a.rank < b.rank : a.score > b.score; });
  return patches;
}

std::string apply_patch(const std::string& source, const std::vector<Hunk>& hunks, const std::vector<std::string>& texts) {
  auto lines = lines_with_ends(source);
  std::vector<size_t> order(hunks.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return hunks[a].start > hunks[b].start; });
  for (const size_t i : order) repair_patches_detail::insert(lines, hunks[i], texts[i]);
  std::string text;
  for (const auto& line : lines) text += line;
  return text;
}

std::vector<PartPatch> greedy_patches(const std::vector<std::vector<Candidate>>& of_hunks,
                                      const std::function<int64_t(const std::vector<PartPatch>&)>& failing, size_t most_tries) {
  std::vector<PartPatch> chosen;
  int64_t left = failing(chosen);
  for (size_t hunk = 0; hunk < of_hunks.size() && left > 0; ++hunk) {
    std::optional<PartPatch> best;
    for (size_t i = 0; i < of_hunks[hunk].size() && i < most_tries; ++i) {
      auto trial = chosen;
      trial.push_back({hunk, of_hunks[hunk][i].patch});
      const int64_t now = failing(trial);
      if (now >= left) continue;
      left = now;
      best = trial.back();
    }
    if (best) chosen.push_back(*best);
  }
  return chosen;
}

}  // namespace zoo::app
