// The one execve(2) of a sandbox under `exec_once`: the handler's own.
//
// The filter asks the listener, the init, about each execve. The first is let go on
// (SECCOMP_USER_NOTIF_FLAG_CONTINUE), which elsewhere is never done, because a caller's memory may
// change after anybody looked at it: here the caller is our own fork, before it has run anything
// that is not ours, alone in its memory and in the sandbox. Whatever comes later is refused.
//
// So the init cannot sleep in vfork(2) until that execve is over. It learns that from a robust
// futex, which the kernel marks when its owner executes a program or ends (set_robust_list(2)).
// That the listener is there nothing can tell it: behind the filter the process may make no call
// but its execve. So it looks, some microseconds at a time. The page is shared, the rest of the
// memory is each one's own.
#include <asm/ioctl.h>
#include <asm/unistd.h>
#include <linux/audit.h>
#include <linux/futex.h>
#include <linux/seccomp.h>

#include "isolation/child/kernel_abi.h"
#include "isolation/child/raw_syscall.h"
#include "isolation/child/setup.h"

namespace fnrun::child {
namespace {

constexpr short kPollIn = 1;
constexpr long kNobodyWaits = -2;  // ENOENT: a signal ended the waiting, or the caller is gone.

constexpr std::int64_t kLook[2] = {0, 50'000};  // struct timespec

// One futex on a list of one.
robust_list entry;
robust_list_head head;

bool is_over(const FirstExec& exec) noexcept {
  return (exec.gate & FUTEX_OWNER_DIED) != 0;
}

void wait_for_change(const FirstExec& exec, const std::int64_t* at_most) noexcept {
  const std::uint32_t gate = exec.gate;
  if ((gate & FUTEX_OWNER_DIED) != 0) return;
  raw_syscall(__NR_futex, as_arg(&exec.gate), FUTEX_WAIT, long(gate), as_arg(at_most));
}

// Without taking its end from whoever reaps.
bool has_ended(int pid) noexcept {
  alignas(8) std::int32_t info[32] = {};  // siginfo_t; a signal's number first
  raw_syscall(__NR_waitid, /*P_PID=*/1, pid, as_arg(info),
              /*WNOHANG|WEXITED|WNOWAIT=*/0x1000005, 0);
  return info[0] != 0;
}

// True if the call was answered; false if there is to be another look.
bool answer(int listener, int pid, const char* handler) noexcept {
  seccomp_notif call{};
  if (raw_syscall(__NR_ioctl, listener, long(SECCOMP_IOCTL_NOTIF_RECV), as_arg(&call)) < 0)
    return false;
  const bool ours = int(call.pid) == pid && call.data.arch == AUDIT_ARCH_X86_64 &&
                    call.data.nr == __NR_execve &&
                    call.data.args[0] == std::uint64_t(as_arg(handler));
  seccomp_notif_resp response{};
  response.id = call.id;
  // There is nobody else, and it makes no other call that the filter asks about. If it did: no.
  if (ours)
    response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
  else
    response.error = -1;
  return raw_syscall(__NR_ioctl, listener, long(SECCOMP_IOCTL_NOTIF_SEND), as_arg(&response)) !=
         kNobodyWaits;
}

}  // namespace

void announce_first_exec(FirstExec& exec) noexcept {
  head.list.next = &entry;
  entry.next = &head.list;
  head.futex_offset = as_arg(&exec.gate) - as_arg(&entry);
  raw_syscall(__NR_set_robust_list, as_arg(&head), sizeof head);
  exec.gate = FUTEX_WAITERS | std::uint32_t(raw_syscall(__NR_getpid));
}

void let_first_exec_pass(FirstExec& exec, int pid, const char* handler) noexcept {
  while (exec.listener < 0) {
    if (is_over(exec) || has_ended(pid)) return;
    wait_for_change(exec, kLook);
  }
  for (bool answered = false; !answered && !is_over(exec);) {
    PollFd listener{exec.listener, kPollIn, 0};
    raw_syscall(__NR_ppoll, as_arg(&listener), 1, 0, 0, 8);
    if ((listener.revents & kPollIn) == 0) return;  // Hung up: nobody is left under the filter.
    answered = answer(exec.listener, pid, handler);
  }
  while (!is_over(exec)) wait_for_change(exec, nullptr);
}

}  // namespace fnrun::child
