#include "app/options.h"

#include <cctype>
#include <cstdlib>
#include <iostream>

#include "app/cli.h"
#include "app/files.h"
#include "models/names.h"

namespace zoo::app {

void add_common_options(CLI::App& command, Common& common) {
  const std::string group = "Options of every verb";
  command.add_option("--device", common.device, "cpu, cuda, cuda:N or auto")->capture_default_str()->group(group);
  command.add_option("--threads", common.threads, "CPU threads; 0: one for each physical core")
      ->check(CLI::Range(0, 4096))->capture_default_str()->group(group);
  command.add_option("--seed", common.seed, "seed of all random numbers")->capture_default_str()->group(group);
  command.add_flag("--json", common.json, "one JSON document on standard output")->group(group);
  command.add_option("--log-level", common.log_level, "how much is told on standard error")
      ->check(CLI::IsMember({"trace", "debug", "info", "warn", "warning", "error", "off"}))->capture_default_str()->group(group);
  command.add_option("--config", "JSON file of option names and values")->type_name("FILE.json")->group(group);
}

std::string environment_name(const std::string& long_name) {
  std::string name = "ZOO_";
  for (const char c : long_name.substr(long_name.find_first_not_of('-'))) {
    name += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return name;
}

std::vector<std::string> option_names(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::Option* option : command.get_options()) {
    for (const auto& name : option->get_lnames()) {
      if (name != "help") names.push_back(name);
    }
  }
  return names;
}

namespace options_detail {

// Where a value that is not on the command line came from, for messages: option name -> "ZOO_THREADS".
using Origins = std::map<std::string, std::string>;

// "--batch=8" -> "batch"; "" for a word that is not a long option.
std::string long_name(const std::string& word) {
  if (word.size() < 3 || word.compare(0, 2, "--") != 0) return "";
  return word.substr(2, word.find('=') - 2);
}

std::set<std::string> names_on_command_line(const CLI::App& command, const std::vector<std::string>& words) {
  const auto known = option_names(command);
  std::set<std::string> given;
  for (const auto& word : words) {
    if (word == "--") break;
    const std::string name = long_name(word);
    if (name.empty() || name == "help") continue;
    const CLI::Option* option = command.get_option_no_throw("--" + name);
    if (!option) {
      throw UsageError("zoo " + command.get_name() + ": unknown option '--" + name.substr(0, 80) + "'; nearest: --" +
                       join(nearest(name, known), ", --") + " (zoo " + command.get_name() + " --help shows all)");
    }
    for (const auto& alias : option->get_lnames()) given.insert(alias);
  }
  return given;
}

std::string config_path(const std::vector<std::string>& words) {
  for (size_t i = 0; i < words.size() && words[i] != "--"; ++i) {
    if (words[i] == "--config" && i + 1 < words.size()) return words[i + 1];
    if (words[i].rfind("--config=", 0) == 0) return words[i].substr(9);
  }
  const char* path = std::getenv("ZOO_CONFIG");
  return path ? path : "";
}

std::string scalar_text(const std::string& file, const std::string& key, const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean() || value.is_number()) return value.dump();
  throw UsageError(file + ": option '" + key + "' is of type " + value.type_name() +
                   "; expected a string, a number, true, false, or a list of these");
}

// The file's values by option name ("log_level" is taken for "log-level"); throws for names that the verb does not have.
std::map<std::string, std::vector<std::string>> read_config_file(const CLI::App& command, const std::string& path) {
  std::map<std::string, std::vector<std::string>> values;
  if (path.empty()) return values;
  Json document;
  try {
    document = read_json(path);
  } catch (const std::exception& error) {
    throw UsageError(std::string("--config: ") + error.what());
  }
  if (!document.is_object()) throw UsageError("--config: " + path + " holds no JSON object of option names and values");
  const auto known = option_names(command);
  for (const auto& [key, value] : document.items()) {
    std::string name = key;
    std::replace(name.begin(), name.end(), '_', '-');
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      throw UsageError("--config: " + path + " names the unknown option '" + key.substr(0, 80) + "'; nearest: " +
                       join(nearest(name, known)) + " (zoo " + command.get_name() + " --help shows all)");
    }
    if (value.is_null()) continue;
    auto& texts = values[name];
    if (!value.is_array()) texts.push_back(scalar_text(path, key, value));
    else for (const auto& element : value) texts.push_back(scalar_text(path, key, element));
  }
  return values;
}

// Words "--name=value" for what the command line left open.
std::vector<std::string> words_from_elsewhere(const CLI::App& command, const std::vector<std::string>& words, Origins& origins) {
  const auto given = names_on_command_line(command, words);
  const std::string path = config_path(words);
  const auto file = read_config_file(command, path);
  std::vector<std::string> added;
  for (const auto& name : option_names(command)) {
    if (given.count(name) || name == "config") continue;
    const std::string variable = environment_name(name);
    const char* environment = std::getenv(variable.c_str());
    const auto in_file = file.find(name);
    if (environment && *environment) {
      added.push_back("--" + name + "=" + environment);
      origins[name] = variable;
    } else if (in_file != file.end()) {
      for (const auto& value : in_file->second) added.push_back("--" + name + "=" + value);
      origins[name] = path;
    }
  }
  return added;
}

[[noreturn]] void throw_usage(const CLI::ParseError& error, const CLI::App* command, const Origins& origins) {
  std::string message = error.what();
  while (!message.empty() && message.back() == '\n') message.pop_back();
  for (const auto& [name, origin] : origins) {
    if (message.rfind("--" + name + ":", 0) == 0) message += " (from " + origin + ")";
  }
  const std::string verb = command ? " " + command->get_name() : "";
  throw UsageError(message + "; see zoo" + verb + " --help");
}

}  // namespace options_detail

bool parse_words(CLI::App& program, CLI::App* command, std::vector<std::string> words) {
  options_detail::Origins origins;
  const bool help = std::any_of(words.begin(), words.end(), [](const auto& word) { return word == "--help" || word == "-h"; });
  if (command && !help) {
    const auto added = options_detail::words_from_elsewhere(*command, words, origins);
    const auto verb = std::find(words.begin(), words.end(), command->get_name());
    words.insert(verb + 1, added.begin(), added.end());
  }
  try {
    std::reverse(words.begin(), words.end());  // CLI11 takes them last first
    program.parse(std::move(words));
    return true;
  } catch (const CLI::CallForHelp&) {
    std::cout << (command ? command->help("zoo") : program.help());
  } catch (const CLI::CallForVersion& version) {
    std::cout << version.what() << "\n";
  } catch (const CLI::ParseError& error) {
    options_detail::throw_usage(error, command, origins);
  }
  return false;
}

}  // namespace zoo::app
