// What the handler's filter forbids: the kernel tells the init of each such call and keeps the
// caller waiting; the init remembers the call, reports it, and kills the caller.
//
// The call is never let go on: by the time anybody looks at it, what its arguments point to may be
// something else. An execve(2) after the handler's own, where there may be no other, is refused
// and not told of: programs try and cope. Two first calls are kept, the handler's own and another
// process's, with their counts; whatever a flood brings, that is all. Runs in the init,
// single-threaded.
#include <asm/ioctl.h>
#include <asm/unistd.h>
#include <linux/audit.h>
#include <linux/seccomp.h>

#include "isolation/child/kernel_abi.h"
#include "isolation/child/raw_syscall.h"
#include "isolation/child/setup.h"

namespace fnrun::child {
namespace {

constexpr std::uint64_t kMsgDontWait = 0x40;
constexpr int kNoSuchCall = -38;   // ENOSYS
constexpr int kNotPermitted = -1;  // EPERM

struct Seen {
  SeenCall first;
  std::uint32_t count;
  std::uint32_t told;
};
Seen by_handler;
Seen by_children;

void tell(MadeBy made_by, Seen& seen) noexcept {
  Report report{};
  report.kind = ReportKind::kForbidden;
  report.made_by = made_by;
  report.count = seen.count;
  report.call = seen.first;
  send_report(report, kMsgDontWait);
  seen.told = seen.count;
}

void remember(MadeBy made_by, const seccomp_data& call) noexcept {
  Seen& seen = made_by == MadeBy::kHandler ? by_handler : by_children;
  if (seen.count == 0) {
    seen.first = {call.nr, call.arch, call.instruction_pointer, {}};
    for (int i = 0; i < 6; ++i) seen.first.args[i] = call.args[i];
  }
  if (seen.count != ~0U) ++seen.count;
  // The first one at once, because we may be killed before the end; then ever more seldom (1, 2, 4,
  // 8 …), because the supervisor reads only at the end and a socket holds so much.
  if ((seen.count & (seen.count - 1)) == 0) tell(made_by, seen);
}

void refuse(const Spawned& handler, const seccomp_notif& call, int error) noexcept {
  seccomp_notif_resp refusal{};
  refusal.id = call.id;
  refusal.error = error;
  raw_syscall(__NR_ioctl, handler.listener, long(SECCOMP_IOCTL_NOTIF_SEND), as_arg(&refusal));
}

}  // namespace

// Precondition: the listener is readable. The kernel counts what it ever had for us, so that asking
// once then never waits; a caller that is gone by now (killed, or interrupted by a signal before we
// looked) is ENOENT.
void hear_of_call(const Spawned& handler) noexcept {
  seccomp_notif call{};
  if (raw_syscall(__NR_ioctl, handler.listener, long(SECCOMP_IOCTL_NOTIF_RECV), as_arg(&call)) < 0)
    return;
  // A policy without `exec_once` lets execve pass, so that nobody asks; one with it has had its
  // one.
  if (handler.exec_once && call.data.arch == AUDIT_ARCH_X86_64 && call.data.nr == __NR_execve)
    return refuse(handler, call, kNotPermitted);
  // The pid is a thread's; SIGKILL to a thread ends its whole process, and tgkill finds only
  // threads of the handler's. Not asked before whether the call still waits: a signal may end the
  // waiting, not the forbidding.
  const long tid = long(call.pid);
  long killed = raw_syscall(__NR_tgkill, handler.pid, tid, long(kSigKill));
  const MadeBy made_by = killed >= 0 ? MadeBy::kHandler : MadeBy::kChild;
  if (killed < 0) killed = raw_syscall(__NR_tkill, tid, long(kSigKill));
  remember(made_by, call.data);
  if (killed >= 0) return;
  // Gone, and then there is nobody to hear this, or out of our reach: it must not wait for ever.
  refuse(handler, call, kNoSuchCall);
}

void tell_forbidden_counts() noexcept {
  if (by_handler.told != by_handler.count) tell(MadeBy::kHandler, by_handler);
  if (by_children.told != by_children.count) tell(MadeBy::kChild, by_children);
}

bool handler_made_forbidden_call() noexcept {
  return by_handler.count != 0;
}

}  // namespace fnrun::child
