#include "app/tasks/labelled_text.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cctype>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

#include "app/cli.h"
#include "data/csv.h"
#include "data/jsonl.h"
#include "data/line_file.h"
#include "data/table_file.h"
#include "data/text_lines.h"
#include "models/names.h"

namespace zoo::app {
namespace labelled_text_detail {

using Names = std::vector<std::string>;
const Names kTextColumns{"sentence", "text", "sentence1", "text1", "premise", "question", "func", "func1", "code", "code1"};
const Names kPairColumns{"sentence2", "text2", "text_pair", "hypothesis", "answer", "func2", "code2"};
const Names kLabelColumns{"label", "labels", "class", "category", "target"};

std::string lowered(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

Names split_names(const std::string& split) {
  if (split == "validation" || split == "dev" || split == "val") return {"validation", "dev", "val", "valid"};
  return {split};
}

std::optional<std::filesystem::path> find_split(const std::filesystem::path& folder, const std::string& split,
                                                const Names& extensions) {
  for (const auto& name : split_names(split))
    for (const auto& extension : extensions)
      if (auto file = folder / (name + extension); std::filesystem::is_regular_file(file)) return file;
  return std::nullopt;
}

// Names of the files with one of the extensions, sorted.
Names files_in(const std::filesystem::path& folder, const Names& extensions) {
  Names files;
  for (const auto& item : std::filesystem::directory_iterator(folder))
    if (std::count(extensions.begin(), extensions.end(), item.path().extension().string()))
      files.push_back(item.path().filename().string());
  std::sort(files.begin(), files.end());
  return files;
}

std::string first_few(const Names& names) {
  constexpr size_t kShown = 8;
  return join({names.begin(), names.begin() + std::min(names.size(), kShown)}) +
         (names.size() > kShown ? " ..." : "");
}

std::optional<size_t> find_any(const Names& header, const Names& known) {
  for (const auto& name : known)
    for (size_t i = 0; i < header.size(); ++i)
      if (lowered(header[i]) == name) return i;
  return std::nullopt;
}

std::string option_text(const Json& options, const char* key) {
  if (!options.is_object() || !options.contains(key) || options.at(key).is_null()) return "";
  const Json& value = options.at(key);
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_integer()) return value.dump();
  throw UsageError(std::string(key) + " is " + value.dump() + "; a column name was expected");
}

// A first line is a header when it holds a known or wanted column name, or when its last field, where the
// label stands in files without a header, is no other line's label though labels recur.
bool looks_like_header(const data::Table& table, const Names& wanted) {
  const Names& first = table.rows.front();
  for (const Names* known : {&kTextColumns, &kLabelColumns, &wanted})
    if (find_any(first, *known)) return true;
  constexpr size_t kRecur = 4;  // times, on average
  std::set<std::string> others;
  for (size_t i = 1; i < table.rows.size(); ++i) others.insert(table.rows[i].back());
  return !others.empty() && others.count(first.back()) == 0 && kRecur * others.size() < table.rows.size();
}

// Option "columns", one text for all: "text,label" or "text,pair,label", as the options of the single
// columns.
Json single_column_options(const Json& options) {
  const std::string all = option_text(options, "columns");
  if (all.empty()) return options;
  Names names{""};
  for (const char c : all) {
    if (c == ',')
      names.emplace_back();
    else
      names.back() += c;
  }
  if (names.size() < 2 || names.size() > 3 || std::count(names.begin(), names.end(), "") > 0)
    throw UsageError("columns is '" + all + "'; expected text,label or text,pair,label");
  Json result = options;
  result["text_column"] = names.front();
  if (names.size() == 3) result["pair_column"] = names[1];
  result["label_column"] = names.back();
  return result;
}

struct Columns {
  std::optional<size_t> text, pair, label;
};

// The column that the option names, else the first known name, else the place in a file without a header.
std::optional<size_t> choose(const data::Table& table, const Json& options, const char* key,
                             const Names& known, std::optional<size_t> place) {
  const std::string wanted = option_text(options, key);
  if (!wanted.empty()) return table.column(wanted);
  return table.has_header ? find_any(table.columns, known) : place;
}

Columns choose_columns(const data::Table& table, const Json& options) {
  const size_t width = table.columns.size();
  std::optional<size_t> last, between;
  if (width > 1) last = width - 1;
  if (width > 2) between = 1;
  return {choose(table, options, "text_column", kTextColumns, size_t{0}),
          choose(table, options, "pair_column", kPairColumns, between),
          choose(table, options, "label_column", kLabelColumns, last)};
}

size_t require_column(std::optional<size_t> column, const data::Table& table, const std::string& what,
                      const Names& known) {
  if (column) return *column;
  throw UsageError(table.name + ": no " + what + " column; its columns are " + join(table.columns) +
                   "; looked for " + join(known) +
                   " (nearest: " + join(nearest(known.front(), table.columns)) +
                   "; name it with the option " + what + "_column)");
}

data::Table read_either(const std::filesystem::path& file, const Json& options, int64_t limit) {
  data::TableOptions read;
  if (file.extension() == ".jsonl" || file.extension() == ".json") {
    read.limit = limit;
    return data::read_table(file, read);
  }
  read.header = data::TableOptions::Header::no;
  read.limit = limit > 0 ? limit + 1 : 0;  // one more: the first may be the header
  data::Table table = data::read_table(file, read);
  if (table.rows.empty())
    throw UsageError(file.string() + ": empty; lines with a text and its label were expected");
  Names wanted;
  for (const char* key : {"text_column", "pair_column", "label_column"})
    if (const auto name = option_text(options, key); !name.empty() && !data::parse_number(name))
      wanted.push_back(lowered(name));
  const bool header = options.is_object() && options.contains("header") ? options.at("header").get<bool>()
                                                                        : looks_like_header(table, wanted);
  if (header || !wanted.empty()) {
    table.columns = std::move(table.rows.front());
    table.rows.erase(table.rows.begin());
    table.lines.erase(table.lines.begin());
  }
  table.has_header = header || !wanted.empty();
  if (limit > 0 && static_cast<int64_t>(table.rows.size()) > limit) table.rows.resize(limit);
  return table;
}

bool is_whole_number(const std::string& text) {
  return !text.empty() && text.size() < 10 &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isdigit(c); });
}

std::optional<int64_t> network_id(const std::string& label, const Names& network) {
  const auto exact = std::find(network.begin(), network.end(), label);
  if (exact != network.end()) return exact - network.begin();
  const auto same = [&](const std::string& name) { return lowered(name) == lowered(label); };
  if (std::count_if(network.begin(), network.end(), same) == 1)
    return std::find_if(network.begin(), network.end(), same) - network.begin();
  return std::nullopt;
}

// By name, all of them, or else by number, all of them: never some by name and some by number.
std::optional<LabelIds> as_network(const std::map<std::string, int64_t>& labels, const Names& network,
                                   std::string& culprit) {
  LabelIds by_name{network, {}}, by_number{network, {}};
  for (const auto& [label, line] : labels) {
    if (const auto id = network_id(label, network))
      by_name.ids[label] = *id;
    else if (culprit.empty())
      culprit = label;
    if (is_whole_number(label) && std::stoll(label) < static_cast<int64_t>(network.size()))
      by_number.ids[label] = std::stoll(label);
  }
  if (by_name.ids.size() == labels.size()) return by_name;
  if (by_number.ids.size() == labels.size()) return by_number;
  return std::nullopt;
}

LabelIds define_labels(const std::map<std::string, int64_t>& labels) {
  LabelIds result;
  for (const auto& [label, line] : labels) result.names.push_back(label);
  if (std::all_of(result.names.begin(), result.names.end(), is_whole_number))
    std::sort(result.names.begin(), result.names.end(), [](const auto& a, const auto& b) {
      return std::pair(std::stoll(a), a) < std::pair(std::stoll(b), b);
    });
  for (size_t i = 0; i < result.names.size(); ++i) result.ids[result.names[i]] = static_cast<int64_t>(i);
  return result;
}

// One blank for every run of white space, none at the ends: Python's " ".join(text.split()) for ASCII.
std::string single_spaced(const std::string& text) {
  std::string result;
  for (const char c : text) {
    const bool blank = std::isspace(static_cast<unsigned char>(c)) || (c >= 0x1c && c <= 0x1f);
    if (!blank) result += c;
    else if (!result.empty() && result.back() != ' ') result += ' ';
  }
  if (!result.empty() && result.back() == ' ') result.pop_back();
  return result;
}

// Labels by number, in the order in which they come.
class LabelCollector {
 public:
  explicit LabelCollector(LabelledTexts& into) : into_(into) {}
  void add(const std::string& label, int64_t line) {
    const auto [place, fresh] = numbers_.emplace(label, static_cast<int32_t>(into_.names.size()));
    if (fresh) into_.names.push_back(label), into_.first_lines.emplace(label, line);
    into_.labels.push_back(place->second);
  }

 private:
  LabelledTexts& into_;
  std::unordered_map<std::string, int32_t> numbers_;
};

// CodeXGLUE's clones (read_clone_examples in CodeT5/_utils.py).
LabelledTexts read_clones(const std::filesystem::path& file, int64_t limit) {
  std::map<std::string, std::string> functions;
  const auto code = file.parent_path() / "data.jsonl";
  for (const auto& row : data::read_jsonl(code)) {
    const auto function = row.value.find("func"), index = row.value.find("idx");
    if (function == row.value.end() || index == row.value.end() || !function->is_string())
      throw UsageError(code.string() + ": line " + std::to_string(row.line) + ": no \"func\" and \"idx\"; both were expected");
    functions[index->is_string() ? index->get<std::string>() : index->dump()] = single_spaced(function->get<std::string>());
  }
  data::CsvReader lines(file, '\t');
  LabelledTexts result;
  result.file = file.string();
  LabelCollector labels(result);
  Names texts, pairs;
  int64_t unknown = 0;
  for (std::vector<std::string> record; lines.next(record);) {
    if (record.size() != 3)
      throw UsageError(result.file + ": line " + std::to_string(lines.line()) + ": " + std::to_string(record.size()) +
                       " fields; two indices of data.jsonl and a label were expected, with tabs between");
    const auto first = functions.find(record[0]), second = functions.find(record[1]);
    if (first == functions.end() || second == functions.end()) { ++unknown; continue; }
    texts.push_back(first->second);
    pairs.push_back(second->second);
    labels.add(record[2] == "0" ? "0" : "1", lines.line());
    if (limit > 0 && static_cast<int64_t>(texts.size()) == limit) break;
  }
  if (unknown > 0) spdlog::warn("{}: {} pairs name functions that data.jsonl lacks; they are left out", result.file, unknown);
  if (texts.empty()) throw UsageError(result.file + ": no pairs of functions that data.jsonl has");
  result.rows = TextRows(std::move(texts), std::move(pairs));
  return result;
}

size_t end_of_text(const std::string& text) { return text.find_last_not_of(" \t\r\n") + 1; }

}  // namespace labelled_text_detail

SplitFile split_file(const std::filesystem::path& data, const std::string& split,
                     const std::vector<std::string>& extensions) {
  namespace detail = labelled_text_detail;
  if (!std::filesystem::exists(data)) throw UsageError(data.string() + ": no such file or folder");
  if (!std::filesystem::is_directory(data)) {
    const auto names = detail::split_names(split);
    const bool fits =
        split.empty() || split == "train" || std::count(names.begin(), names.end(), data.stem().string());
    if (!fits)
      throw UsageError(data.string() + " is one file and has no split '" + split + "'; give a folder with " +
                       join(names, extensions.front() + " or ") + extensions.front() +
                       ", or leave the split out");
    return {data, ""};
  }
  for (const auto& name :
       split.empty() ? std::vector<std::string>{"test", "validation"} : std::vector<std::string>{split})
    if (const auto file = detail::find_split(data, name, extensions))
      return {*file, detail::split_names(name).front()};
  const auto files = detail::files_in(data, extensions);
  if (files.size() == 1 && (split.empty() || split == "train")) return {data / files.front(), ""};
  throw UsageError(data.string() + ": no file for the split '" + (split.empty() ? "test" : split) +
                   "'; looked for " + join(detail::split_names(split.empty() ? "test" : split)) + " with " +
                   join(extensions) + ", found " +
                   (files.empty() ? "none of these" : detail::first_few(files)));
}

std::vector<std::string> read_text_lines(const std::filesystem::path& file, int64_t limit) {
  data::TextLines lines(file);
  std::vector<std::string> texts;
  for (std::string line; (limit <= 0 || static_cast<int64_t>(texts.size()) < limit) && lines.next(line);)
    if (line.find_first_not_of(" \t") != std::string::npos) texts.push_back(line);
  if (texts.empty()) throw UsageError(file.string() + ": empty; lines of text were expected");
  return texts;
}

TextRows text_line_rows(const std::filesystem::path& file, const Json& options, int64_t limit) {
  if (!left_in_file(file, options)) return TextRows(read_text_lines(file, limit));
  const auto lines = std::make_shared<const data::LineFile>(file, /*skip_blank=*/true, limit);
  if (lines->size() == 0) throw UsageError(file.string() + ": empty; lines of text were expected");
  return TextRows(lines->size(), /*paired=*/false, [lines](int64_t index) { return std::vector<std::string>{lines->line(index)}; });
}

bool clone_texts_of(const std::filesystem::path& data) {
  std::error_code error;
  const bool folder = std::filesystem::is_directory(data, error);
  return (folder || data.extension() == ".txt") && std::filesystem::is_regular_file((folder ? data : data.parent_path()) / "data.jsonl", error);
}

namespace labelled_text_detail {

// The numbers of the columns, and how a row's fields are taken.
struct Layout {
  size_t text, label;
  std::optional<size_t> pair;
  bool single;  // single_spaces

  Layout(const data::Table& table, const Json& options, bool single_spaces) : single(single_spaces) {
    const auto columns = choose_columns(table, options);
    text = require_column(columns.text, table, "text", kTextColumns);
    label = require_column(columns.label, table, "label", kLabelColumns);
    pair = columns.pair;
  }
  std::string taken(const std::string& field) const { return single ? single_spaced(field) : field; }
  const std::string& label_of(const std::vector<std::string>& row, int64_t line, const data::Table& table) const {
    if (row[label].empty())
      throw UsageError(table.name + ": line " + std::to_string(line) + ": no label in column '" + table.columns[label] + "'");
    return row[label];
  }
};

data::Table require_rows(data::Table table) {
  if (table.rows.empty()) throw UsageError(table.name + ": a header alone; lines with a text and its label were expected");
  return table;
}

LabelledTexts held_texts(const std::filesystem::path& file, const Json& options, int64_t limit, bool single) {
  const data::Table table = require_rows(read_either(file, options, limit));
  const Layout layout(table, options, single);
  LabelledTexts result;
  result.file = file.string();
  LabelCollector labels(result);
  Names texts, pairs;
  for (size_t i = 0; i < table.rows.size(); ++i) {
    const auto& row = table.rows[i];
    labels.add(layout.label_of(row, table.lines[i], table), table.lines[i]);
    texts.push_back(layout.taken(row[layout.text]));
    if (layout.pair) pairs.push_back(layout.taken(row[*layout.pair]));
  }
  result.rows = TextRows(std::move(texts), std::move(pairs));
  return result;
}

// The first rows tell the columns; then the file is read once for its labels and the places of its rows.
LabelledTexts texts_in_file(const std::filesystem::path& file, const Json& options, int64_t limit, bool single) {
  constexpr int64_t kThatTell = 10000;
  const data::Table head = require_rows(read_either(file, options, limit > 0 ? std::min(limit, kThatTell) : kThatTell));
  const Layout layout(head, options, single);
  LabelledTexts result;
  result.file = file.string();
  LabelCollector labels(result);
  data::TableOptions how;
  how.header = head.has_header ? data::TableOptions::Header::yes : data::TableOptions::Header::no;
  how.limit = limit;
  const auto table = std::make_shared<const data::TableFile>(
      file, how, [&](const std::vector<std::string>& row, int64_t line) { labels.add(layout.label_of(row, line, head), line); });
  result.rows = TextRows(table->size(), layout.pair.has_value(), [table, layout](int64_t index) {
    const auto row = table->row(index);
    std::vector<std::string> texts{layout.taken(row.at(layout.text))};
    if (layout.pair) texts.push_back(layout.taken(row.at(*layout.pair)));
    return texts;
  });
  return result;
}

}  // namespace labelled_text_detail

LabelledTexts read_labelled_texts(const std::filesystem::path& file, const Json& given, int64_t limit) {
  namespace detail = labelled_text_detail;
  if (file.extension() == ".txt" && clone_texts_of(file)) return detail::read_clones(file, limit);
  const bool single = given.is_object() && given.value("single_spaces", false);
  const Json options = detail::single_column_options(given);
  return left_in_file(file, given) ? detail::texts_in_file(file, options, limit, single) : detail::held_texts(file, options, limit, single);
}

LabelIds match_labels(const std::map<std::string, int64_t>& first_lines,
                      const std::vector<std::string>& network, bool may_define, const std::string& file) {
  namespace detail = labelled_text_detail;
  std::string culprit;
  if (auto known = detail::as_network(first_lines, network, culprit)) return *known;
  if (may_define) return detail::define_labels(first_lines);
  if (culprit.empty()) culprit = first_lines.begin()->first;
  throw UsageError(file + ": line " + std::to_string(first_lines.at(culprit)) + ": unknown label '" +
                   culprit + "'; the file has " + std::to_string(first_lines.size()) +
                   " labels, the network's " + std::to_string(network.size()) + " are nearest in " +
                   join(nearest(culprit, network)) +
                   " (to train a new head for the file's labels: zoo train --reinit-head)");
}

bool is_cut(const tokenizers::Encoding& encoding, const std::string& text, const std::string& pair, int64_t max_length) {
  namespace detail = labelled_text_detail;
  if (static_cast<int64_t>(encoding.ids.size()) < max_length) return false;
  size_t ends[2] = {0, 0};
  for (size_t t = 0; t < encoding.ids.size(); ++t)
    if (!encoding.special[t]) ends[encoding.type_ids[t] != 0] = encoding.offsets[t].second;
  return ends[0] < detail::end_of_text(text) || (!pair.empty() && ends[1] < detail::end_of_text(pair));
}

int64_t count_cut_texts(std::span<const tokenizers::Encoding> encodings, std::span<const std::string> texts, std::span<const std::string> pairs, int64_t max_length) {
  int64_t cut = 0;
  for (size_t i = 0; i < encodings.size(); ++i) cut += is_cut(encodings[i], texts[i], pairs.empty() ? std::string() : pairs[i], max_length);
  return cut;
}

void tell_cut_texts(int64_t cut, int64_t texts, int64_t max_length) {
  if (cut > 0) spdlog::warn("{} of {} texts are longer than {} tokens and were cut there (option max_length)", cut, texts, max_length);
}

void note_cut_texts(std::span<const tokenizers::Encoding> encodings, std::span<const std::string> texts,
                    std::span<const std::string> pairs, int64_t max_length) {
  tell_cut_texts(count_cut_texts(encodings, texts, pairs, max_length), static_cast<int64_t>(encodings.size()), max_length);
}

}  // namespace zoo::app
