// The file of a long run that loses nothing: results go to FILE.partial as they are made, and the file gets its name when it is complete.
// Beside it FILE.partial.state, a record in JSON lines: first what the run is made of, then how far it had come at each milestone.
// Killed at any moment, a run goes on from its last milestone with the same bytes as if it had never stopped.
#pragma once
#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "app/sha256.h"
#include "models/model.h"

namespace zoo::app {

class ResumableOutput {
 public:
  // `settings`: an object of all that decides the results, inputs aside. `resume` goes on with a partial file, when there is one, and
  // throws UsageError when its settings were others, naming them. Without `resume` a partial file is an error too, unless `overwrite`
  // says to begin anew. Throws UsageError also when `path` exists and `overwrite` is false, and when another run is writing it;
  // std::runtime_error when the disk refuses.
  ResumableOutput(std::filesystem::path path, const Json& settings, bool resume, bool overwrite);
  ~ResumableOutput();  // leaves the partial file and how far it goes, unless nothing is in it
  ResumableOutput(const ResumableOutput&) = delete;
  ResumableOutput& operator=(const ResumableOutput&) = delete;

  // Inputs whose results are in the file; in the beginning those of the earlier run.
  int64_t inputs() const { return inputs_; }
  // Reads the inputs of the earlier run again, which `next` gives. Throws UsageError when they are not the same.
  void pass_over(const std::function<bool(std::string&)>& next);
  // The result of the next input: `text`, made from `input`.
  void add(std::string_view input, std::string_view text);
  // The run can go on from here. Recorded some times a second at most, ever rarer in long runs; `now`: at once.
  void milestone(bool now = false);
  // Adds `end` and gives the file its name.
  void finish(std::string_view end);
  const std::filesystem::path& partial() const { return partial_; }

 private:
  void begin(const Json& settings);
  void go_on(const Json& settings);
  void check_settings(const Json& before, const Json& now) const;
  void hash(std::string_view input);
  void flush();
  void record();  // what is written
  void write(int file, const std::filesystem::path& name, std::string_view bytes);
  [[noreturn]] void fail(const std::filesystem::path& name, const char* what) const;

  std::filesystem::path path_, partial_, state_;
  int file_ = -1, record_ = -1;
  struct Point {
    int64_t inputs = 0, bytes = 0;
    Sha256 hash;  // of the inputs
  };
  int64_t inputs_ = 0;
  Sha256 hash_;           // of the inputs so far
  Point written_;         // up to where all is in the file
  int64_t recorded_inputs_ = 0;
  bool finished_ = false;
  std::string expected_;  // of those of the earlier run
  std::string pending_;   // results since the last milestone
  std::chrono::steady_clock::time_point start_, recorded_;
};

}  // namespace zoo::app
