// Patches: ranking what a network wrote, putting it into a file, and joining the patches of several hunks
// (src/combine_checkpoints_results.py and src/validators of github.com/h4iku/MultiMend).
#pragma once
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "app/tasks/repair_bugs.h"

namespace zoo::app {

struct Candidate {
  std::string patch, normal;  // as written, without blanks at its ends; with single blanks
  double score = 0;
  int64_t rank = 0;           // 0: first
  bool exact = false;         // equals the known repair, white space aside
};

// `written`: texts with scores, best first. What changes nothing and repetitions are left out; "remove the lines" is always tried,
// first of all where the network did not say it.
std::vector<Candidate> rank_candidates(const std::vector<std::pair<std::string, double>>& written, const Hunk& hunk);

// One patch for each hunk of a bug.
struct Patch {
  std::vector<std::string> texts;
  double score = 0;
  int64_t rank = 0;
};
// For one hunk its candidates; for several the texts that all hunks have among theirs, by the sum of their ranks, then by the best
// score.
std::vector<Patch> assemble_patches(const std::vector<std::vector<Candidate>>& of_hunks);

// The file with the hunks replaced, the last one first so that line numbers hold. A patch stands with the indentation of the known
// repair (as in the reference); where that is not known, of the line that it replaces, or, where lines are only added, of the line after.
std::string apply_patch(const std::string& source, const std::vector<Hunk>& hunks, const std::vector<std::string>& texts);

// Where no text fits all hunks: hunk after hunk the candidate that lets the fewest tests fail, if that is fewer than before.
// `failing` runs the tests with texts for some hunks (the others stay as they are).
struct PartPatch {
  size_t hunk;
  std::string text;
};
std::vector<PartPatch> greedy_patches(const std::vector<std::vector<Candidate>>& of_hunks,
                                      const std::function<int64_t(const std::vector<PartPatch>&)>& failing, size_t most_tries);

}  // namespace zoo::app
