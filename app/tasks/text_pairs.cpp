#include "app/tasks/text_pairs.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <optional>

#include "app/cli.h"
#include "data/csv.h"
#include "data/line_file.h"
#include "data/plain_lines.h"
#include "data/table_file.h"
#include "models/names.h"

namespace zoo::app {
namespace text_pairs_detail {

namespace fs = std::filesystem;
using Names = std::vector<std::string>;

const Names kSourceColumns{"source", "src", "input", "input_text", "text", "document", "article", "question", "buggy", "before", "code"};
const Names kTargetColumns{"target", "tgt", "output", "target_text", "label", "summary", "highlights", "answer", "fixed", "after", "docstring", "translation"};
const Names kTables{".tsv", ".csv", ".jsonl", ".tab"};

bool is_table(const fs::path& path) { return std::count(kTables.begin(), kTables.end(), path.extension().string()) > 0; }

struct Sides {
  std::string source, target;
};

// Option columns: "java,cs".
std::optional<Sides> wanted_sides(const Json& options) {
  const auto found = options.find("columns");
  if (found == options.end()) return std::nullopt;
  const std::string all = found->is_string() ? found->get<std::string>() : found->dump();
  const auto comma = all.find(',');
  if (comma == std::string::npos || comma == 0 || comma + 1 == all.size() || all.find(',', comma + 1) != std::string::npos)
    throw UsageError("columns is '" + all + "'; expected source,target");
  return Sides{all.substr(0, comma), all.substr(comma + 1)};
}

// ---- tables ----

std::optional<size_t> known_column(const Names& header, const Names& known) {
  for (const auto& name : known) {
    for (size_t i = 0; i < header.size(); ++i) {
      std::string lowered = header[i];
      for (char& c : lowered) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      if (lowered == name) return i;
    }
  }
  return std::nullopt;
}

// Columns that are asked for by number, or two that nothing names.
bool without_header(const fs::path& file, const std::optional<Sides>& wanted) {
  if (file.extension() == ".jsonl") return false;
  data::TableOptions first;
  first.header = data::TableOptions::Header::no;
  first.limit = 1;
  const auto table = data::read_table(file, first);
  if (table.rows.empty()) throw UsageError(file.string() + ": empty; lines with a source and a target are expected");
  const Names& line = table.rows.front();
  const auto numbers_it = [&](const std::string& name) { return data::parse_number(name) && !std::count(line.begin(), line.end(), name); };
  if (wanted) return numbers_it(wanted->source) && numbers_it(wanted->target);
  return line.size() == 2 && !(known_column(line, kSourceColumns) && known_column(line, kTargetColumns));
}

struct Places {
  size_t source = 0, target = 1;
};

Places places_in(const data::Table& table, const std::optional<Sides>& wanted) {
  if (wanted) return {table.column(wanted->source), table.column(wanted->target)};
  if (!table.has_header) return {};
  const auto source = known_column(table.columns, kSourceColumns), target = known_column(table.columns, kTargetColumns);
  if (!source || !target)
    throw UsageError(table.name + ": which columns are source and target? It has " + join(table.columns) + "; name two with --columns source,target");
  return {*source, *target};
}

TextPairs read_table_pairs(const fs::path& file, const Json& options, int64_t limit) {
  const auto wanted = wanted_sides(options);
  data::TableOptions how;
  how.limit = limit;
  if (without_header(file, wanted)) how.header = data::TableOptions::Header::no;
  TextPairs pairs;
  pairs.file = file.string();
  if (left_in_file(file, options)) {
    const auto table = std::make_shared<const data::TableFile>(file, how);
    pairs.in_file = TextRows(table->size(), /*paired=*/true, [table, places = places_in(table->head(), wanted)](int64_t index) {
      const auto row = table->row(index);
      return Names{row.at(places.source), row.at(places.target)};
    });
    return pairs;
  }
  auto table = data::read_table(file, how);
  const Places places = places_in(table, wanted);
  for (auto& row : table.rows) {
    pairs.targets.push_back(row[places.target]);
    pairs.sources.push_back(std::move(row[places.source]));
  }
  return pairs;
}

// ---- parallel files ----

// "test.java-cs.txt.java": base "test.java-cs.txt", side "java". "buggy.txt": base "", side "buggy".
struct Half {
  fs::path path;
  std::string base, side;
};

Half half_of(const fs::path& path) {
  std::string name = path.filename().string();
  for (const std::string_view ending : {".gz", ".txt"})
    if (name.size() > ending.size() && name.ends_with(ending)) name = name.substr(0, name.size() - ending.size());
  const auto dot = name.rfind('.');
  return dot == std::string::npos ? Half{path, "", name} : Half{path, name.substr(0, dot), name.substr(dot + 1)};
}

std::vector<Half> halves_in(const fs::path& folder) {
  std::vector<Half> halves;
  std::error_code error;
  for (const auto& item : fs::directory_iterator(folder.empty() ? fs::path(".") : folder, error))
    if (item.is_regular_file(error) && !is_table(item.path())) halves.push_back(half_of(item.path()));
  std::sort(halves.begin(), halves.end(), [](const Half& a, const Half& b) { return a.path < b.path; });
  return halves;
}

// The direction that a name tells: a part "java-cs" of the base.
std::optional<Sides> sides_in_name(const std::string& base) {
  for (size_t begin = 0, end = 0; begin <= base.size(); begin = end + 1) {
    end = std::min(base.find('.', begin), base.size());
    const std::string part = base.substr(begin, end - begin);
    const auto dash = part.find('-');
    if (dash != std::string::npos && dash > 0 && dash + 1 < part.size()) return Sides{part.substr(0, dash), part.substr(dash + 1)};
  }
  return std::nullopt;
}

void require_equal(const fs::path& source, int64_t sources, const fs::path& target, int64_t targets) {
  if (sources == targets) return;
  throw std::runtime_error(source.string() + " has " + std::to_string(sources) + " lines, " + target.string() + " " + std::to_string(targets) +
                           "; line n of one belongs to line n of the other");
}

// Packed files have no places to begin reading at: they are held.
TextPairs read_lines_of(const fs::path& source, const fs::path& target, const Json& options, int64_t limit) {
  TextPairs pairs;
  pairs.file = source.string();
  const bool packed = source.extension() == ".gz" || target.extension() == ".gz";
  if (!packed && (left_in_file(source, options) || left_in_file(target, options))) {
    const auto sources = std::make_shared<const data::LineFile>(source, /*skip_blank=*/false, limit), targets = std::make_shared<const data::LineFile>(target, false, limit);
    require_equal(source, sources->size(), target, targets->size());
    pairs.in_file = TextRows(sources->size(), /*paired=*/true, [sources, targets](int64_t index) { return Names{sources->line(index), targets->line(index)}; });
    return pairs;
  }
  pairs.sources = data::read_lines(source, limit);
  pairs.targets = data::read_lines(target, limit);
  require_equal(source, static_cast<int64_t>(pairs.sources.size()), target, static_cast<int64_t>(pairs.targets.size()));
  return pairs;
}

// Which side `one` is translated to, if that can be told.
std::optional<std::string> other_side(const Half& one, const Json& options) {
  for (const auto& sides : {wanted_sides(options), sides_in_name(one.base)}) {
    if (sides && sides->source == one.side) return sides->target;
    if (sides && sides->target == one.side) return sides->source;
  }
  return std::nullopt;
}

TextPairs read_file_pairs(const fs::path& file, const Json& options, int64_t limit) {
  if (const auto target = options.find("target"); target != options.end() && target->is_string())
    return read_lines_of(file, target->get<std::string>(), options, limit);
  const Half one = half_of(file);
  const auto side = other_side(one, options);
  std::vector<Half> others;
  for (const auto& half : halves_in(file.parent_path()))
    if (half.base == one.base && (side ? half.side == *side : half.side != one.side && half.base != "")) others.push_back(half);
  if (others.size() == 1) return read_lines_of(file, others.front().path, options, limit);
  throw UsageError(file.string() + ": which file holds the targets? Looked for " + (one.base.empty() ? "" : one.base + ".") + side.value_or("*") +
                   " beside it and found " + std::to_string(others.size()) + "; name it: --option target=FILE (or give a .tsv, .csv or .jsonl table)");
}

// ---- folders ----

Names split_names(const std::string& split) {
  if (split == "validation" || split == "dev" || split == "val" || split == "valid" || split == "eval") return {"validation", "valid", "val", "dev", "eval"};
  return {split};
}

// "test", "test.java-cs.txt", "test_2016_flickr": of split test.
bool of_split(const std::string& base, const std::string& split) {
  return base.starts_with(split) && (base.size() == split.size() || !std::isalnum(static_cast<unsigned char>(base[split.size()])));
}

// The files of one split in a folder, by base: those named after it, else those of a folder of its name.
std::map<std::string, std::vector<Half>> split_halves(const fs::path& folder, const std::string& split) {
  std::map<std::string, std::vector<Half>> found;
  for (const auto& half : halves_in(folder))
    if (of_split(half.base, split)) found[half.base].push_back(half);
  std::error_code error;
  if (!found.empty() || !fs::is_directory(folder / split, error)) return found;
  for (const auto& half : halves_in(folder / split))
    if (half.base.empty()) found[""].push_back(half);
  return found;
}

const Half* half_named(const std::vector<Half>& halves, const std::string& side) {
  const auto found = std::find_if(halves.begin(), halves.end(), [&](const Half& half) { return half.side == side; });
  return found == halves.end() ? nullptr : &*found;
}

std::optional<TextPairs> read_split(const fs::path& folder, const std::string& split, const Json& options, int64_t limit) {
  for (const auto& name : split_names(split)) {
    for (const auto& ending : kTables) {
      const auto file = folder / (name + ending);
      if (fs::is_regular_file(file)) return read_table_pairs(file, options, limit);
    }
    for (const auto& [base, halves] : split_halves(folder, name)) {
      const auto sides = wanted_sides(options) ? wanted_sides(options) : sides_in_name(base);
      if (!sides && halves.size() == 2)
        throw UsageError(folder.string() + ": " + halves[0].path.filename().string() + " and " + halves[1].path.filename().string() +
                         ": which is the source? --columns " + halves[0].side + "," + halves[1].side + " or the reverse");
      if (!sides) continue;
      const Half *source = half_named(halves, sides->source), *target = half_named(halves, sides->target);
      if (source && target) return read_lines_of(source->path, target->path, options, limit);
    }
  }
  return std::nullopt;
}

TextPairs read_folder_pairs(const fs::path& folder, const std::string& split, const Json& options, int64_t limit) {
  const Names splits = split.empty() ? Names{"test", "validation", "train"} : Names{split};
  for (const auto& name : splits) {
    auto pairs = read_split(folder, name, options, limit);
    if (!pairs) continue;
    pairs->split = name;
    return std::move(*pairs);
  }
  throw UsageError(folder.string() + ": no pairs for split " + join(splits) + "; looked for " + splits.front() + ".tsv, .csv, .jsonl, and for parallel files " +
                   splits.front() + "*.SOURCE and " + splits.front() + "*.TARGET (--columns SOURCE,TARGET)");
}

}  // namespace text_pairs_detail

TextPairs read_text_pairs(const std::filesystem::path& data, const std::string& split, const Json& options, int64_t limit) {
  namespace d = text_pairs_detail;
  std::error_code error;
  TextPairs pairs;
  if (std::filesystem::is_directory(data, error)) pairs = d::read_folder_pairs(data, split, options, limit);
  else if (!std::filesystem::is_regular_file(data, error)) throw UsageError(data.string() + ": no such file or folder");
  else if (d::is_table(data)) pairs = d::read_table_pairs(data, options, limit);
  else pairs = d::read_file_pairs(data, options, limit);
  if (pairs.size() == 0) throw UsageError(pairs.file + ": empty; texts in pairs are expected");
  return pairs;
}

}  // namespace zoo::app
