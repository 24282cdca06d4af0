// Ctrl-C once, twice at once (as `timeout` sends it) and twice with a pause.
#include <sys/wait.h>
#include <unistd.h>

#include "app/engine/interrupt.h"
#include "tests/catch.h"

namespace interrupt_tests {
using zoo::app::Interrupt;

// How a child process ends that gets two signals with a pause between them.
int status_after_two(int first, int second, unsigned pause_ms) {
  const pid_t child = fork();
  if (child == 0) {
    Interrupt interrupt;
    raise(first);
    usleep(pause_ms * 1000);
    raise(second);
    _exit(interrupt.requested() ? 42 : 43);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return status;
}

TEST_CASE("a signal asks to stop, and the next Interrupt starts afresh", "[engine]") {
  {
    Interrupt interrupt;
    CHECK_FALSE(interrupt.requested());
    raise(SIGTERM);
    CHECK(interrupt.requested());
  }
  Interrupt interrupt;
  CHECK_FALSE(interrupt.requested());
}

TEST_CASE("the same Ctrl-C sent twice is one request; a later one ends the program", "[engine]") {
  const int at_once = status_after_two(SIGINT, SIGINT, 0);
  CHECK((WIFEXITED(at_once) && WEXITSTATUS(at_once) == 42));
  const int later = status_after_two(SIGINT, SIGINT, 700);
  CHECK((WIFSIGNALED(later) && WTERMSIG(later) == SIGINT));
  const int other = status_after_two(SIGINT, SIGTERM, 700);
  CHECK((WIFSIGNALED(other) && WTERMSIG(other) == SIGTERM));
}

}  // namespace interrupt_tests
