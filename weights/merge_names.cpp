#include "weights/merge_names.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <utility>

namespace zoo::weights {

namespace merge_detail {

using Numbers = std::vector<uint64_t>;

// A name cut at its dots; numeric components are replaced by a hole and their values kept.
struct Parsed {
  size_t index;
  std::vector<std::string> components;  // empty text: a hole
  Numbers numbers;
};

bool is_number(const std::string& text) {
  return !text.empty() && text.size() <= 9 && (text.size() == 1 || text[0] != '0') &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

Parsed parse(const std::string& name, size_t index) {
  Parsed parsed{index, {}, {}};
  size_t begin = 0;
  while (begin <= name.size()) {
    const size_t end = std::min(name.find('.', begin), name.size());
    const std::string component = name.substr(begin, end - begin);
    if (is_number(component)) parsed.numbers.push_back(std::stoull(component));
    parsed.components.push_back(is_number(component) ? "" : component + (component.empty() ? "." : ""));
    begin = end + 1;
  }
  return parsed;
}

// {3, 4, 5, 8} -> "{3..5,8}"; a single number stays as it is.
std::string ranges(const std::set<uint64_t>& numbers) {
  if (numbers.size() == 1) return std::to_string(*numbers.begin());
  std::string text;
  for (auto it = numbers.begin(); it != numbers.end();) {
    const uint64_t first = *it;
    uint64_t last = first;
    while (++it != numbers.end() && *it == last + 1) last = *it;
    text += (text.empty() ? "" : ",") + std::to_string(first);
    if (last > first) text += (last > first + 1 ? ".." : ",") + std::to_string(last);
  }
  return "{" + text + "}";
}

std::string fill_holes(const Parsed& example, const std::vector<std::set<uint64_t>>& values) {
  std::string text;
  size_t hole = 0;
  for (size_t i = 0; i < example.components.size(); ++i) {
    const std::string& component = example.components[i];
    text += i ? "." : "";
    if (component.empty()) text += ranges(values[hole++]);
    else if (component != ".") text += component;  // "." marks an empty component
  }
  return text;
}

// One line when the group is a full grid of its numbers, else one group for each value of the first number
// that varies.
void emit(const std::vector<const Parsed*>& group, std::vector<MergedName>& result) {
  const size_t holes = group.front()->numbers.size();
  std::vector<std::set<uint64_t>> values(holes);
  for (const Parsed* parsed : group) {
    for (size_t i = 0; i < holes; ++i) values[i].insert(parsed->numbers[i]);
  }
  size_t grid = 1;
  for (const auto& set : values) grid = std::min<size_t>(grid * set.size(), SIZE_MAX >> 32);
  if (grid == group.size() || holes == 0) {
    MergedName merged{fill_holes(*group.front(), values), {}};
    for (const Parsed* parsed : group) merged.members.push_back(parsed->index);
    result.push_back(std::move(merged));
    return;
  }
  size_t varying = 0;
  while (values[varying].size() == 1) ++varying;
  std::map<uint64_t, std::vector<const Parsed*>> parts;
  for (const Parsed* parsed : group) parts[parsed->numbers[varying]].push_back(parsed);
  for (const auto& [number, part] : parts) emit(part, result);
}

}  // namespace merge_detail

std::vector<MergedName> merge_names(const std::vector<std::string>& names,
                                    const std::function<std::string(size_t)>& kind) {
  using namespace merge_detail;
  std::vector<Parsed> parsed;
  for (size_t i = 0; i < names.size(); ++i) parsed.push_back(parse(names[i], i));
  std::map<std::pair<std::vector<std::string>, std::string>, std::vector<const Parsed*>> groups;
  std::set<std::string> seen;  // a name given twice would make a grid look full that is not
  std::vector<MergedName> result;
  for (size_t i = 0; i < names.size(); ++i) {
    if (seen.insert(names[i]).second)
      groups[{parsed[i].components, kind ? kind(i) : ""}].push_back(&parsed[i]);
    else result.push_back({names[i], {i}});
  }
  for (const auto& [key, group] : groups) emit(group, result);
  std::stable_sort(result.begin(), result.end(),
                   [](const auto& a, const auto& b) { return a.members.front() < b.members.front(); });
  return result;
}

std::string merged_lines(const std::vector<std::string>& names, const std::string& indent) {
  std::string text;
  for (const MergedName& merged : merge_names(names)) {
    text += (text.empty() ? "" : "\n") + indent + merged.pattern;
    if (merged.members.size() > 1) text += " (" + std::to_string(merged.members.size()) + ")";
  }
  return text;
}

}  // namespace zoo::weights
