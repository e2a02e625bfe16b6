#include "runner.h"

#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <atomic>
#include <cstdio>
#include <cstring>

#include "attempt.h"

namespace fnrun::probe {

struct Shared {
  std::atomic<bool> told;
  int deadly_signal;  // What dies_here_by() said.
  Saw saw;
};

namespace {

constexpr int kBoundMs = 30'000;
Shared* own_shared = nullptr;  // For the attempt's process.

// What a limit, a filter or whoever watches ends a process with. SIGKILL of the runner's own is
// told apart by who sent it.
bool is_an_answer(int signal) {
  return signal == SIGSYS || signal == SIGKILL || signal == SIGXFSZ || signal == SIGXCPU;
}

Saw from_status(int status, int deadly_signal) {
  if (!WIFSIGNALED(status)) return inconclusive("ended without a word");
  const int signal = WTERMSIG(status);
  if (is_an_answer(signal) || signal == deadly_signal) {
    Saw saw;
    saw.word = Word::kBlocked;
    saw.signal = signal;
    return saw;
  }
  Saw saw;
  std::snprintf(saw.detail, sizeof saw.detail, "died of SIG%s", sigabbrev_np(signal));
  return saw;
}

// False: still there when the time was up. Without a pidfd (an old kernel) the wait is not bounded.
bool wait_bounded(int pidfd) {
  if (pidfd < 0) return true;
  pollfd ended{pidfd, POLLIN, 0};
  long ready;
  do {
    ready = raw_syscall(__NR_poll, as_arg(&ended), 1, kBoundMs);
  } while (ready == -EINTR);
  return ready != 0;
}

}  // namespace

Runner::Runner() : shared_(nullptr) {
  const long at = raw_syscall(__NR_mmap, 0, sizeof(Shared), PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (at >= 0 || at < -4096) shared_ = reinterpret_cast<Shared*>(at);
  own_shared = shared_;
}

Saw Runner::run(const Probe& probe) {
  shared_->told = false;
  shared_->deadly_signal = 0;
  int pidfd = -1;
  const long pid = fork_child(&pidfd);
  if (pid < 0) {
    char why[64];
    std::snprintf(why, sizeof why, "no process for it: %s",
                  strerrorname_np(static_cast<int>(-pid)));
    return inconclusive(why);
  }
  if (pid == 0) {
    shared_->saw = probe.attempt();
    shared_->told = true;
    leave(0);
  }
  const bool in_time = wait_bounded(pidfd);
  if (!in_time) raw_syscall(__NR_kill, pid, SIGKILL);
  const int status = wait_child(pid);
  if (pidfd >= 0) raw_syscall(__NR_close, pidfd);
  if (shared_->told) return shared_->saw;
  return in_time ? from_status(status, shared_->deadly_signal) : inconclusive("no end in 30 s");
}

void dies_here_by(int signal) {
  own_shared->deadly_signal = signal;
}

}  // namespace fnrun::probe
