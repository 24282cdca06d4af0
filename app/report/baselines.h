// The naive forecasts beside a network's figures.
#pragma once
#include <string>

#include "models/model.h"

namespace zoo::app {

// Of a task's metrics with "naive": {"last": {...}, "seasonal": {"season", ...}} a table: each figure, the network's, the last value's,
// the season's. Empty where there is none.
std::string baselines_text(const Json& metrics);

}  // namespace zoo::app
