#include "traced_run.h"

#include <fcntl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <stdexcept>

#include "tests/support/sandbox_fixture.h"

namespace fnrun::test {
namespace {

// getpgid(2) of pids that cannot be: signs to the tracer.
constexpr long kArm = -0x0A01;
constexpr long kDisarm = -0x0A02;
constexpr int kSysCall = SIGTRAP | 0x80;  // PTRACE_O_TRACESYSGOOD
constexpr int kPatienceSeconds = 30;

void wake_up(int) {}

[[noreturn]] void be_traced(int out, const std::function<std::string()>& body) {
  ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
  ::raise(SIGSTOP);
  std::string said;
  try {
    said = body();
  } catch (const std::exception& failure) {
    said = std::string("it threw: ") + failure.what();
  }
  (void)!::write(out, said.data(), said.size());
  ::_exit(said.empty() ? 0 : 1);
}

class Tracer {
 public:
  Tracer(pid_t child, const Fault& fault, TracedRun& run)
      : child_(child), fault_(fault), run_(run) {}

  void follow() {
    int status = 0;
    ::waitpid(child_, &status, __WALL);
    ::ptrace(PTRACE_SETOPTIONS, child_, nullptr,
             PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL);
    ::ptrace(PTRACE_SYSCALL, child_, nullptr, nullptr);
    for (;;) {
      const pid_t task = ::waitpid(-1, &status, __WALL);
      if (task < 0 && errno == EINTR && !run_.hung) {
        run_.hung = true;
        run_.said = where_it_hangs();
        ::kill(child_, SIGKILL);
      }
      if (task < 0 && errno == ECHILD) return;
      if (task == child_ && !WIFSTOPPED(status)) run_.wait_status = status;
      if (task > 0 && WIFSTOPPED(status)) stopped(task, WSTOPSIG(status), status >> 16);
    }
  }

 private:
  // The call that each task is in, as /proc has it.
  std::string where_it_hangs() const {
    std::string text;
    const std::string tasks = "/proc/" + std::to_string(child_) + "/task";
    for (const auto& task : std::filesystem::directory_iterator(tasks)) {
      std::string call;
      std::getline(std::ifstream(task.path() / "syscall"), call);
      text += task.path().filename().string() + ": " + call + "\n";
    }
    return text;
  }

  void stopped(pid_t task, int signal, int event) {
    long deliver = 0;
    if (signal == kSysCall) {
      at_call(task);
    } else if (event == 0 && signal != SIGSTOP) {  // A new thread begins with a SIGSTOP of ours.
      deliver = signal;
    }
    ::ptrace(PTRACE_SYSCALL, task, nullptr, deliver);
  }

  void at_call(pid_t task) {
    user_regs_struct registers{};
    if (::ptrace(PTRACE_GETREGS, task, nullptr, &registers) != 0) return;
    const auto number = static_cast<long>(registers.orig_rax);
    if (failing_.erase(task) != 0) {
      registers.rax = static_cast<unsigned long long>(-fault_.os_errno);
      ::ptrace(PTRACE_SETREGS, task, nullptr, &registers);
      inside_.erase(task);
      return;
    }
    if (inside_.erase(task) != 0) return;  // It comes back.
    inside_.insert(task);
    const auto sign = static_cast<int>(registers.rdi);
    if (number == SYS_getpgid && sign == kArm) armed_ = true;
    if (number == SYS_getpgid && sign == kDisarm) armed_ = false;
    // Eight bytes wake an event loop by its eventfd, which cannot fail; Asio looks at no error.
    const bool wakes = number == SYS_write && registers.rdx == sizeof(std::uint64_t);
    const bool other =
        fault_.operation && static_cast<int>(registers.rsi) != fault_.operation.value();
    if (!armed_ || number != fault_.call || wakes || other || ++count_ != fault_.nth) return;
    run_.hit = true;
    failing_.insert(task);
    registers.orig_rax = static_cast<unsigned long long>(-1);  // No such call: nothing is done.
    ::ptrace(PTRACE_SETREGS, task, nullptr, &registers);
  }

  pid_t child_;
  const Fault& fault_;
  TracedRun& run_;
  std::set<pid_t> inside_;   // Of a call.
  std::set<pid_t> failing_;  // That is to fail.
  bool armed_ = false;
  unsigned count_ = 0;
};

}  // namespace

void arm_faults() {
  ::syscall(SYS_getpgid, kArm);
}
void disarm_faults() {
  ::syscall(SYS_getpgid, kDisarm);
}

TracedRun run_with_fault(const Fault& fault, const std::function<std::string()>& body) {
  int pair[2];
  if (::pipe2(pair, O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
  isolation::UniqueFd out(pair[0]);
  isolation::UniqueFd in(pair[1]);
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("fork");
  if (child == 0) be_traced(in.get(), body);
  in.reset();
  struct sigaction alarm {};
  alarm.sa_handler = wake_up;  // Without SA_RESTART: it ends the wait.
  ::sigaction(SIGALRM, &alarm, nullptr);
  ::alarm(kPatienceSeconds);
  TracedRun run;
  Tracer(child, fault, run).follow();
  ::alarm(0);
  run.said += read_to_end(out.get());
  return run;
}

}  // namespace fnrun::test
