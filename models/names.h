// Nearest names, for error messages: "unknown network 'brt'; did you mean bert, vit, cct?"
#pragma once
#include <string>
#include <vector>

namespace zoo {

// Up to `count` of `candidates`, by edit distance to `name`, best first.
std::vector<std::string> nearest(const std::string& name, const std::vector<std::string>& candidates, size_t count = 3);
// "a, b, c"
std::string join(const std::vector<std::string>& words, const std::string& separator = ", ");

}  // namespace zoo
