// `zoo run` on a series: the steps after a file's end, or forecasts from past moments beside what came.
#pragma once
#include "app/tasks/task.h"

namespace zoo::app {

// Writes options.out (CSV, or JSON by its ending or --format) with a plot beside it (the same name, .svg), or prints.
// Options: backtest=N (N forecasts from past moments, `stride` steps apart: by default the horizon), future=FILE (known
// columns of the steps to come), and those of reading: date_column, sort, missing, gaps, delimiter.
// Throws UsageError for a network that was never trained on series, other columns, too few rows, files that are there.
Json run_forecast(Bundle& bundle, const RunOptions& options);

}  // namespace zoo::app
