// Declarative tables that map a foreign checkpoint layout to a model's own keys.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <regex>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "weights/checkpoint.h"

namespace zoo::weights {

// One published layout, read from a model's JSON card:
//
//   {"name": "tf-names", "detect": "LayerNorm\\.gamma$",
//    "rename": [["\\.gamma$", ".weight"], ["\\.beta$", ".bias"]],
//    "transpose": ["\\.c_attn\\.weight$"],
//    "split": [["^(.*)\\.c_attn\\.(weight|bias)$", ["$1.q.$2", "$1.k.$2", "$1.v.$2"]]],
//    "ignore": ["\\.attn\\.bias$"], "tie": [["lm_head.weight", "wte.weight"]]}
//
// Patterns are ECMAScript regular expressions that may match anywhere in a key. `detect` and `ignore` look at
// keys of the file; all `rename` rows apply one after the other; `transpose` (matrices only) and then `split`
// (dimension 0 into equal parts) look at the renamed key. `tie` gives [alias, key] in the model's names: the
// file need not hold the alias. By convention a table has at most 8 rows.
struct Layout {
  struct Pattern {
    std::string text;
    std::regex regex;
    bool found_in(const std::string& key) const;
  };
  struct Split {
    Pattern fused;
    std::vector<std::string> parts;  // replacement texts, $1 ... stand for groups of the pattern
  };

  std::string name;
  Pattern detect;
  std::vector<std::pair<Pattern, std::string>> rename;
  std::vector<Pattern> transpose;
  std::vector<Split> split;
  std::vector<Pattern> ignore;
  std::vector<std::pair<std::string, std::string>> tie;  // alias, key

  // Throws std::invalid_argument for unknown fields (naming the known ones), wrong types and bad regular
  // expressions.
  static Layout from_json(const nlohmann::json& json);

  bool ignored(const std::string& key) const;
  std::string map_key(const std::string& key) const;  // the rename rows alone
};

// One tensor of a model, told by where it comes from in the file.
struct Piece {
  std::string key;     // the model's name
  std::string source;  // the file's name
  bool transpose = false;
  int64_t part = 0, parts = 1;  // of dimension 0, after the transposition

  // Of the piece, given the file's shape; throws when that cannot be split or transposed.
  std::vector<int64_t> shape(const std::vector<int64_t>& in_file) const;
  at::Tensor get(const Checkpoint& checkpoint) const;  // no copy, except to transpose
};

// A checkpoint seen through layouts.
struct MappedKeys {
  std::vector<Piece> pieces;           // in file order
  std::vector<std::string> ignored;    // keys of the file
  std::vector<std::pair<std::string, std::string>> tie;
  std::string layout;  // names of the layouts that applied, joined by " + "; empty when none did
};

// Applies every layout whose `detect` finds a key, in the order given; each sees the keys that the one before
// produced.
MappedKeys map_keys(const Checkpoint& checkpoint, const std::vector<Layout>& layouts);

}  // namespace zoo::weights
