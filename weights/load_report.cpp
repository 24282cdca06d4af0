#include <utility>

#include "weights/loader.h"
#include "weights/mapped_tensor.h"
#include "weights/merge_names.h"

namespace zoo::weights {

namespace report_detail {

std::string section(const std::string& title, const std::vector<std::string>& names,
                    const std::string& meaning) {
  if (names.empty()) return "";
  return "\n  " + title + " (" + std::to_string(names.size()) + "): " + meaning + "\n" +
         merged_lines(names, "    ");
}

// Layers of one shape pair on one line: "layer.{0..11}.weight (12): [4, 8] in the file, [2, 8] in the model".
std::string mismatched_section(const std::vector<LoadReport::Mismatch>& mismatched) {
  if (mismatched.empty()) return "";
  std::vector<std::string> keys;
  for (const auto& item : mismatched) keys.push_back(item.key);
  auto shapes = [&](size_t i) {
    return shape_text(mismatched[i].in_file) + " in the file, " + shape_text(mismatched[i].in_model) +
           " in the model";
  };
  std::string text = "\n  wrong shape (" + std::to_string(keys.size()) +
                     "): --reinit-head keeps the model's fresh values instead";
  for (const MergedName& merged : merge_names(keys, shapes)) {
    text += "\n    " + merged.pattern;
    if (merged.members.size() > 1) text += " (" + std::to_string(merged.members.size()) + ")";
    text += ": " + shapes(merged.members.front());
  }
  return text;
}

}  // namespace report_detail

LoadError::LoadError(LoadReport full_report)
    : std::runtime_error("the weights do not fit the model\n" + full_report.text()),
      report(std::move(full_report)) {}

bool LoadReport::ok(const LoadOptions& options) const {
  return (missing.empty() || options.allow_missing) &&
         ((unexpected.empty() && tied_differ.empty()) || options.allow_unexpected) &&
         (mismatched.empty() || options.reinit_mismatched);
}

std::string LoadReport::text() const {
  using report_detail::section;
  std::string text =
      source + ": " + std::to_string(loaded) + " of the model's " + std::to_string(total) + " tensors found";
  if (!layout.empty()) text += "; layout " + layout;
  if (prefix_added) text += "; the file holds the base model alone, \"" + prefix + ".\" put before its names";
  if (prefix_stripped) text += "; \"" + prefix + ".\" taken off the file's names";
  text += section(
      "missing", missing,
      "in the model, not in the file; --allow-missing keeps the model's fresh values (a head to be trained)");
  text +=
      section("unexpected", unexpected, "in the file, not in the model; --allow-unexpected leaves them out");
  text += section("tied but different", tied_differ,
                  "one tensor in the model, two in the file; --allow-unexpected leaves the first name out");
  text += report_detail::mismatched_section(mismatched);
  text += section("resized", adapted, "made to fit the model's shape");
  text += section("tied", tied, "one tensor under two names");
  text += section("ignored", ignored, "left out on purpose, by the layout");
  return text;
}

nlohmann::json LoadReport::json() const {
  nlohmann::json shapes = nlohmann::json::array();
  for (const Mismatch& item : mismatched) {
    shapes.push_back({{"key", item.key}, {"in_file", item.in_file}, {"in_model", item.in_model}});
  }
  return {{"source", source},           {"loaded", loaded},     {"total", total},
          {"missing", missing},         {"unexpected", unexpected}, {"mismatched", shapes},
          {"ignored", ignored},         {"adapted", adapted},   {"tied", tied},
          {"tied_differ", tied_differ}, {"layout", layout},     {"prefix_added", prefix_added},
          {"prefix_stripped", prefix_stripped}};
}

}  // namespace zoo::weights
