// Comparison: trainings side by side, as tables, JSON and a page with overlaid curves.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "app/report/figures.h"
#include "app/report/run_record.h"
#include "app/report/table.h"

namespace zoo::app {

// Runs of one recipe that differ in their seed only.
struct RunGroup {
  std::string name;
  std::vector<const RunRecord*> runs;      // each seed once
  std::vector<const RunRecord*> left_out;  // of a seed that `runs` has: the same sample again says nothing of chance
};

struct Comparison {
  std::vector<RunGroup> groups;
  // A row for each recipe key in which groups differ, or metric that some group has; a cell for each group.
  struct Setting {
    std::string key;
    std::vector<std::string> values;
  };
  struct Figure {
    std::string metric;
    std::vector<Spread> values;       // count 0: the group has none
    std::optional<size_t> best;       // group; empty where better is unknown, or all are alike
  };
  std::vector<Setting> settings;
  std::vector<Figure> figures;
};

// Of runs with one recipe and seed the latest counts, a finished one before one that is not. `each`: every run stands for itself. `runs` must outlive the result.
Comparison compare_runs(const std::vector<RunRecord>& runs, bool each);

Table comparison_table(const Comparison& comparison);       // groups side by side; * marks the best
Table comparison_rows(const Comparison& comparison);        // a row for each group, for CSV: full precision
Json comparison_json(const Comparison& comparison);
std::string comparison_page(const Comparison& comparison);  // self-contained HTML

}  // namespace zoo::app
