#include "models/names.h"

#include <algorithm>
#include <cctype>
#include <numeric>

namespace zoo {
namespace {

size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const bool same = std::tolower(static_cast<unsigned char>(a[i - 1])) == std::tolower(static_cast<unsigned char>(b[j - 1]));
      const size_t replaced = diagonal + (same ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

}  // namespace

std::vector<std::string> nearest(const std::string& name, const std::vector<std::string>& candidates, size_t count) {
  const std::string start = name.substr(0, 200);  // a hostile file may hold a name of megabytes
  std::vector<std::pair<size_t, std::string>> scored;
  for (const auto& candidate : candidates) scored.emplace_back(edit_distance(start, candidate), candidate);
  std::sort(scored.begin(), scored.end());
  std::vector<std::string> best;
  for (size_t i = 0; i < std::min(count, scored.size()); ++i) best.push_back(scored[i].second);
  return best;
}

std::string join(const std::vector<std::string>& words, const std::string& separator) {
  std::string text;
  for (size_t i = 0; i < words.size(); ++i) text += (i ? separator : "") + words[i];
  return text;
}

}  // namespace zoo
