#include "seccomp_probes.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>

#include "isolation/unique_fd.h"
#include "probe_runner.h"

namespace fnrun::doctor {
namespace {

// The call that the filters of the probes are about: harmless, and nothing else here makes it.
constexpr long kVictim = SYS_getppid;
// What no kernel and no other filter answers to it (4095 is the greatest that a filter can say).
constexpr int kAnswer = 3001;
constexpr int kNotifyBoundMs = 10'000;

// "" if the kernel knows the action.
std::string why_unavailable(std::uint32_t action) {
  if (::syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0) return "";
  return failed("seccomp(SECCOMP_GET_ACTION_AVAIL)", errno).why;
}

// -1 and errno, or what the kernel returns: 0, or with NEW_LISTENER a descriptor.
int load_filter(std::uint32_t action, unsigned flags) {
  std::array<sock_filter, 4> program{
      sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(kVictim), 0, 1),
      sock_filter BPF_STMT(BPF_RET | BPF_K, action),
      sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{program.size(), program.data()};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
  return static_cast<int>(::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &filter));
}

// How a child fares that makes the call under a filter with this action. Its exit code: 0 the
// call's own answer, 1 kAnswer, 2 something else, 3 and above: loading failed with that errno.
enum Fate : int { kCallWorked = 0, kCallAnswered = 1, kCallElse = 2 };
int fate_of_victim(std::uint32_t action) {
  // Not by a call before the filter: what we run under may answer that already.
  const pid_t parent = ::getpid();
  const pid_t victim = start_helper([action, parent]() -> int {
    ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);  // What a filter kills would dump core.
    if (load_filter(action, 0) < 0) return errno > kCallElse ? errno : EPERM;
    errno = 0;
    const long answer = ::syscall(kVictim);
    if (answer == parent) return kCallWorked;
    return answer == -1 && errno == kAnswer ? kCallAnswered : kCallElse;
  });
  return victim < 0 ? W_EXITCODE(errno, 0) : wait_for_helper(victim);
}

Finding disobeyed(int status, std::string_view wanted) {
  if (WIFEXITED(status) && WEXITSTATUS(status) > kCallElse)
    return failed("seccomp(SECCOMP_SET_MODE_FILTER)", WEXITSTATUS(status));
  std::string seen = "it went on";
  if (WIFSIGNALED(status)) seen = "signal " + std::to_string(WTERMSIG(status)) + " ended it";
  if (WIFEXITED(status) && WEXITSTATUS(status) != kCallWorked) seen = "it had another answer";
  return missing("the filter was loaded, and a child that made the filtered call was to " +
                 std::string(wanted) + "; " + seen +
                 " (a filter that this process was started under may outrank it)");
}

}  // namespace

Finding probe_no_new_privs(const Surroundings&) {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
    return failed("prctl(PR_SET_NO_NEW_PRIVS)", errno);
  if (::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
    return missing("prctl(PR_SET_NO_NEW_PRIVS) said yes, and reading it back says no");
  return works("set, and read back");
}

Finding probe_seccomp_kill_process(const Surroundings&) {
  if (auto why = why_unavailable(SECCOMP_RET_KILL_PROCESS); !why.empty()) return missing(why);
  const int status = fate_of_victim(SECCOMP_RET_KILL_PROCESS);
  if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS) return disobeyed(status, "die of SIGSYS");
  return works("killed a child that made the filtered call");
}

Finding probe_seccomp_errno(const Surroundings&) {
  if (auto why = why_unavailable(SECCOMP_RET_ERRNO); !why.empty()) return missing(why);
  const int status = fate_of_victim(SECCOMP_RET_ERRNO | kAnswer);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != kCallAnswered)
    return disobeyed(status, "get our errno");
  return works("a child got the errno of the filter");
}

Finding probe_seccomp_trap(const Surroundings&) {
  if (auto why = why_unavailable(SECCOMP_RET_TRAP); !why.empty()) return missing(why);
  const pid_t victim = start_helper([]() -> int {
    struct sigaction on_trap {};
    on_trap.sa_flags = SA_SIGINFO;
    on_trap.sa_sigaction = [](int, siginfo_t* info, void*) {
      ::_exit(info->si_syscall == kVictim ? kCallAnswered : kCallElse);
    };
    ::sigaction(SIGSYS, &on_trap, nullptr);
    if (load_filter(SECCOMP_RET_TRAP, 0) < 0) return errno > kCallElse ? errno : EPERM;
    ::syscall(kVictim);
    return kCallWorked;
  });
  if (victim < 0) return failed("fork", errno);
  const int status = wait_for_helper(victim);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != kCallAnswered)
    return disobeyed(status, "get a SIGSYS that it can handle");
  return works("a child handled the SIGSYS of the filtered call");
}

Finding probe_seccomp_log(const Surroundings&) {
  if (auto why = why_unavailable(SECCOMP_RET_LOG); !why.empty()) return missing(why);
  const int status = fate_of_victim(SECCOMP_RET_LOG);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != kCallWorked)
    return disobeyed(status, "get the kernel's own answer");
  return works(
      "a child's filtered call went through; that it is in the kernel's log, root can see");
}

Finding probe_seccomp_user_notif(const Surroundings&) {
  if (auto why = why_unavailable(SECCOMP_RET_USER_NOTIF); !why.empty()) return missing(why);
  // We load the filter and do not make the call; the child inherits it and does.
  const isolation::UniqueFd listener(
      load_filter(SECCOMP_RET_USER_NOTIF, SECCOMP_FILTER_FLAG_NEW_LISTENER));
  if (!listener)
    return missing(failed("seccomp(SECCOMP_FILTER_FLAG_NEW_LISTENER)", errno).why +
                   (errno == EBUSY ? ": we were started under a filter with a listener, and a "
                                     "process can have one only"
                                   : ""));
  const pid_t victim = start_helper([&]() -> int {
    ::close(listener.get());
    return ::syscall(kVictim) == kAnswer ? kCallAnswered : kCallElse;
  });
  if (victim < 0) return failed("fork", errno);
  const isolation::UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, victim, 0)));
  if (!pidfd) return failed("pidfd_open", errno);
  // It ends without a notification where another filter answers.
  std::array<pollfd, 2> either{pollfd{listener.get(), POLLIN, 0}, pollfd{pidfd.get(), POLLIN, 0}};
  seccomp_notif call{};
  seccomp_notif_resp answer{};
  if (::poll(either.data(), either.size(), kNotifyBoundMs) < 1 ||
      (either[0].revents & POLLIN) == 0 ||
      ::ioctl(listener.get(), SECCOMP_IOCTL_NOTIF_RECV, &call) != 0)
    return missing("the filtered call of a child never arrived at the listener");
  answer.id = call.id;
  answer.val = kAnswer;
  if (::ioctl(listener.get(), SECCOMP_IOCTL_NOTIF_SEND, &answer) != 0)
    return failed("answering a notification", errno);
  const int status = wait_for_helper(victim);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != kCallAnswered)
    return disobeyed(status, "get the listener's answer");
  return works("a listener answered a child's call");
}

}  // namespace fnrun::doctor
