// Options from three places: the command line, else the environment, else a JSON file.
#pragma once
#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "app/cli.h"

namespace zoo::app {

// Declares the options that every verb has.
void add_common_options(CLI::App& command, Common& common);

// Parses `words` (all that follows the program's name) with the chosen verb's `command`, which is null when there is no
// verb. Options that the words leave open are taken from ZOO_<NAME>, then from the file that --config names.
// Returns false when help or the version was asked for and printed. Throws UsageError.
bool parse_words(CLI::App& program, CLI::App* command, std::vector<std::string> words);

// "--log-level" -> "ZOO_LOG_LEVEL"
std::string environment_name(const std::string& long_name);
// The long names of a command's options, without dashes, hidden ones and help left out.
std::vector<std::string> option_names(const CLI::App& command);

}  // namespace zoo::app
