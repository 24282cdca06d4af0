#include "app/engine/launcher.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "app/engine/ranks.h"
#include "app/machine.h"
#include "app/resources.h"

extern char** environ;

namespace zoo::app {
namespace launcher_detail {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds kGrace{30}, kLastGrace{5};

std::vector<std::string> own_words() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::vector<std::string> words;
  for (std::string word; std::getline(file, word, '\0');) words.push_back(word);
  if (words.empty()) throw std::runtime_error("/proc/self/cmdline cannot be read: start the processes with mpirun or torchrun --no-python");
  return words;
}

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> list;
  for (auto& word : words) list.push_back(word.data());
  list.push_back(nullptr);
  return list;
}

using Variables = std::map<std::string, std::string>;

std::vector<std::string> environment_of(Variables variables, int rank, int count, uint16_t port) {
  for (char** line = environ; *line; ++line) {
    const char* equals = std::strchr(*line, '=');
    if (equals) variables.try_emplace(std::string(*line, static_cast<size_t>(equals - *line)), equals + 1);
  }
  variables["RANK"] = variables["LOCAL_RANK"] = std::to_string(rank);
  variables["WORLD_SIZE"] = variables["LOCAL_WORLD_SIZE"] = std::to_string(count);
  variables["MASTER_ADDR"] = "127.0.0.1";
  variables["MASTER_PORT"] = std::to_string(port);
  variables["TORCHELASTIC_USE_AGENT_STORE"] = "True";
  variables["ZOO_LAUNCHED"] = "1";
  variables.try_emplace("OMP_NUM_THREADS", std::to_string(std::max(1, physical_cores() / count)));
  std::vector<std::string> lines;
  for (const auto& [name, value] : variables) lines.push_back(name + "=" + value);
  return lines;
}

struct Child {
  pid_t process = -1;
  std::optional<int> status;
};

// Between fork and exec only calls that are safe there; everything else is made ready before.
pid_t start(const Variables& extra, int rank, int count, uint16_t port, const sigset_t& mask) {
  static const std::string program = program_path().string();
  std::vector<std::string> words = own_words(), variables = environment_of(extra, rank, count, port);
  const auto arguments = pointers(words), environment = pointers(variables);
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child < 0) throw std::runtime_error(std::string("process ") + std::to_string(rank) + " cannot be started: " + std::strerror(errno));
  if (child > 0) return child;
  setpgid(0, 0);  // Ctrl-C reaches the launcher alone, which passes it on once
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);
  if (rank > 0) {
    const int null = open("/dev/null", O_WRONLY);
    if (null >= 0) dup2(null, STDOUT_FILENO);
  }
  sigprocmask(SIG_SETMASK, &mask, nullptr);
  execve(program.c_str(), arguments.data(), environment.data());
  _exit(127);
}

std::string ending(int status) {
  if (WIFEXITED(status)) return "ended with exit code " + std::to_string(WEXITSTATUS(status));
  return "was killed by signal " + std::to_string(WTERMSIG(status)) + " (" + strsignal(WTERMSIG(status)) + ")";
}

class Family {
 public:
  Family(int count, Variables variables) : variables_(std::move(variables)), children_(static_cast<size_t>(count)) {
    sigemptyset(&signals_);
    for (const int signal : {SIGINT, SIGTERM, SIGCHLD}) sigaddset(&signals_, signal);
    sigprocmask(SIG_BLOCK, &signals_, &before_);  // before the store's threads begin, so that none of them takes the signals
  }
  ~Family() {
    for (auto& child : children_) {
      if (child.process > 0 && !child.status) {
        kill(child.process, SIGKILL);
        waitpid(child.process, nullptr, 0);
      }
    }
    sigprocmask(SIG_SETMASK, &before_, nullptr);
  }

  Launched run() {
    const StoreHost store;
    for (size_t rank = 0; rank < children_.size(); ++rank) {
      children_[rank].process = start(variables_, static_cast<int>(rank), static_cast<int>(children_.size()), store.port(), before_);
    }
    while (running() > 0) {
      const timespec second{1, 0};
      const int signal = sigtimedwait(&signals_, nullptr, &second);
      if (signal == SIGINT || signal == SIGTERM) {
        interrupted_ = true;
        send(signal);
      }
      collect();
      end_the_others();
    }
    return {verdict(), interrupted_};
  }

 private:
  size_t running() const {
    return static_cast<size_t>(std::count_if(children_.begin(), children_.end(), [](const Child& child) { return !child.status; }));
  }
  void send(int signal) {
    for (auto& child : children_) {
      if (!child.status) kill(child.process, signal);
    }
  }

  void collect() {
    for (size_t rank = 0; rank < children_.size(); ++rank) {
      Child& child = children_[rank];
      int status = 0;
      if (child.status || waitpid(child.process, &status, WNOHANG) != child.process) continue;
      child.status = status;
      if (status == 0 || failed_) continue;
      failed_ = rank;
      failed_at_ = Clock::now();
      if (!interrupted_ && WIFSIGNALED(status)) {
        spdlog::error("rank {} of {} (process {}) {}; the others stop as well (zoo train --resume goes on from the last checkpoint)", rank,
                      children_.size(), child.process, ending(status));
      }
    }
  }

  // After Ctrl-C a process may take its time to save; after a failure the others have nothing to wait for.
  void end_the_others() {
    if (!failed_ || interrupted_) return;
    const auto waited = Clock::now() - failed_at_;
    if (waited > kGrace + kLastGrace) send(SIGKILL);
    else if (waited > kGrace) send(SIGTERM);
  }

  int verdict() const {
    if (!failed_) return 0;
    const int status = *children_[*failed_].status, first = *children_[0].status;
    if (WIFSIGNALED(first)) throw std::runtime_error("rank 0 " + ending(first) + " (zoo train --resume goes on from the last checkpoint)");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
  }

  const Variables variables_;
  sigset_t signals_{}, before_{};
  std::vector<Child> children_;
  std::optional<size_t> failed_;
  Clock::time_point failed_at_;
  bool interrupted_ = false;
};

}  // namespace launcher_detail

Launched launch_processes(int count, const std::map<std::string, std::string>& variables) { return launcher_detail::Family(count, variables).run(); }

}  // namespace zoo::app
