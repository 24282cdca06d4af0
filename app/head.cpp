#include "app/head.h"

#include "models/registry.h"

namespace zoo::app {
namespace head_detail {

bool starts_with(const std::string& text, const std::string& start) { return text.compare(0, start.size(), start) == 0; }

}  // namespace head_detail

std::vector<std::string> configured_labels(const Json& config) {
  const auto table = config.find("id2label");
  if (table == config.end() || table->is_null()) return {};
  if (!table->is_object()) throw std::invalid_argument("config key 'id2label' is not an object of id -> class name");
  std::vector<std::string> labels(table->size());
  std::vector<bool> seen(table->size());
  for (const auto& [id, name] : table->items()) {
    const bool digits = !id.empty() && id.size() < 10 && id.find_first_not_of("0123456789") == std::string::npos;
    if (!digits || std::stoull(id) >= labels.size() || seen[std::stoull(id)] || !name.is_string()) {
      throw std::invalid_argument("config key 'id2label': entry \"" + id.substr(0, 80) + "\" is wrong; expected the ids 0 to " +
                                  std::to_string(labels.size() - 1) + ", each with a name");
    }
    seen[std::stoull(id)] = true;
    labels[std::stoull(id)] = name.get<std::string>();
  }
  return labels;
}

void put_labels(Json& config, const std::vector<std::string>& labels) {
  Json id2label = Json::object(), label2id = Json::object();
  for (size_t i = 0; i < labels.size(); ++i) {
    id2label[std::to_string(i)] = labels[i];
    label2id[labels[i]] = i;
  }
  config["id2label"] = id2label;
  config["label2id"] = label2id;
  for (const char* key : {"num_labels", "num_classes"}) {
    if (config.contains(key)) config[key] = labels.size();
  }
}

std::vector<std::string> numbered_labels(int64_t count) {
  std::vector<std::string> labels;
  for (int64_t i = 0; i < count; ++i) labels.push_back("LABEL_" + std::to_string(i));
  return labels;
}

std::vector<std::string> head_prefixes(const Entry& entry) {
  return card(entry.name).value("head", Json::array()).get<std::vector<std::string>>();
}

bool in_head(const Entry& entry, const Json& config, const Model& model, const std::string& key) {
  for (const auto& prefix : head_prefixes(entry)) {
    if (head_detail::starts_with(key, prefix)) return true;
  }
  const std::string base = base_prefix_of(entry, config);
  if (base.empty()) return false;
  if (head_detail::starts_with(key, "pooler.") || head_detail::starts_with(key, base + ".pooler.")) return true;
  return model.named_children().contains(base) && !head_detail::starts_with(key, base + ".");
}

bool tells_classes(const std::string& task) { return task.ends_with("classification"); }

int64_t head_classes(const Entry& entry, const Model& model) {
  // By prefix first: a head of several layers names the one with a row per class before the others.
  for (const auto& prefix : head_prefixes(entry)) {
    for (const auto& item : model.named_parameters()) {
      if (head_detail::starts_with(item.key(), prefix) && item.value().dim() >= 1) return item.value().size(0);
    }
  }
  return 0;
}

}  // namespace zoo::app
