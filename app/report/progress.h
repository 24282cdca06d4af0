// A progress bar on standard error: share done, rate, time left, a few live figures. On a terminal it redraws one line (at
// most ten times a second); elsewhere it prints a line every few seconds, so that logs stay readable.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>

namespace zoo::app {

class Progress {
 public:
  // `unit` is what is counted ("images", "steps"); total 0 = unknown.
  Progress(std::string title, int64_t total, std::string unit);
  ~Progress();  // finishes
  void add(int64_t count, const std::string& figures = "");  // e.g. "loss 0.312  lr 5.0e-04"; not thread safe
  void finish();
  double seconds() const;
  static void set_quiet(bool quiet);  // --log-level error and below

 private:
  void draw(bool last);
  std::string title_, unit_, figures_;
  int64_t total_, done_ = 0;
  bool finished_ = false;
  size_t width_ = 0;
  std::chrono::steady_clock::time_point start_, drawn_;
};

// "1 h 02 min", "3 min 05 s", "12.3 s", "45 ms"
std::string duration_text(double seconds);

}  // namespace zoo::app
