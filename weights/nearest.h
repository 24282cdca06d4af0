// Suggestions for misspelt names.
#pragma once

#include <string>
#include <vector>

namespace zoo::weights {

// "; nearest: a, b, c" with up to three of the candidates by edit distance, empty when there are no
// candidates.
std::string nearest_names(const std::string& name, const std::vector<std::string>& candidates);

}  // namespace zoo::weights
