// Repeated layers as one line: encoder.layer.{0..11}.output.dense.weight stands for twelve names.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace zoo::weights {

struct MergedName {
  std::string pattern;
  std::vector<size_t> members;  // indices into the names given, in their order
};

// Merges names that differ only in whole numeric components ("a.0.b", "a.1.b"), when every combination of the
// numbers is there; order of first appearance. Names merge only where `kind` agrees (a shape or a dtype, say;
// by default everything does), so a table can show one line for each group.
std::vector<MergedName> merge_names(const std::vector<std::string>& names,
                                    const std::function<std::string(size_t)>& kind = nullptr);

// The patterns with counts, "a.{0..3}.b (4)", joined by line breaks after `indent`.
std::string merged_lines(const std::vector<std::string>& names, const std::string& indent);

}  // namespace zoo::weights
