// Values of a task's options, which come from a recipe (numbers, true, false) or from the command line (their texts).
#pragma once
#include <cstdint>
#include <string>

#include "app/tasks/task.h"

namespace zoo::app {

// A whole number of at least 1. Throws UsageError for anything else.
int64_t count_option(const Json& options, const char* key, int64_t fallback);

// A number of these bounds. Throws UsageError for anything else.
double number_option(const Json& options, const char* key, double fallback, double least, double most);

// A text; a number, true or false as it would be written, since the command line reads 2024 as a number. Throws UsageError for lists and objects.
std::string text_option(const Json& options, const char* key, const std::string& fallback = "");

// true or false, as such or in words ("1" and "0" on the command line; numbers are none). Throws UsageError for anything else.
bool flag_option(const Json& options, const char* key, bool fallback);

}  // namespace zoo::app
