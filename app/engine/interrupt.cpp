#include "app/engine/interrupt.h"

namespace zoo::app {
namespace interrupt_detail {
volatile std::sig_atomic_t stop_requested = 0;
void note(int) { stop_requested = 1; }
}  // namespace interrupt_detail

Interrupt::Interrupt() {
  interrupt_detail::stop_requested = 0;
  struct sigaction action {};
  action.sa_handler = interrupt_detail::note;
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);  // the second signal finds the default: end at once
  sigaction(SIGINT, &action, &old_int_);
  sigaction(SIGTERM, &action, &old_term_);
}

Interrupt::~Interrupt() {
  sigaction(SIGINT, &old_int_, nullptr);
  sigaction(SIGTERM, &old_term_, nullptr);
}

bool Interrupt::requested() const { return interrupt_detail::stop_requested != 0; }

}  // namespace zoo::app
