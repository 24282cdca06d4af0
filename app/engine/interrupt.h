// Ctrl-C during a long piece of work: the first asks it to stop at the next good moment, one that comes later than half a second
// after it ends the program (sooner, it is the same request: many senders signal a process and its group).
#pragma once
#include <csignal>

namespace zoo::app {

class Interrupt {
 public:
  Interrupt();   // takes over SIGINT and SIGTERM
  ~Interrupt();  // gives them back
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;
  bool requested() const;

 private:
  struct sigaction old_int_, old_term_;
};

}  // namespace zoo::app
