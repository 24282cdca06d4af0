// The command line: options common to all verbs, and the list of verbs.
#pragma once
#include <ATen/ATen.h>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "models/model.h"

namespace zoo::app {

// What every verb understands; each also from ZOO_<NAME> in the environment and from --config FILE.json.
struct Common {
  std::string device = "auto";  // cpu, cuda, cuda:N, auto
  int threads = 0;              // 0: physical cores
  uint64_t seed = 0;
  bool json = false;            // one JSON document on standard output, everything else on standard error
  std::string log_level = "info";

  at::Device resolved_device() const;  // throws UsageError for a device that is not there
  void apply() const;                  // threads, seed, log level, logger on standard error
};

// A mistake in how the program was called: message on standard error, exit code 2. Other exceptions: exit code 1.
struct UsageError : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

// One verb: declares its options on `command` (whose callback it leaves alone) and returns what to run after parsing;
// that returns the exit code (0 done, 1 failed). With --json it prints through print_json().
using Action = std::function<int()>;
struct Verb {
  const char* name;
  const char* summary;
  const char* examples;  // shown under --help
  Action (*declare)(CLI::App& command, Common& common);
};
const std::vector<Verb>& verbs();

// app/commands/<verb>.cpp each defines its Verb.
Verb list_verb();
Verb info_verb();
Verb run_verb();
Verb train_verb();
Verb eval_verb();
Verb compare_verb();
Verb verify_verb();
Verb convert_verb();
Verb bench_verb();
Verb doctor_verb();

// The one document of --json on standard output.
void print_json(const Json& document);
// A part of it, where it is too long to be held.
void print_json_text(std::string_view part);

int main(int argc, char** argv);

}  // namespace zoo::app
