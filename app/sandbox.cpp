#include "app/sandbox.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <stdexcept>

namespace zoo::app {
namespace sandbox_detail {

constexpr char kCut = 'n', kOpen = 'o', kNoProgram = 'x';  // what the child tells before the program starts

void limit(int what, uint64_t value) {
  const struct rlimit both = {static_cast<rlim_t>(value), static_cast<rlim_t>(value)};
  ::setrlimit(static_cast<__rlimit_resource>(what), &both);
}

// In the child, between fork and exec: only what is safe there, no allocation.
[[noreturn]] void become(char* const* argv, char* const* environment, const char* folder, const SandboxLimits& limits, int output, int report) {
  ::setsid();
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  const bool cut = ::unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0 || ::unshare(CLONE_NEWNET) == 0;
  const char told = cut ? kCut : kOpen;
  if (::write(report, &told, 1) != 1) ::_exit(127);
  const int nothing = ::open("/dev/null", O_RDONLY);
  ::dup2(nothing, STDIN_FILENO);
  ::dup2(output, STDOUT_FILENO);
  ::dup2(output, STDERR_FILENO);
  for (int descriptor = 3; descriptor < 1024; ++descriptor)
    if (descriptor != report) ::close(descriptor);
  ::fcntl(report, F_SETFD, FD_CLOEXEC);
  limit(RLIMIT_CPU, static_cast<uint64_t>(std::ceil(limits.seconds)));
  limit(RLIMIT_AS, limits.memory);
  limit(RLIMIT_FSIZE, limits.file);
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_NOFILE, 64);
  limit(RLIMIT_NPROC, 512);  // counts all of the user's where there is no user namespace
  if (::chdir(folder) == 0) ::execvpe(argv[0], argv, environment);
  [[maybe_unused]] const auto ignored = ::write(report, &kNoProgram, 1);
  ::_exit(127);
}

struct Pipe {
  int ends[2] = {-1, -1};
  Pipe() {
    if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error(std::string("no pipe for the sandbox: ") + std::strerror(errno));
  }
  ~Pipe() {
    close_end(0);
    close_end(1);
  }
  void close_end(int which) {
    if (ends[which] >= 0) ::close(ends[which]);
    ends[which] = -1;
  }
};

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (const auto& text : texts) result.push_back(const_cast<char*>(text.c_str()));
  result.push_back(nullptr);
  return result;
}

// Reads until the program closes its output or the time is over; what is beyond `most` bytes is read and forgotten.
bool collect(int from, std::chrono::steady_clock::time_point end, uint64_t most, std::string& out) {
  char buffer[4096];
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now()).count();
    if (left <= 0) return false;
    struct pollfd ready = {from, POLLIN, 0};
    const int found = ::poll(&ready, 1, static_cast<int>(std::min<int64_t>(left, 1000)));
    if (found < 0 && errno != EINTR) return true;
    if (found <= 0) continue;
    const auto count = ::read(from, buffer, sizeof buffer);
    if (count <= 0) return true;
    if (out.size() < most) out.append(buffer, static_cast<size_t>(count));
  }
}

// Waits for the child up to `end`; false: it still runs.
bool wait_until(pid_t child, std::chrono::steady_clock::time_point end, int& status) {
  for (;;) {
    const pid_t done = ::waitpid(child, &status, WNOHANG);
    if (done == child) return true;
    if (done < 0 && errno != EINTR) return true;
    if (std::chrono::steady_clock::now() >= end) return false;
    ::usleep(2000);
  }
}

}  // namespace sandbox_detail

SandboxResult run_in_sandbox(const std::vector<std::string>& argv, const std::filesystem::path& folder, const SandboxLimits& limits) {
  namespace d = sandbox_detail;
  const char* path = std::getenv("PATH");
  const std::vector<std::string> environment = {std::string("PATH=") + (path ? path : "/usr/bin:/bin"), "HOME=" + folder.string(), "LANG=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1"};
  const auto arguments = d::pointers(argv), settings = d::pointers(environment);
  const std::string where = folder.string();
  d::Pipe output, report;
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error(std::string("no process for the sandbox: ") + std::strerror(errno));
  if (child == 0) d::become(arguments.data(), settings.data(), where.c_str(), limits, output.ends[1], report.ends[1]);
  output.close_end(1);
  report.close_end(1);
  SandboxResult result;
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(static_cast<int64_t>(limits.seconds * 1000));
  const bool closed = d::collect(output.ends[0], end, limits.file, result.out);
  int status = 0;
  const bool ended = closed && d::wait_until(child, end, status);
  ::kill(-child, SIGKILL);  // what it left running too
  if (!ended) {
    ::kill(child, SIGKILL);
    ::waitpid(child, &status, 0);
  }
  char told[2] = {0, 0};
  const auto count = ::read(report.ends[0], told, sizeof told);
  if (count == 2 && told[1] == d::kNoProgram) throw std::runtime_error("'" + argv[0] + "' cannot be run in " + where + " (is it installed?)");
  result.network_cut = count >= 1 && told[0] == d::kCut;
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  result.timed_out = !ended || (WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU);
  return result;
}

}  // namespace zoo::app
