// Values of a task's options, which come from a recipe (numbers, true, false) or from the command line (their texts).
#pragma once
#include <cstdint>

#include "app/tasks/task.h"

namespace zoo::app {

// A whole number of at least 1. Throws UsageError for anything else.
int64_t count_option(const Json& options, const char* key, int64_t fallback);

// true or false, as such or in words. Throws UsageError for anything else.
bool flag_option(const Json& options, const char* key, bool fallback);

}  // namespace zoo::app
