// See enter.h for the rules of this code.
#include "isolation/child/enter.h"

#include <asm/unistd.h>
#include <linux/capability.h>
#include <linux/fcntl.h>
#include <linux/prctl.h>
#include <linux/sched.h>

#include "isolation/child/kernel_abi.h"
#include "isolation/child/launch_plan.h"
#include "isolation/child/raw_syscall.h"

namespace fnrun::child {
namespace {

[[noreturn]] void fail_enter(const EnterPlan& plan, SetupStep step, long result) noexcept {
  Report report{};
  report.kind = ReportKind::kFailed;
  report.step = step;
  report.os_errno = std::int32_t(-result);
  raw_syscall(__NR_sendto, plan.control_fd, as_arg(&report), sizeof report, /*MSG_NOSIGNAL=*/0x4000,
              0, 0);
  for (;;) raw_syscall(__NR_exit_group, 125);
}

// An execve by a uid that is not 0 inside drops every capability but the ambient ones; these are
// what setting up a sandbox takes, over our own namespaces only.
long keep_setup_capabilities() noexcept {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  const __user_cap_data_struct all[2] = {{~0U, ~0U, ~0U}, {~0U, ~0U, ~0U}};
  if (const long r = raw_syscall(__NR_capset, as_arg(&header), as_arg(all)); r < 0) return r;
  constexpr int kSetup[] = {CAP_SYS_ADMIN, CAP_DAC_OVERRIDE, CAP_SETUID,      CAP_SETGID,
                            CAP_SETPCAP,   CAP_SYS_TIME,     CAP_SYS_RESOURCE};
  for (const int cap : kSetup) {
    const long r = raw_syscall(__NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0);
    if (r < 0) return r;
  }
  return 0;
}

// dup3 refuses equal numbers; then it is the close-on-exec flag that has to go. `from` never is a
// number that an earlier call overwrote: the parent hands us descriptors above 4.
long place_fd(int from, int to) noexcept {
  if (from == to) return raw_syscall(__NR_fcntl, to, /*F_SETFD=*/2, 0);
  return raw_syscall(__NR_dup3, from, to, 0);
}

[[noreturn]] void enter(const EnterPlan& plan) noexcept {
  if (plan.role == Role::kSandbox) {
    // Root keeps what it has: only in a namespace of our own is that everything.
    if (const long r = keep_setup_capabilities(); r < 0 && is_on(plan, kSwitchUserNamespace))
      fail_enter(plan, SetupStep::kEnterCapabilities, r);
  }
  if (const long r = place_fd(plan.control_fd, kControlFd); r < 0)
    fail_enter(plan, SetupStep::kEnterFds, r);
  if (plan.extra_fd >= 0) {
    if (const long r = place_fd(plan.extra_fd, kControlFd + 1); r < 0)
      fail_enter(plan, SetupStep::kEnterFds, r);
  }
  const char* argv[3] = {plan.role == Role::kJanitor ? "janitor" : "init", plan.argument, nullptr};
  const char* envp[1] = {nullptr};
  const long r = raw_syscall(__NR_execveat, plan.init_image_fd, as_arg(""), as_arg(argv),
                             as_arg(envp), kAtEmptyPath);
  fail_enter(plan, SetupStep::kEnterExec, r);
}

extern "C" [[noreturn, gnu::used]] void fnrun_enter(const EnterPlan* plan) {
  enter(*plan);
}

}  // namespace

CloneResult clone_init(std::uint64_t clone_flags, int cgroup_fd, const EnterPlan& plan,
                       std::byte* stack) noexcept {
  int pidfd = -1;
  clone_args args{};
  args.flags = clone_flags | CLONE_VM | CLONE_PIDFD | (cgroup_fd >= 0 ? CLONE_INTO_CGROUP : 0);
  args.pidfd = reinterpret_cast<std::uint64_t>(&pidfd);
  args.exit_signal = static_cast<__u64>(kSigChld);
  args.stack = reinterpret_cast<std::uint64_t>(stack);
  args.stack_size = kEnterStackSize;
  args.cgroup = cgroup_fd >= 0 ? static_cast<__u64>(cgroup_fd) : 0;
  long result;
  // SAFETY: in the child the stack pointer is the top of `stack`; it must not touch a frame of
  // ours, so it goes straight to fnrun_enter (the plan is in a register) and never comes back.
  register const EnterPlan* in_child asm("r12") = &plan;
  asm volatile(
      "syscall\n"
      "test %%rax, %%rax\n"
      "jnz 1f\n"
      "xor %%ebp, %%ebp\n"
      "mov %%r12, %%rdi\n"
      "call fnrun_enter\n"
      "hlt\n"
      "1:\n"
      : "=a"(result)
      : "a"(__NR_clone3), "D"(&args), "S"(sizeof args), "r"(in_child)
      : "rcx", "r11", "memory");
  return {result, pidfd};
}

}  // namespace fnrun::child
