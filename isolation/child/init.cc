// PID 1 of every sandbox: a static program of a few kilobytes without libc.
//
// It receives the plan over descriptor 3, builds the sandbox around itself (setup.h), starts the
// handler, and then stays: it reaps what the handler leaves behind, ends who makes a forbidden
// system call, reports the handler's end, and watches the lifeline. When it exits, for whatever
// reason, the kernel kills every process of the PID namespace. It is non-dumpable, so no process
// inside can trace it or read its memory, and runs under a seccomp filter of its own.
#include <asm/unistd.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>

#include "isolation/child/kernel_abi.h"
#include "isolation/child/raw_syscall.h"
#include "isolation/child/setup.h"

namespace fnrun::child {
namespace {

alignas(16) char message[kPlanMax];
alignas(16) char control_data[1024];  // One SCM_RIGHTS header and kFdMax descriptors: 16 + 1000.
int mount_fds[kFdMax];

struct Iovec {
  void* base;
  std::uint64_t size;
};
struct Msghdr {
  void* name;
  std::uint32_t name_size;
  Iovec* iov;
  std::uint64_t iov_count;
  void* control;
  std::uint64_t control_size;
  std::int32_t flags;
};
struct Cmsghdr {
  std::uint64_t size;
  std::int32_t level;
  std::int32_t type;
};
constexpr std::uint64_t kMsgCmsgCloexec = 0x40000000;
constexpr std::uint64_t kMsgNoSignal = 0x4000;
constexpr std::uint64_t kMsgTruncated = 0x20 | 0x8;  // MSG_TRUNC | MSG_CTRUNC
constexpr int kPollIn = 1;

[[noreturn]] void leave(long code) noexcept {
  for (;;) raw_syscall(__NR_exit_group, code);
}

// The first thing that the init does with what it inherited: nothing of it stays but the socket.
void close_everything_inherited() noexcept {
  check(raw_syscall(__NR_close_range, 0, kControlFd - 1, 0), SetupStep::kReceivePlan, 0);
  check(raw_syscall(__NR_close_range, kControlFd + 1, ~0U, 0), SetupStep::kReceivePlan, 1);
}

// The parent writes our id maps first and sends then: a plan in hand means that we are somebody.
// Descriptors are given out lowest first, so the handler's stdio lands on 0, 1 and 2, as sent.
Received receive_plan() noexcept {
  Iovec iov{message, sizeof message};
  Msghdr header{nullptr, 0, &iov, 1, control_data, sizeof control_data, 0};
  long size;
  do {
    size = raw_syscall(__NR_recvmsg, kControlFd, as_arg(&header), kMsgCmsgCloexec);
  } while (size == -4);       // EINTR
  if (size == 0) leave(125);  // The supervisor died first.
  check(size, SetupStep::kReceivePlan, 2);
  const auto& plan = *reinterpret_cast<const LaunchPlan*>(message);
  if ((std::uint64_t(header.flags) & kMsgTruncated) != 0 || std::uint64_t(size) < sizeof plan ||
      plan.magic != kPlanMagic || plan.size != std::uint64_t(size))
    fail(SetupStep::kReceivePlan, 3, -22);
  const auto& rights = *reinterpret_cast<const Cmsghdr*>(control_data);
  const unsigned fd_count = header.control_size < sizeof rights
                                ? 0
                                : unsigned((rights.size - sizeof rights) / sizeof(int));
  const int* fds = reinterpret_cast<const int*>(control_data + sizeof rights);
  if (fd_count < 3 || fds[0] != 0 || fds[1] != 1 || fds[2] != 2)
    fail(SetupStep::kReceivePlan, 4, -9);
  for (unsigned i = 3; i < fd_count; ++i) mount_fds[i - 3] = fds[i];
  // Received with CLOEXEC like the rest; the handler is to keep these three.
  for (int fd = 0; fd <= 2; ++fd)
    check(raw_syscall(__NR_fcntl, fd, /*F_SETFD=*/2, 0), SetupStep::kReceivePlan, 5);
  return {&plan, message, mount_fds, fd_count - 3};
}

[[noreturn]] void report_exit(long status, const Rusage& used) noexcept {
  tell_forbidden_counts();
  Report report{};
  report.kind = ReportKind::kExited;
  report.wait_status = std::int32_t(status);
  report.user_us = used.user.seconds * 1'000'000 + used.user.microseconds;
  report.system_us = used.system.seconds * 1'000'000 + used.system.microseconds;
  report.max_rss_kib = used.max_rss_kib;
  report.voluntary_switches = used.voluntary_switches;
  report.involuntary_switches = used.involuntary_switches;
  send_report(report);
  // What the kernel's own kill for a call would have been: a caller of ours that knows nothing of
  // reports (Boost.Process) still tells it from any other.
  const long signal = handler_made_forbidden_call() ? long(kSigSys) : status & 0x7f;
  leave(signal != 0 ? 128 + signal : (status >> 8) & 0xff);
}

// Reaps what is there, a bounded number a round: a storm of dying children must not keep the
// lifeline from being looked at. True if there may be more. The handler's end is the sandbox's end:
// what it left behind dies with us.
bool reap(int handler) noexcept {
  for (int round = 0; round < 64; ++round) {
    int status = 0;
    Rusage used{};
    const long pid = raw_syscall(__NR_wait4, -1, as_arg(&status), /*WNOHANG=*/1, as_arg(&used));
    if (pid <= 0) return false;
    if (pid == handler) report_exit(status, used);
  }
  return true;
}

[[noreturn]] void watch(Spawned handler, int signal_fd) noexcept {
  static char signals[1024];
  bool more = false;
  for (;;) {
    // The kernel passes over a descriptor of -1.
    PollFd fds[3] = {
        {kControlFd, kPollIn, 0}, {signal_fd, kPollIn, 0}, {handler.listener, kPollIn, 0}};
    const std::int64_t at_once[2] = {0, 0};  // struct timespec
    raw_syscall(__NR_ppoll, as_arg(fds), 3, more ? as_arg(at_once) : 0, 0, 8);
    // The lifeline first, each time. Nothing is ever sent to us after the plan, so readable means
    // hung up; anything else is no reason to go on.
    if (fds[0].revents != 0) leave(125);
    if (fds[1].revents != 0) raw_syscall(__NR_read, signal_fd, as_arg(signals), sizeof signals);
    // One a round: asking again before another poll could wait for ever. Before the reaping: who
    // ended by this is told of first.
    if ((fds[2].revents & kPollIn) != 0) {
      hear_of_call(handler);
    } else if (fds[2].revents != 0) {
      handler.listener = -1;  // Hung up: nobody is left under the filter.
    }
    more = reap(handler.pid);
  }
}

[[noreturn]] void run_sandbox() noexcept {
  close_everything_inherited();
  const Received received = receive_plan();
  // First, while we are dumpable: afterwards our /proc files belong to the host's root.
  enter_own_namespaces(received);
  // Before the handler exists: nothing inside may trace us or read the plan in our memory.
  check(raw_syscall(__NR_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0), SetupStep::kNonDumpable);
  raw_syscall(__NR_prctl, PR_SET_NAME, as_arg("fnrun-init"), 0, 0, 0);
  become_slot_user(received);
  // The change of uid is the second thing that makes us so: both must go to see what it is for.
  if (!is_on(*received.plan, kSwitchNonDumpable)) raw_syscall(__NR_prctl, PR_SET_DUMPABLE, 1);
  build_root(received);
  normalise_process(received);
  give_up_privilege(received);
  const int ruleset_fd = build_landlock_ruleset(received);

  const std::uint64_t only_sigchld = 1ULL << (kSigChld - 1);
  check(raw_syscall(__NR_rt_sigprocmask, /*SIG_SETMASK=*/2, as_arg(&only_sigchld), 0, 8),
        SetupStep::kSignals);
  const long signal_fd = check(raw_syscall(__NR_signalfd4, -1, as_arg(&only_sigchld), 8,
                                           /*SFD_CLOEXEC|SFD_NONBLOCK=*/02004000),
                               SetupStep::kSignals, 65);
  const Spawned handler = spawn_handler(received, ruleset_fd);

  // The handler's stdio must reach end of file when the handler is gone, not when we are.
  raw_syscall(__NR_close_range, 0, 2, 0);
  const SockFprog program{static_cast<unsigned short>(received.plan->init_seccomp.count),
                          received.array<char>(received.plan->init_seccomp)};
  if (is_on(*received.plan, kSwitchSeccomp))
    check(raw_syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, 0, as_arg(&program)),
          SetupStep::kSeccomp, 1);
  // Only now: what is said to have started is confined from end to end.
  Report started{};
  started.kind = ReportKind::kStarted;
  send_report(started);
  watch(handler, int(signal_fd));
}

}  // namespace

void send_report(const Report& report, std::uint64_t flags) noexcept {
  raw_syscall(__NR_sendto, kControlFd, as_arg(&report), sizeof report, long(kMsgNoSignal | flags),
              0, 0);
}

void fail(SetupStep step, unsigned index, long result) noexcept {
  Report report{};
  report.kind = ReportKind::kFailed;
  report.step = step;
  report.index = std::uint16_t(index);
  report.os_errno = std::int32_t(-result);
  send_report(report);
  leave(125);
}

// argv[0] names the role; nobody else starts this program.
[[noreturn]] void choose_role(const long* stack) noexcept {
  const char* role = reinterpret_cast<const char*>(stack[1]);
  if (stack[0] >= 2 && role[0] == 'j') run_janitor(reinterpret_cast<const char*>(stack[2]));
  run_sandbox();
}

}  // namespace fnrun::child

// The compiler may turn a loop or an initialiser into a call of these; there is no libc to have
// them.
extern "C" void* memset(void* to, int byte, unsigned long n) {
  auto* at = static_cast<volatile char*>(to);
  for (; n > 0; --n) *at++ = char(byte);
  return to;
}
extern "C" void* memcpy(void* to, const void* from, unsigned long n) {
  auto* at = static_cast<volatile char*>(to);
  const auto* source = static_cast<const char*>(from);
  for (; n > 0; --n) *at++ = *source++;
  return to;
}

extern "C" [[noreturn, gnu::used]] void fnrun_init_main(const long* stack) {
  fnrun::child::choose_role(stack);
}

// The kernel enters with the stack pointer at argc; the ABI wants it aligned at the call.
asm(".globl _start\n"
    "_start:\n"
    "  xor %ebp, %ebp\n"
    "  mov %rsp, %rdi\n"
    "  and $-16, %rsp\n"
    "  call fnrun_init_main\n"
    "  hlt\n");
