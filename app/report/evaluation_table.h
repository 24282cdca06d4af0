// The results of an evaluation of several checkpoints on several data sets as a table.
#pragma once
#include "app/report/table.h"
#include "models/model.h"

namespace zoo::app {

// A row for each result: {"model", "data_name", "metrics", "published", "samples", "seconds"} or {..., "error"}. Beside each metric
// that some network's paper gives, a column "paper's ...". For people: rounded, figures at the top level only. `exact`: every
// figure (nested ones by their dotted path) in full precision, for CSV.
Table evaluation_table(const Json& results, bool exact);

}  // namespace zoo::app
