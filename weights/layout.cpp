#include "weights/layout.h"

#include <algorithm>
#include <set>
#include <stdexcept>

#include "weights/mapped_tensor.h"

namespace zoo::weights {

namespace layout_detail {

using nlohmann::json;

const std::set<std::string> kFields{"name", "detect", "rename", "transpose", "split", "ignore", "tie"};

// Reads one table; every complaint begins with the layout's name.
class Parser {
 public:
  explicit Parser(const json& table) : table_(table) {
    if (!table.is_object())
      throw std::invalid_argument("a layout must be a JSON object, not " + std::string(table.type_name()));
    if (table.contains("name") && table["name"].is_string()) name_ = table["name"];
  }

  Layout parse() const {
    check_fields();
    Layout layout;
    layout.name = text(table_.at("name"), "name");
    layout.detect = pattern(table_.at("detect"), "detect");
    for (const json& row : rows("rename")) {
      check_pair(row, "rename");
      layout.rename.emplace_back(pattern(row[0], "rename"), text(row[1], "rename"));
    }
    for (const json& row : rows("transpose")) layout.transpose.push_back(pattern(row, "transpose"));
    for (const json& row : rows("split")) layout.split.push_back(split(row));
    for (const json& row : rows("ignore")) layout.ignore.push_back(pattern(row, "ignore"));
    for (const json& row : rows("tie")) {
      check_pair(row, "tie");
      layout.tie.emplace_back(text(row[0], "tie"), text(row[1], "tie"));
    }
    return layout;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw std::invalid_argument("layout \"" + name_ + "\": " + what);
  }
  void check_fields() const {
    std::string known;
    for (const std::string& field : kFields) known += (known.empty() ? "" : ", ") + field;
    for (const auto& [field, value] : table_.items()) {
      if (!kFields.count(field)) fail("unknown field \"" + field + "\" (known: " + known + ")");
    }
    if (!table_.contains("name") || !table_.contains("detect")) fail("needs \"name\" and \"detect\"");
  }
  json rows(const char* field) const {
    if (!table_.contains(field)) return json::array();
    if (!table_[field].is_array())
      fail(std::string(field) + " must be a list, not " + table_[field].type_name());
    return table_[field];
  }
  void check_pair(const json& row, const char* field) const {
    if (!row.is_array() || row.size() != 2)
      fail(std::string(field) + " rows must be pairs; got " + row.dump());
  }
  std::string text(const json& value, const char* field) const {
    if (!value.is_string()) fail(std::string(field) + " needs text; got " + value.dump());
    return value;
  }
  Layout::Pattern pattern(const json& value, const char* field) const {
    const std::string source = text(value, field);
    try {
      return {source, std::regex(source, std::regex::ECMAScript | std::regex::optimize)};
    } catch (const std::regex_error& error) {
      fail(std::string(field) + ": \"" + source + "\" is not a regular expression: " + error.what());
    }
  }
  Layout::Split split(const json& row) const {
    check_pair(row, "split");
    Layout::Split result{pattern(row[0], "split"), {}};
    if (!row[1].is_array() || row[1].size() < 2)
      fail("split needs a list of at least two names; got " + row[1].dump());
    for (const json& part : row[1]) result.parts.push_back(text(part, "split"));
    return result;
  }

  const json& table_;
  std::string name_ = "(unnamed)";
};

bool any_found(const std::vector<Layout::Pattern>& patterns, const std::string& key) {
  return std::any_of(patterns.begin(), patterns.end(),
                     [&](const auto& pattern) { return pattern.found_in(key); });
}

const Layout::Split* find_split(const Layout& layout, const std::string& key) {
  for (const Layout::Split& split : layout.split) {
    if (split.fused.found_in(key)) return &split;
  }
  return nullptr;
}

void apply(const Layout& layout, MappedKeys& keys) {
  std::vector<Piece> pieces;
  for (Piece piece : keys.pieces) {
    if (layout.ignored(piece.key)) {
      keys.ignored.push_back(piece.source);
      continue;
    }
    piece.key = layout.map_key(piece.key);
    const bool turned = any_found(layout.transpose, piece.key);
    const Layout::Split* split = find_split(layout, piece.key);
    if ((turned || split) && piece.parts > 1) {
      throw std::runtime_error("layout \"" + layout.name + "\": " + piece.key +
                               " was split by a layout before it");
    }
    piece.transpose = piece.transpose != turned;
    if (!split) {
      pieces.push_back(piece);
      continue;
    }
    const std::string fused = piece.key;
    piece.parts = static_cast<int64_t>(split->parts.size());
    for (piece.part = 0; piece.part < piece.parts; ++piece.part) {
      piece.key =
          std::regex_replace(fused, split->fused.regex, split->parts[static_cast<size_t>(piece.part)]);
      pieces.push_back(piece);
    }
  }
  keys.pieces = std::move(pieces);
  keys.tie.insert(keys.tie.end(), layout.tie.begin(), layout.tie.end());
  keys.layout += (keys.layout.empty() ? "" : " + ") + layout.name;
}

}  // namespace layout_detail

bool Layout::Pattern::found_in(const std::string& key) const { return std::regex_search(key, regex); }

Layout Layout::from_json(const nlohmann::json& json) { return layout_detail::Parser(json).parse(); }

bool Layout::ignored(const std::string& key) const { return layout_detail::any_found(ignore, key); }

std::string Layout::map_key(const std::string& key) const {
  std::string result = key;
  for (const auto& [pattern, replacement] : rename)
    result = std::regex_replace(result, pattern.regex, replacement);
  return result;
}

std::vector<int64_t> Piece::shape(const std::vector<int64_t>& in_file) const {
  std::vector<int64_t> result = in_file;
  if (transpose) {
    if (result.size() != 2)
      throw std::runtime_error(source + ": is " + shape_text(in_file) + "; only a matrix can be transposed");
    std::swap(result[0], result[1]);
  }
  if (parts == 1) return result;
  if (result.empty() || result[0] % parts != 0) {
    throw std::runtime_error(source + ": is " + shape_text(in_file) + " and cannot be split into " +
                             std::to_string(parts) + " equal parts");
  }
  result[0] /= parts;
  return result;
}

at::Tensor Piece::get(const Checkpoint& checkpoint) const {
  at::Tensor tensor = checkpoint.get(source);
  const std::vector<int64_t> wanted = shape(tensor.sizes().vec());
  if (transpose) tensor = tensor.t();
  if (parts > 1) tensor = tensor.narrow(0, part * wanted[0], wanted[0]);
  return tensor.contiguous();
}

MappedKeys map_keys(const Checkpoint& checkpoint, const std::vector<Layout>& layouts) {
  MappedKeys keys;
  for (const TensorInfo& info : checkpoint.tensors()) keys.pieces.push_back({info.name, info.name});
  for (const Layout& layout : layouts) {
    const bool detected = std::any_of(keys.pieces.begin(), keys.pieces.end(),
                                      [&](const Piece& piece) { return layout.detect.found_in(piece.key); });
    if (detected) layout_detail::apply(layout, keys);
  }
  return keys;
}

}  // namespace zoo::weights
