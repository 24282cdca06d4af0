// The figures that papers print, as networks' cards keep them:
//   "published": [{"data": "ETTh1", "metric": "mse", "value": 0.386, "setting": {"horizon": 96}}]
#pragma once
#include <string>

#include "models/model.h"

namespace zoo::app {

// The card's figures for a data set (a name or a file's stem, letter case does not count): {"mse": 0.386, "mae": 0.405}. Each key
// of a "setting" must have its value in the network's config; the names of the card's "series" table (horizon, lookback ...) stand
// for the config keys there.
Json published_figures(const Json& card, const Json& config, const std::string& data);

}  // namespace zoo::app
