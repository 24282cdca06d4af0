// QuixBugs' Python tests, run in a sandbox (github.com/jkoppel/QuixBugs: json_testcases, and *_test.py beside the programs).
#pragma once
#include <filesystem>
#include <map>
#include <string>

#include "app/sandbox.h"

namespace zoo::app {

struct TestOutcome {
  int64_t passed = 0, failed = 0;  // cases; a program that does not load fails in all
  bool loads = false;              // it could be imported
  bool timed_out = false;          // in some case, or as a whole
  bool plausible() const { return failed == 0 && passed > 0; }
};

struct PythonTestOptions {
  std::string python = "python3";
  double case_seconds = 4.0;  // of one case; a program that needs longer fails it
  SandboxLimits limits;       // of all cases together
};

// `programs`: folder with the programs and what they import; `cases`: folder with NAME.json, a line for each case, [arguments,
// result]; `correct`: folder with NAME.py and NAME_test.py for programs without such a file, whose output is what is wanted.
class PythonTests {
 public:
  PythonTests(std::filesystem::path programs, std::filesystem::path cases, std::filesystem::path correct, PythonTestOptions options);
  ~PythonTests();
  PythonTests(const PythonTests&) = delete;
  PythonTests& operator=(const PythonTests&) = delete;

  bool has(const std::string& name) const;
  // The tests of program `name` with `source` in its place. Throws std::runtime_error when Python cannot be started.
  TestOutcome run(const std::string& name, const std::string& source);
  bool network_cut() const { return network_cut_; }  // in all runs so far

 private:
  TestOutcome run_cases(const std::string& name);
  TestOutcome run_script(const std::string& name);
  SandboxResult script(const std::filesystem::path& programs, const std::string& name);
  std::filesystem::path programs_, cases_, correct_, scratch_;
  PythonTestOptions options_;
  std::map<std::string, std::string> wanted_;  // output of the correct program's script
  bool network_cut_ = true;
};

}  // namespace zoo::app
