// Bugs to repair, in MultiMend's form (github.com/h4iku/MultiMend, 23478ba, src/bugline_finders): for each the hunks of lines to
// replace, the function around them, and the rest of the file.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "models/model.h"

namespace zoo::app {

struct Hunk {
  std::string removed, added;     // lines with their ends; added is empty text where the repair is not known
  bool known = false;             // the repair is known
  int64_t start = 0, length = 0;  // first removed line, from 1, and how many; length 0: new lines come after line `start`
  std::string context;            // the function (or a few lines) around
  std::string before, after;      // the rest of the file
  std::string path;               // the file, when the bug's hunks lie in several
};

struct Bug {
  std::string id;
  std::vector<Hunk> hunks;
};

// MultiMend's metadata: a line for each bug, {"ID": [{"removed_lines", "added_lines", "removed_line_numbers_range": [start, length],
// "source_context": [text, first, last], "source_before", "source_after"}, ...]}; several ids in one object are several bugs.
// Throws UsageError that names the line.
std::vector<Bug> read_bugs(const std::filesystem::path& file);

// Bugs of two folders of Python programs with the same names: the differences between those of `buggy` and `correct`, comments, doc
// strings and blank lines aside. Files named *_test.py and files without a partner are passed over.
std::vector<Bug> compare_programs(const std::filesystem::path& buggy, const std::filesystem::path& correct);

// Python without comments and without strings that begin a line, which are doc strings; every line keeps its number.
std::string without_comments(const std::string& python);

// The network's input (generate_primary_candidates.py): "PREFIX removed : retrieved lines context".
std::string repair_input(const std::string& prefix, const Hunk& hunk, const std::vector<std::string>& retrieved);

// Lines of the rest of the file that may help: white space made single, without empty ones, ones of punctuation alone, repetitions
// and the removed line itself.
std::vector<std::string> lines_to_search(const Hunk& hunk);

// A whole file. Throws std::runtime_error when it cannot be read.
std::string program_text(const std::filesystem::path& file);
// With their ends.
std::vector<std::string> lines_with_ends(const std::string& text);

// Every run of white space one blank, none at the ends.
std::string single_blanks(const std::string& text);

}  // namespace zoo::app
