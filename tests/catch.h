// Catch2 2 (Debian 12) and 3 (Ubuntu 24.04) under one name.
#pragma once
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;
using Catch::Matchers::ContainsSubstring;
#else
#include <catch2/catch.hpp>
inline auto ContainsSubstring(const std::string& part) { return Catch::Matchers::Contains(part); }
#endif

// Leaves a test, and says so, where the machine or the build lacks something. `what` may be a chain of <<.
#define NEEDS(condition, what)          \
  do {                                  \
    if (condition) break;               \
    WARN("SKIPPED: needs " << what);    \
    return;                             \
  } while (false)
