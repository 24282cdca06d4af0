// Options that several verbs read the same way.
#pragma once
#include <string>
#include <vector>

#include "models/model.h"

namespace zoo::app {

// "key=value" words to a JSON object: values that are JSON (numbers, true, "text", [1, 2]) are taken as such, all others as
// text. Dashes in keys become underscores. Throws UsageError for a word without "=" and for a key given twice.
Json parse_assignments(const std::vector<std::string>& words);

}  // namespace zoo::app
