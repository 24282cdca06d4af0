// Entities in sequences of labels such as B-PER, I-PER, O.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace zoo::app {

struct Entity {
  std::string type;
  int64_t first, last;  // indices of its first and last label
  auto operator<=>(const Entity&) const = default;
};

// The chunks of seqeval.metrics.sequence_labeling.get_entities (seqeval 1.2.2, the rules of conlleval):
// prefixes B, I, E, S before the type; an I- without a fitting predecessor opens a chunk.
std::vector<Entity> entities_of(const std::vector<std::string>& labels);

// True when some label has a prefix B-, I-, E- or S-: only then do entities mean anything.
bool are_entity_labels(const std::vector<std::string>& labels);

// Exact matches of type and extent, over any number of sentences; figures as in seqeval with zero_division=0.
class EntityScores {
 public:
  void add(const std::vector<std::string>& truth, const std::vector<std::string>& prediction);

  struct Counts {
    int64_t right = 0, predicted = 0, truths = 0;
    double precision() const;
    double recall() const;
    double f1() const;
  };
  Counts total() const;
  const std::map<std::string, Counts>& types() const { return types_; }
  double macro_f1() const;

 private:
  std::map<std::string, Counts> types_;
};

// A label's prefix ("B" or "I") and type, as transformers' token-classification pipeline reads it: without B-
// or I- the whole label is the type and continues its predecessor.
struct GroupTag {
  bool begins;
  std::string type;
};
GroupTag group_tag(const std::string& label);

}  // namespace zoo::app
