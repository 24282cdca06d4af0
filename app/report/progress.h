// A progress bar on standard error: share done, rate, time left, a few live figures. On a terminal it redraws one line (at
// most ten times a second). Elsewhere it prints lines, ever rarer the longer it takes (after five seconds, then each twentieth of
// the time so far, at least every five minutes), so that logs stay readable; what takes less than five seconds prints nothing.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

namespace zoo::app {

class Progress {
 public:
  // `unit` is what is counted ("images", "steps"); total 0 = unknown.
  Progress(std::string title, int64_t total, std::string unit);
  ~Progress();  // finishes
  void add(int64_t count, const std::string& figures = "");  // e.g. "loss 0.312  lr 5.0e-04"; not thread safe
  // Figures that cost something: asked for only when a line is drawn, and shown behind those of add().
  void also(std::function<std::string()> figures) { more_ = std::move(figures); }
  void finish();
  double seconds() const;
  static void set_quiet(bool quiet);  // --log-level error and below

 private:
  void draw(bool last);
  void take_rate(double elapsed);
  std::string title_, unit_, figures_;
  std::function<std::string()> more_;
  double rate_ = 0, rate_at_ = 0;  // units per second of late, and when it was taken
  int64_t rated_ = 0;              // units done by then
  int64_t total_, done_ = 0;
  bool finished_ = false;
  size_t width_ = 0;
  std::chrono::steady_clock::time_point start_, drawn_;
};

// "1 h 02 min", "3 min 05 s", "12.3 s", "45 ms"
std::string duration_text(double seconds);

}  // namespace zoo::app
