#include "app/tasks/entities.h"

#include <algorithm>

namespace zoo::app {
namespace entities_detail {

struct Tag {
  char prefix = 'O';
  std::string type;
};

// "B-PER" -> B, PER; "O" -> O, "_".
Tag parse(const std::string& label) {
  if (label.empty()) return {'O', "_"};
  std::string type = label.substr(1);
  if (const size_t dash = type.find('-'); dash != std::string::npos) type = type.substr(dash + 1);
  return {label[0], type.empty() ? "_" : type};
}

bool among(char c, const char* set) { return std::string(set).find(c) != std::string::npos; }

bool ends(const Tag& before, const Tag& now) {
  if (among(before.prefix, "ES")) return true;
  if (among(before.prefix, "BI") && among(now.prefix, "BSO")) return true;
  return !among(before.prefix, "O.") && before.type != now.type;
}

bool starts(const Tag& before, const Tag& now) {
  if (among(now.prefix, "BS")) return true;
  if (among(before.prefix, "ESO") && among(now.prefix, "EI")) return true;
  return !among(now.prefix, "O.") && before.type != now.type;
}

double share(int64_t part, int64_t whole) {
  return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace entities_detail

std::vector<Entity> entities_of(const std::vector<std::string>& labels) {
  using namespace entities_detail;
  std::vector<Entity> found;
  Tag before{'O', ""};
  int64_t first = 0;
  for (size_t i = 0; i <= labels.size(); ++i) {
    const Tag now = i < labels.size() ? parse(labels[i]) : Tag{'O', "_"};
    if (ends(before, now)) found.push_back({before.type, first, static_cast<int64_t>(i) - 1});
    if (starts(before, now)) first = static_cast<int64_t>(i);
    before = now;
  }
  return found;
}

bool are_entity_labels(const std::vector<std::string>& labels) {
  return std::any_of(labels.begin(), labels.end(), [](const std::string& label) {
    return label.size() > 2 && label[1] == '-' && entities_detail::among(label[0], "BIES");
  });
}

double EntityScores::Counts::precision() const { return entities_detail::share(right, predicted); }
double EntityScores::Counts::recall() const { return entities_detail::share(right, truths); }
double EntityScores::Counts::f1() const { return entities_detail::share(2 * right, predicted + truths); }

void EntityScores::add(const std::vector<std::string>& truth, const std::vector<std::string>& prediction) {
  const auto expected = entities_of(truth), found = entities_of(prediction);
  for (const Entity& entity : expected) ++types_[entity.type].truths;
  for (const Entity& entity : found) {
    ++types_[entity.type].predicted;
    types_[entity.type].right += std::count(expected.begin(), expected.end(), entity) > 0;
  }
}

EntityScores::Counts EntityScores::total() const {
  Counts sum;
  for (const auto& [type, counts] : types_) {
    sum.right += counts.right;
    sum.predicted += counts.predicted;
    sum.truths += counts.truths;
  }
  return sum;
}

double EntityScores::macro_f1() const {
  double sum = 0;
  for (const auto& [type, counts] : types_) sum += counts.f1();
  return types_.empty() ? 0.0 : sum / static_cast<double>(types_.size());
}

GroupTag group_tag(const std::string& label) {
  if (label.starts_with("B-")) return {true, label.substr(2)};
  if (label.starts_with("I-")) return {false, label.substr(2)};
  return {false, label};
}

}  // namespace zoo::app
