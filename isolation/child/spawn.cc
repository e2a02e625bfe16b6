// The handler's process, from its fork to its execve(2).
//
// The init forks itself: it is a few pages small, so this costs what vfork would and shares no
// memory. The child says how it fared through one shared page; CLONE_VFORK keeps the init waiting
// until the child has executed the handler or is gone, so the page is final when the init reads it.
// Under `exec_once` the init has to let that execve pass meanwhile, and waits otherwise; see
// first_exec.cc.
//
// The table of descriptors is shared (CLONE_FILES): a filter's listener appears in the task that
// loads the filter, and is for the init. execve(2) gives the handler a table of its own before it
// closes what is close-on-exec, and before the init goes on: from then on neither touches the
// other's.
#include <asm/unistd.h>
#include <linux/close_range.h>
#include <linux/mman.h>
#include <linux/sched.h>
#include <linux/seccomp.h>

#include "isolation/child/kernel_abi.h"
#include "isolation/child/raw_syscall.h"
#include "isolation/child/setup.h"

namespace fnrun::child {
namespace {

// The shared page.
struct LastWord {
  volatile SetupStep step;
  volatile std::int32_t result;
  FirstExec exec;
};

// Filled by the init before the fork: nothing is computed in the child.
const char* argv_pointers[kArgvMax + 1];
const char* envp_pointers[kArgvMax + 1];

void point_at(const Received& received, Array texts, const char** pointers) noexcept {
  const Text* from = received.array<Text>(texts);
  for (unsigned i = 0; i < texts.count; ++i) pointers[i] = received.text(from[i]);
  pointers[texts.count] = nullptr;
}

[[noreturn]] void give_up(LastWord& word, SetupStep step, long result) noexcept {
  word.result = std::int32_t(result);
  word.step = step;
  for (;;) raw_syscall(__NR_exit_group, 125);
}

// The floor first: of two filters that would ask a listener, the last one's is asked.
void load_filters(const Received& received, LastWord& word) noexcept {
  const LaunchPlan& plan = *received.plan;
  if (!is_on(plan, kSwitchSeccomp)) return;
  const SockFprog floor{static_cast<unsigned short>(plan.seccomp_floor.count),
                        received.array<char>(plan.seccomp_floor)};
  if (const long r = raw_syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, 0, as_arg(&floor)); r < 0)
    give_up(word, SetupStep::kSeccomp, r);
  const SockFprog program{static_cast<unsigned short>(plan.seccomp.count),
                          received.array<char>(plan.seccomp)};
  const long r = raw_syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, long(plan.seccomp_flags),
                             as_arg(&program));
  if (r < 0) give_up(word, SetupStep::kSeccomp, r);
  // Close-on-exec, as the kernel makes it.
  if ((plan.seccomp_flags & SECCOMP_FILTER_FLAG_NEW_LISTENER) != 0)
    word.exec.listener = std::int32_t(r);
}

// Whether the init has to let the execve pass: then it cannot sleep until it is over.
bool has_gate(const LaunchPlan& plan) noexcept {
  return plan.exec_once != 0 && is_on(plan, kSwitchSeccomp);
}

[[noreturn]] void become_handler(const Received& received, int ruleset_fd,
                                 LastWord& word) noexcept {
  const LaunchPlan& plan = *received.plan;
  if (ruleset_fd >= 0) {
    if (const long r = raw_syscall(__NR_landlock_restrict_self, ruleset_fd, 0); r < 0)
      give_up(word, SetupStep::kLandlockRestrict, r);
    // For the init as well, and now: its number is the listener's, where open_files_max is small.
    raw_syscall(__NR_close, ruleset_fd);
  }
  // At the execve all else goes; 0, 1 and 2 are what the handler has. Not now: the table is the
  // init's as well.
  if (is_on(plan, kSwitchCloseFds)) {
    if (const long r = raw_syscall(__NR_close_range, kControlFd, ~0U, CLOSE_RANGE_CLOEXEC); r < 0)
      give_up(word, SetupStep::kStdio, r);
  }
  const std::uint64_t no_signals = 0;
  if (const long r = raw_syscall(__NR_rt_sigprocmask, /*SIG_SETMASK=*/2, as_arg(&no_signals), 0, 8);
      r < 0)
    give_up(word, SetupStep::kSignals, r);
  // By this the kernel tells the init when we are another program, or gone.
  if (has_gate(plan)) announce_first_exec(word.exec);
  // Last: from here the policy governs us too. It must admit execve; exit_group is our own need
  // when that fails. Without it the failure is a kill by the kernel: such a plan has no listener,
  // because the init, which would have to answer, waits for us.
  load_filters(received, word);
  word.step = SetupStep::kNone;
  const long r = raw_syscall(__NR_execve, as_arg(received.text(plan.handler)),
                             as_arg(argv_pointers), as_arg(envp_pointers));
  give_up(word, SetupStep::kExec, r);
}

}  // namespace

Spawned spawn_handler(const Received& received, int ruleset_fd) noexcept {
  point_at(received, received.plan->argv, argv_pointers);
  point_at(received, received.plan->envp, envp_pointers);
  const long page = check(
      raw_syscall(__NR_mmap, 0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0),
      SetupStep::kSpawn, 0);
  auto& word = *reinterpret_cast<LastWord*>(page);
  // What stands there if the child is killed before it could say anything.
  word.step = SetupStep::kKilledBeforeExec;
  word.exec.listener = -1;
  const bool gate = has_gate(*received.plan);
  const long wait = gate ? 0 : CLONE_VFORK;
  const long pid = check(raw_syscall(__NR_clone, wait | long(CLONE_FILES | kSigChld), 0, 0, 0, 0),
                         SetupStep::kSpawn, 1);
  if (pid == 0) become_handler(received, ruleset_fd, word);
  if (gate) let_first_exec_pass(word.exec, int(pid), received.text(received.plan->handler));
  if (word.step != SetupStep::kNone) fail(word.step, 0, word.result);
  const Spawned spawned{int(pid), word.exec.listener, gate};
  raw_syscall(__NR_munmap, page, 4096);
  return spawned;
}

}  // namespace fnrun::child
