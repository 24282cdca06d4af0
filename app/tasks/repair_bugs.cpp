#include "app/tasks/repair_bugs.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "app/cli.h"
#include "data/jsonl.h"

namespace zoo::app {
namespace repair_bugs_detail {
namespace fs = std::filesystem;

using Lines = std::vector<std::string>;  // with their ends

constexpr int64_t kAround = 3;  // lines of context where there is no function

std::string joined(const Lines& lines, size_t begin, size_t end) {
  std::string text;
  for (size_t i = begin; i < std::min(end, lines.size()); ++i) text += lines[i];
  return text;
}

bool blank(const std::string& line) { return line.find_first_not_of(" \t\r\n\f") == std::string::npos; }
size_t indent_of(const std::string& line) { return std::min(line.find_first_not_of(" \t"), line.size()); }

// ---- differences, as Python's difflib finds them ----

struct Block {
  size_t a, b, size;
};

// The longest run of equal lines in a[a0, a1) and b[b0, b1): of several the first in a, then in b.
Block longest_match(const Lines& a, const Lines& b, size_t a0, size_t a1, size_t b0, size_t b1) {
  Block best{a0, b0, 0};
  for (size_t i = a0; i < a1; ++i) {
    for (size_t j = b0; j < b1; ++j) {
      size_t size = 0;
      while (i + size < a1 && j + size < b1 && a[i + size] == b[j + size]) ++size;
      if (size > best.size) best = {i, j, size};
    }
  }
  return best;
}

void match(const Lines& a, const Lines& b, size_t a0, size_t a1, size_t b0, size_t b1, std::vector<Block>& blocks) {
  const Block best = longest_match(a, b, a0, a1, b0, b1);
  if (best.size == 0) return;
  match(a, b, a0, best.a, b0, best.b, blocks);
  blocks.push_back(best);
  match(a, b, best.a + best.size, a1, best.b + best.size, b1, blocks);
}

std::vector<Hunk> differences(const Lines& source, const Lines& target) {
  std::vector<Block> blocks;
  match(source, target, 0, source.size(), 0, target.size(), blocks);
  blocks.push_back({source.size(), target.size(), 0});
  std::vector<Hunk> hunks;
  size_t a = 0, b = 0;
  for (const Block& block : blocks) {
    Hunk hunk;
    hunk.removed = joined(source, a, block.a);
    hunk.added = joined(target, b, block.b);
    hunk.known = true;
    hunk.length = static_cast<int64_t>(block.a - a);
    hunk.start = static_cast<int64_t>(a) + (hunk.length > 0 ? 1 : 0);
    const auto end = [](const std::string& text) { return text.substr(0, text.find_last_not_of(" \t\r\n") + 1); };
    if (end(hunk.removed) != end(hunk.added)) hunks.push_back(std::move(hunk));
    a = block.a + block.size;
    b = block.b + block.size;
  }
  return hunks;
}

// ---- context ----

struct Range {
  size_t begin, end;  // lines, from 0
};

// The outermost function that holds the line; `bare` has no comments.
std::optional<Range> function_around(const Lines& bare, size_t line) {
  for (size_t i = 0; i < bare.size() && i <= line; ++i) {
    const size_t indent = indent_of(bare[i]);
    if (bare[i].compare(indent, 4, "def ") != 0 && bare[i].compare(indent, 10, "async def ") != 0) continue;
    size_t end = i + 1;
    for (size_t j = i + 1; j < bare.size() && (blank(bare[j]) || indent_of(bare[j]) > indent); ++j)
      if (!blank(bare[j])) end = j + 1;
    if (line < end) return Range{i, end};
  }
  return std::nullopt;
}

void add_context(Hunk& hunk, const Lines& source, const Lines& bare) {
  const size_t line = static_cast<size_t>(std::max<int64_t>(hunk.start - 1, 0)), count = source.size();
  Range range{0, 0};
  if (const auto function = function_around(bare, line)) range = *function;
  else {
    const int64_t first = std::max<int64_t>(1, hunk.start - kAround + (hunk.length > 0 ? 0 : 1)), last = hunk.start + hunk.length + kAround - (hunk.length > 0 ? 1 : 0);
    range = {static_cast<size_t>(first - 1), std::min(count, static_cast<size_t>(last))};
  }
  hunk.context = joined(source, range.begin, range.end);
  hunk.before = joined(source, 0, range.begin);
  hunk.after = joined(source, range.end, count);
}

// ---- metadata ----

std::string text_field(const Json& hunk, const char* key, const std::string& source, bool needed) {
  const auto found = hunk.find(key);
  if (found != hunk.end() && found->is_string()) return found->get<std::string>();
  if (needed || (found != hunk.end() && !found->is_null())) throw UsageError(source + ": a hunk has no text \"" + key + "\"");
  return "";
}

Hunk read_hunk(const Json& json, const std::string& source) {
  if (!json.is_object()) throw UsageError(source + ": a bug is a list of hunks, each an object with \"removed_lines\" and \"removed_line_numbers_range\"");
  Hunk hunk;
  hunk.removed = text_field(json, "removed_lines", source, true);
  hunk.known = json.contains("added_lines") && json.at("added_lines").is_string();
  hunk.added = text_field(json, "added_lines", source, false);
  hunk.before = text_field(json, "source_before", source, false);
  hunk.after = text_field(json, "source_after", source, false);
  hunk.path = text_field(json, "source_path", source, false);
  const Json range = json.value("removed_line_numbers_range", Json()), context = json.value("source_context", Json());
  const bool numbers = range.is_array() && range.size() == 2 && range[0].is_number_integer() && range[1].is_number_integer();
  if (!numbers || range[0].get<int64_t>() < 0 || range[1].get<int64_t>() < 0)
    throw UsageError(source + ": \"removed_line_numbers_range\" is " + range.dump() + "; [first line, number of lines] is expected");
  hunk.start = range[0].get<int64_t>();
  hunk.length = range[1].get<int64_t>();
  if (context.is_string()) hunk.context = context.get<std::string>();
  else if (context.is_array() && !context.empty() && context[0].is_string()) hunk.context = context[0].get<std::string>();
  return hunk;
}

}  // namespace repair_bugs_detail

std::string single_blanks(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (!std::isspace(static_cast<unsigned char>(c))) result += c;
    else if (!result.empty() && result.back() != ' ') result += ' ';
  }
  if (!result.empty() && result.back() == ' ') result.pop_back();
  return result;
}

std::string program_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(path.string() + ": cannot be read");
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::vector<std::string> lines_with_ends(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size() - 1) + 1;
    lines.push_back(text.substr(begin, end - begin));
    begin = end;
  }
  return lines;
}

std::string without_comments(const std::string& python) {
  std::string result;
  bool line_begins = true;  // nothing but blanks so far
  for (size_t i = 0; i < python.size();) {
    const char c = python[i];
    if (c == '#') {
      while (i < python.size() && python[i] != '\n') ++i;
      continue;
    }
    if (c != '"' && c != '\'') {
      result += c;
      line_begins = c == '\n' || (line_begins && (c == ' ' || c == '\t'));
      ++i;
      continue;
    }
    const bool triple = python.compare(i, 3, std::string(3, c)) == 0;
    const std::string end(triple ? 3 : 1, c);
    size_t last = i + end.size();
    while (last < python.size() && python.compare(last, end.size(), end) != 0 && (triple || python[last] != '\n')) last += python[last] == '\\' ? 2 : 1;
    last = std::min(last + end.size(), python.size());
    const std::string text = python.substr(i, last - i);
    if (triple && line_begins) result.append(static_cast<size_t>(std::count(text.begin(), text.end(), '\n')), '\n');
    else result += text;
    line_begins = false;
    i = last;
  }
  return result;
}

std::vector<Bug> read_bugs(const std::filesystem::path& file) {
  namespace d = repair_bugs_detail;
  std::vector<Bug> bugs;
  for (const auto& row : data::read_jsonl(file)) {
    const std::string source = file.string() + ":" + std::to_string(row.line);
    for (const auto& [id, hunks] : row.value.items()) {
      if (!hunks.is_array() || hunks.empty()) throw UsageError(source + ": '" + id.substr(0, 80) + "' is no list of hunks");
      bugs.push_back({id, {}});
      for (const auto& hunk : hunks) bugs.back().hunks.push_back(d::read_hunk(hunk, source + ", '" + id.substr(0, 80) + "'"));
    }
  }
  return bugs;
}

std::vector<Bug> compare_programs(const std::filesystem::path& buggy, const std::filesystem::path& correct) {
  namespace d = repair_bugs_detail;
  std::error_code error;
  for (const auto& folder : {buggy, correct})
    if (!d::fs::is_directory(folder, error)) throw UsageError(folder.string() + ": no such folder of Python programs");
  std::map<std::string, Bug> bugs;
  for (const auto& item : d::fs::directory_iterator(buggy)) {
    const std::string name = item.path().stem().string();
    if (item.path().extension() != ".py" || name.ends_with("_test") || !d::fs::exists(correct / item.path().filename())) continue;
    const std::string text = program_text(item.path());
    const d::Lines source = lines_with_ends(text), bare = lines_with_ends(without_comments(text));
    Bug bug{name, d::differences(bare, lines_with_ends(without_comments(program_text(correct / item.path().filename()))))};
    for (Hunk& hunk : bug.hunks) d::add_context(hunk, source, bare);
    if (!bug.hunks.empty()) bugs.emplace(name, std::move(bug));
  }
  std::vector<Bug> sorted;
  for (auto& [name, bug] : bugs) sorted.push_back(std::move(bug));
  if (sorted.empty()) throw UsageError(buggy.string() + " and " + correct.string() + ": no Python programs of the same name that differ");
  return sorted;
}

std::string repair_input(const std::string& prefix, const Hunk& hunk, const std::vector<std::string>& retrieved) {
  std::string input = prefix + " " + single_blanks(hunk.removed) + " :";
  for (const auto& line : retrieved) input += " " + line;
  return input + " " + single_blanks(hunk.context);
}

std::vector<std::string> lines_to_search(const Hunk& hunk) {
  const auto telling = [](const std::string& line) {
    return std::any_of(line.begin(), line.end(), [](unsigned char c) { return !std::ispunct(c) && !std::isspace(c); });
  };
  std::vector<std::string> lines;
  std::set<std::string> seen{single_blanks(hunk.removed)};
  for (const auto& line : lines_with_ends(hunk.before + "\n" + hunk.after)) {
    std::string one = single_blanks(line);
    if (telling(one) && seen.insert(one).second) lines.push_back(std::move(one));
  }
  return lines;
}

}  // namespace zoo::app
