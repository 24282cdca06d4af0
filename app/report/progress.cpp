#include "app/report/progress.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstdio>

namespace zoo::app {
namespace progress_detail {

std::atomic<bool> quiet{false};

bool on_terminal() {
  static const bool terminal = isatty(STDERR_FILENO) == 1;
  return terminal;
}

template <class... Args>
std::string formatted(const char* format, Args... args) {
  std::array<char, 128> text;
  std::snprintf(text.data(), text.size(), format, args...);
  return text.data();
}

// Without a terminal: a line after five seconds, and about a hundred in an hour.
std::chrono::duration<double> pause(double elapsed) {
  if (on_terminal()) return std::chrono::duration<double>(0.1);
  return std::chrono::duration<double>(std::min(300.0, std::max(5.0, elapsed / 20)));
}

std::string bar(double share) {
  constexpr int kWidth = 24;
  const int full = static_cast<int>(share * kWidth);
  std::string text = "[";
  for (int i = 0; i < kWidth; ++i) text += i < full ? '#' : '.';
  return text + "]";
}

}  // namespace progress_detail

std::string duration_text(double seconds) {
  using progress_detail::formatted;
  if (seconds < 0.0995) return formatted("%.0f ms", seconds * 1e3);
  if (seconds < 59.95) return formatted("%.1f s", seconds);
  const auto whole = static_cast<long long>(std::llround(seconds));
  if (whole < 3600) return formatted("%lld min %02lld s", whole / 60, whole % 60);
  const long long minutes = (whole + 30) / 60;
  return formatted("%lld h %02lld min", minutes / 60, minutes % 60);
}

void Progress::set_quiet(bool quiet) { progress_detail::quiet = quiet; }

Progress::Progress(std::string title, int64_t total, std::string unit)
    : title_(std::move(title)), unit_(std::move(unit)), total_(total), start_(std::chrono::steady_clock::now()), drawn_(start_) {}

Progress::~Progress() { finish(); }

double Progress::seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

void Progress::add(int64_t count, const std::string& figures) {
  done_ += count;
  if (!figures.empty()) figures_ = figures;
  const auto now = std::chrono::steady_clock::now();
  if (now - drawn_ < progress_detail::pause(seconds())) return;
  drawn_ = now;
  draw(false);
}

void Progress::finish() {
  if (finished_) return;
  finished_ = true;
  if (progress_detail::on_terminal() || drawn_ != start_) draw(true);
}

// The rate of about the last ten seconds: a slow start, or a pause for a measurement, does not spoil the time left for long.
void Progress::take_rate(double elapsed) {
  const double span = elapsed - rate_at_;
  if (span <= 0) return;
  const double now = static_cast<double>(done_ - rated_) / span, weight = rated_ == 0 ? 1.0 : 1.0 - std::exp(-span / 10.0);
  rate_ += weight * (now - rate_);
  rate_at_ = elapsed;
  rated_ = done_;
}

void Progress::draw(bool last) {
  if (progress_detail::quiet) return;
  const double elapsed = seconds();
  take_rate(elapsed);
  const double rate = !last ? rate_ : elapsed > 0 ? static_cast<double>(done_) / elapsed : 0;
  std::string line = title_ + "  ";
  if (total_ > 0) {
    const double share = std::min(1.0, static_cast<double>(done_) / static_cast<double>(total_));
    if (progress_detail::on_terminal()) line += progress_detail::bar(share) + " ";
    line += progress_detail::formatted("%3.0f %%  ", share * 100) + std::to_string(done_) + "/" + std::to_string(total_);
  } else {
    line += std::to_string(done_);
  }
  line += " " + unit_ + progress_detail::formatted(rate < 10 ? "  %.2f/s" : "  %.0f/s", rate);
  if (last) {
    line += "  in " + duration_text(elapsed);
  } else if (total_ > 0 && rate > 0) {
    line += "  " + duration_text(static_cast<double>(std::max<int64_t>(0, total_ - done_)) / rate) + " left";
  }
  if (!figures_.empty()) line += "  " + figures_;
  if (more_) line += "  " + more_();
  if (!progress_detail::on_terminal()) {
    std::fprintf(stderr, "%s\n", line.c_str());
    return;
  }
  const size_t shown = line.size();
  if (shown < width_) line += std::string(width_ - shown, ' ');  // wipes what the longer line before left
  width_ = shown;
  std::fprintf(stderr, "\r%s%s", line.c_str(), last ? "\n" : "");
  std::fflush(stderr);
}

}  // namespace zoo::app
