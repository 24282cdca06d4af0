#include "app/engine/interrupt.h"

#include <atomic>
#include <ctime>

namespace zoo::app {
namespace interrupt_detail {
// Milliseconds of the steady clock at the first request; 0: none yet.
std::atomic<long long> requested_at = 0;
static_assert(decltype(requested_at)::is_always_lock_free, "a signal handler touches it");

// `timeout`, a shell's job control and launchers send one Ctrl-C twice: to the process and to its group.
constexpr long long same_request_ms = 500;

long long steady_milliseconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);  // among the calls that a signal handler may make
  return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

void note(int signal) {
  const long long now = steady_milliseconds(), first = requested_at;
  if (first == 0) {
    requested_at = now;
  } else if (now - first > same_request_ms) {
    std::signal(signal, SIG_DFL);
    raise(signal);  // takes effect when this handler returns
  }
}
}  // namespace interrupt_detail

Interrupt::Interrupt() {
  interrupt_detail::requested_at = 0;
  struct sigaction action {};
  action.sa_handler = interrupt_detail::note;
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, &old_int_);
  sigaction(SIGTERM, &action, &old_term_);
}

Interrupt::~Interrupt() {
  sigaction(SIGINT, &old_int_, nullptr);
  sigaction(SIGTERM, &old_term_, nullptr);
}

bool Interrupt::requested() const { return interrupt_detail::requested_at != 0; }

}  // namespace zoo::app
