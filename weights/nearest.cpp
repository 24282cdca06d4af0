#include "weights/nearest.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace zoo::weights {

namespace nearest_detail {

size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

}  // namespace nearest_detail

std::string nearest_names(const std::string& name, const std::vector<std::string>& candidates) {
  std::vector<std::pair<size_t, const std::string*>> ranked;
  const std::string shortened = name.substr(0, 256);
  for (const std::string& candidate : candidates) {
    ranked.emplace_back(nearest_detail::edit_distance(shortened, candidate), &candidate);
  }
  const size_t count = std::min<size_t>(3, ranked.size());
  std::partial_sort(ranked.begin(), ranked.begin() + count, ranked.end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first < b.first : *a.second < *b.second;
  });
  std::string text;
  for (size_t i = 0; i < count; ++i) text += (i ? ", " : "; nearest: ") + *ranked[i].second;
  return text;
}

}  // namespace zoo::weights
