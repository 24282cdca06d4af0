// The head of a network: its class names in config.json, and which of its tensors belong to it.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "models/model.h"

namespace zoo::app {

// Names by id from "id2label", empty when there are none. Throws std::invalid_argument unless the ids are 0 .. n-1.
std::vector<std::string> configured_labels(const Json& config);
// Writes "id2label" and "label2id", and keeps "num_labels" or "num_classes", where the config has them, in step.
void put_labels(Json& config, const std::vector<std::string>& labels);
// "LABEL_0" ... as transformers names classes that have no names.
std::vector<std::string> numbered_labels(int64_t count);

// What the card says a head's keys begin with, e.g. "classifier.".
std::vector<std::string> head_prefixes(const Entry& entry);
// The head is what the card names, the pooler that feeds it, and in a model that holds its base model under a prefix
// everything outside that prefix.
bool in_head(const Entry& entry, const Json& config, const Model& model, const std::string& key);
// Whether the head of a network for this task has one output per class ("text_classification", not "forecasting").
bool tells_classes(const std::string& task);
// How many classes the head tells apart; 0 for a network without such a head.
int64_t head_classes(const Entry& entry, const Model& model);

}  // namespace zoo::app
