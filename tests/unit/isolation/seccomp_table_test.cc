// Compiled filters against the policies they come from: every call, every argument edge.
//
// Two readings of one policy must agree (seccomp_model.h). Neither makes a system call.
#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <set>

#include "seccomp_model.h"
#include "tests/support/bpf_interpreter.h"

namespace fnrun::test {
namespace {

using isolation::KillBy;
using policies::SyscallAction;

// Both forms of each filter.
class SeccompTable : public ::testing::TestWithParam<std::tuple<const char*, KillBy>> {
 protected:
  const KillBy kill_by = std::get<1>(GetParam());
  Profile profile = compiled(listening(std::get<0>(GetParam()), kill_by), kill_by);
};
INSTANTIATE_TEST_SUITE_P(
    , SeccompTable,
    ::testing::Combine(::testing::Values("default", "paranoid", "strict", "compat", "native", "go",
                                         "python", "node", "jvm"),
                       ::testing::Values(KillBy::kKernel, KillBy::kListener)),
    [](const auto& test) {
      return std::get<0>(test.param) +
             std::string(std::get<1>(test.param) == KillBy::kKernel ? "" : "ForAListener");
    });

TEST_P(SeccompTable, EveryCallGetsWhatThePolicySays) {
  const Model model(profile.policy, kill_by);
  std::size_t asked = 0;
  std::set<std::uint32_t> seen;
  for (int number = 0; number <= kLastCall; ++number) {
    for (const Args& args : edges(model.rules_of(number))) {
      const std::uint32_t expected = model.verdict(number, args);
      ASSERT_EQ(profile.of_policy(number, args), expected)
          << "by the policy's filter alone: call " << number;
      ASSERT_EQ(profile.ask(number, args), expected)
          << "call " << number << " with " << std::hex << args[0] << ", " << args[1] << ", "
          << args[2] << ", " << args[3];
      seen.insert(expected);
      ++asked;
    }
  }
  // The table tells things apart: it saw calls allowed and calls refused, thousands of them.
  EXPECT_TRUE(seen.contains(SECCOMP_RET_ALLOW));
  EXPECT_GE(seen.size(), 2U);
  EXPECT_GT(asked, 3'000U);
}

TEST_P(SeccompTable, ForeignArchitecturesAreKilledWhateverTheCall) {
  for (int number = 0; number <= kLastCall; ++number) {
    for (const auto arch : std::initializer_list<std::uint32_t>{AUDIT_ARCH_I386, AUDIT_ARCH_AARCH64,
                                                                AUDIT_ARCH_ARM, 0})
      ASSERT_EQ(profile.ask(number, {}, arch), SECCOMP_RET_KILL_PROCESS) << number << " " << arch;
  }
  // The control: one and the same number is allowed when it is ours (exit_group is 231).
  EXPECT_EQ(profile.ask(231, {}), SECCOMP_RET_ALLOW);
}

TEST_P(SeccompTable, X32CallsAreKilledThoughTheirArchitectureIsOurs) {
  constexpr int kX32 = 0x40000000;
  for (int number = 0; number <= kLastCall; ++number)  // 512 … 547 are x32's own.
    ASSERT_EQ(profile.ask(kX32 + number, {}), SECCOMP_RET_KILL_PROCESS) << number;
  EXPECT_EQ(profile.ask(0x7fffffff, {}), SECCOMP_RET_KILL_PROCESS);
  EXPECT_EQ(profile.ask(0, {}), SECCOMP_RET_ALLOW);  // The control: read(2).
}

TEST_P(SeccompTable, NumbersNotYetInventedGetTheDefault) {
  const std::uint32_t by_default = verdict_of(profile.policy.default_action, kill_by);
  for (const int number : {470, 500, 511, 548, 1'000, 100'000, 0x3fffffff})
    EXPECT_EQ(profile.ask(number, {}), by_default) << number;
}

TEST_P(SeccompTable, FitsTheKernelsLimit) {
  const seccomp_data nothing{};
  for (const isolation::BpfProgram* program : {&profile.program, &profile.floor}) {
    EXPECT_LE(program->size(), std::size_t{BPF_MAXINSNS});
    EXPECT_TRUE(run_filter(*program, nothing));
  }
}

// What follows says in plain words what the tables imply: a mistake in both readings would show.
class SeccompStrict : public ::testing::Test {
 protected:
  Profile strict = compiled(named("strict"));
  Profile compat = compiled(named("compat"));
  Profile paranoid = compiled(listening("paranoid", KillBy::kKernel));
  static constexpr std::uint64_t kGarbage = 0xdead'beef'0000'0000;
};

TEST_F(SeccompStrict, CloneIsRefusedEveryNamespaceFlagAndAllowedAForkAndAThread) {
  constexpr std::uint64_t kFork = 0x01200011;    // CHILD_SETTID | CHILD_CLEARTID | SIGCHLD
  constexpr std::uint64_t kThread = 0x003d0f00;  // What glibc asks for.
  for (const Profile* profile : {&strict, &compat, &paranoid}) {
    EXPECT_EQ(profile->ask("clone", {kFork}), SECCOMP_RET_ALLOW);
    EXPECT_EQ(profile->ask("clone", {kThread}), SECCOMP_RET_ALLOW);
    for (const std::uint64_t flag :
         {0x00020000ULL, 0x02000000ULL, 0x04000000ULL, 0x08000000ULL, 0x10000000ULL, 0x20000000ULL,
          0x40000000ULL, /*PTRACE*/ 0x2000ULL, /*PARENT*/ 0x8000ULL, /*UNTRACED*/ 0x00800000ULL}) {
      EXPECT_NE(profile->ask("clone", {kFork | flag}), SECCOMP_RET_ALLOW) << std::hex << flag;
      EXPECT_NE(profile->ask("clone", {kFork | flag | kGarbage}), SECCOMP_RET_ALLOW);
    }
    // glibc falls back to clone on ENOSYS only.
    EXPECT_EQ(profile->ask("clone3"), SECCOMP_RET_ERRNO | ENOSYS);
    EXPECT_EQ(profile->ask("unshare", {0x10000000}), SECCOMP_RET_KILL_PROCESS);
  }
}

TEST_F(SeccompStrict, TerminalInjectionIsRefusedWithGarbageAboveToo) {
  constexpr std::uint64_t kTcgets = 0x5401;
  constexpr std::uint64_t kTiocsti = 0x5412;
  constexpr std::uint64_t kTioclinux = 0x541c;
  for (const Profile* profile : {&strict, &compat, &paranoid}) {
    EXPECT_EQ(profile->ask("ioctl", {0, kTcgets}), SECCOMP_RET_ALLOW);
    for (const std::uint64_t request : {kTiocsti, kTioclinux}) {
      EXPECT_NE(profile->ask("ioctl", {0, request}), SECCOMP_RET_ALLOW);
      EXPECT_NE(profile->ask("ioctl", {0, request | kGarbage}), SECCOMP_RET_ALLOW);
    }
  }
}

TEST_F(SeccompStrict, SocketsAreUnixPairsWithoutOutOfBandData) {
  for (const std::uint64_t stream : {1UL, 1UL | SOCK_CLOEXEC, 1UL | SOCK_NONBLOCK})
    EXPECT_EQ(strict.ask("socketpair", {1, stream}), SECCOMP_RET_ALLOW);
  for (const std::uint64_t other : {0UL, 2UL, 2UL | SOCK_CLOEXEC, 3UL, 5UL})  // datagrams, packets
    EXPECT_NE(strict.ask("socketpair", {1, other}), SECCOMP_RET_ALLOW)
        << "which name whom they go to";
  for (const std::uint64_t domain : {0UL, 2UL, 10UL, 16UL, 17UL, 38UL, 40UL, 1 | kGarbage})
    EXPECT_NE(strict.ask("socketpair", {domain, 1}), SECCOMP_RET_ALLOW) << domain;
  for (const std::uint64_t domain : {1ULL, 2ULL, 10ULL, 38ULL})
    EXPECT_EQ(strict.ask("socket", {domain}), SECCOMP_RET_ERRNO | EAFNOSUPPORT);
  EXPECT_EQ(compat.ask("socket", {2}), SECCOMP_RET_ALLOW);
  for (const std::uint64_t domain : {16ULL, 17ULL, 38ULL, 40ULL})  // netlink packet alg vsock
    EXPECT_NE(compat.ask("socket", {domain}), SECCOMP_RET_ALLOW) << domain;
  constexpr std::uint64_t kOob = 1;
  constexpr std::uint64_t kNoSignal = 0x4000;
  for (const Profile* profile : {&strict, &compat, &paranoid}) {
    for (const char* call : {"sendto", "recvfrom"}) {
      EXPECT_EQ(profile->ask(call, {3, 0, 0, kNoSignal}), SECCOMP_RET_ALLOW) << call;
      EXPECT_NE(profile->ask(call, {3, 0, 0, kNoSignal | kOob}), SECCOMP_RET_ALLOW) << call;
      EXPECT_NE(profile->ask(call, {3, 0, 0, kOob | kGarbage}), SECCOMP_RET_ALLOW) << call;
    }
    for (const char* call : {"sendmsg", "recvmsg"}) {
      EXPECT_EQ(profile->ask(call, {3, 0, kNoSignal}), SECCOMP_RET_ALLOW) << call;
      EXPECT_NE(profile->ask(call, {3, 0, kNoSignal | kOob}), SECCOMP_RET_ALLOW) << call;
      EXPECT_NE(profile->ask(call, {3, 0, kOob | kGarbage}), SECCOMP_RET_ALLOW) << call;
    }
  }
}

TEST_F(SeccompStrict, OptionsOfPrctlFcntlAndPrlimitAreTheListedOnes) {
  constexpr std::uint64_t kSetName = 15;
  EXPECT_EQ(strict.ask("prctl", {kSetName}), SECCOMP_RET_ALLOW);
  for (const std::uint64_t option : {1ULL, 4ULL, 22ULL, 24ULL, 35ULL, 36ULL, 38ULL, 47ULL})
    EXPECT_NE(strict.ask("prctl", {option}), SECCOMP_RET_ALLOW) << option;
  EXPECT_EQ(strict.ask("fcntl", {0, /*F_SETFD*/ 2}), SECCOMP_RET_ALLOW);
  for (const std::uint64_t command : {8ULL, 10ULL, 15ULL, 1024ULL, 1026ULL, 1031ULL, 1033ULL})
    EXPECT_NE(strict.ask("fcntl", {0, command}), SECCOMP_RET_ALLOW) << command;
  for (const Profile* profile : {&strict, &compat, &paranoid}) {
    EXPECT_EQ(profile->ask("prlimit64", {0}), SECCOMP_RET_ALLOW);
    for (const std::uint64_t pid : {1UL, 2UL, ~0UL, kGarbage})
      EXPECT_NE(profile->ask("prlimit64", {pid}), SECCOMP_RET_ALLOW) << pid;
  }
}

// The init has the handler's uid: one that was made idle would not get the CPU to die when it is
// killed, and with it the sandbox. 0 is the caller; a pid is cut to 32 bits by the kernel.
TEST_F(SeccompStrict, NobodyCanMakeTheInitIdle) {
  for (const char* call : {"sched_setscheduler", "sched_setparam", "sched_setattr"}) {
    EXPECT_EQ(compat.ask(call, {0}), SECCOMP_RET_ALLOW) << call;
    for (const std::uint64_t pid : {1ULL, 2ULL, 0x1'0000'0001ULL})
      for (const Profile* profile : {&strict, &compat, &paranoid})
        EXPECT_NE(profile->ask(call, {pid}), SECCOMP_RET_ALLOW) << call << " " << pid;
  }
  EXPECT_EQ(compat.ask("setpriority", {0, 0}), SECCOMP_RET_ALLOW);
  for (const auto& [which, who] :
       {std::pair{0ULL, 1ULL}, std::pair{1ULL, 0ULL}, std::pair{2ULL, 0ULL}})
    for (const Profile* profile : {&strict, &compat, &paranoid})
      EXPECT_NE(profile->ask("setpriority", {which, who}), SECCOMP_RET_ALLOW);
}

TEST_F(SeccompStrict, TripwiresKillUnderEveryShippedPolicy) {
  for (const Profile* profile : {&strict, &compat, &paranoid})
    for (const char* call : {"ptrace", "process_vm_writev", "mount", "umount2", "setns", "bpf",
                             "kexec_load", "open_by_handle_at", "init_module", "fsopen"})
      EXPECT_EQ(profile->ask(call), SECCOMP_RET_KILL_PROCESS) << call;
}

constexpr std::initializer_list<const char*> kOfAListener{"ioctl", "tgkill", "tkill"};

TEST(SeccompInit, TheInitMayReapReportAndLeave) {
  const Profile init{{}, isolation::compile_init_seccomp(KillBy::kKernel).value(), {}};
  const std::set<std::string> allowed{"exit_group",      "ppoll",  "read",
                                      "restart_syscall", "sendto", "wait4"};
  for (const std::string& call : allowed)
    EXPECT_EQ(init.ask(call.c_str()), SECCOMP_RET_ALLOW) << call;
  int open = 0;
  for (int number = 0; number <= kLastCall; ++number)
    open += init.ask(number, {}) == SECCOMP_RET_KILL_PROCESS ? 0 : 1;
  EXPECT_EQ(open, int(allowed.size()));
}

TEST(SeccompInit, OneThatListensMayHearOfCallsAnswerAndKillAndNothingElseOfThese) {
  const Profile deaf{{}, isolation::compile_init_seccomp(KillBy::kKernel).value(), {}};
  const Profile init{{}, isolation::compile_init_seccomp(KillBy::kListener).value(), {}};
  for (const std::uint64_t request : {SECCOMP_IOCTL_NOTIF_RECV, SECCOMP_IOCTL_NOTIF_SEND})
    EXPECT_EQ(init.ask("ioctl", {7, request, 1}), SECCOMP_RET_ALLOW);
  EXPECT_EQ(init.ask("tgkill", {2, 3, 9}), SECCOMP_RET_ALLOW);
  EXPECT_EQ(init.ask("tkill", {3, 9}), SECCOMP_RET_ALLOW);
  // SECCOMP_IOCTL_NOTIF_ADDFD, which would put a descriptor into the handler; and TIOCSTI.
  for (const std::uint64_t request : {0x40182103ULL, 0x5412ULL, 0ULL})
    EXPECT_EQ(init.ask("ioctl", {7, request, 1}), SECCOMP_RET_KILL_PROCESS);
  for (const std::uint64_t signal : {0ULL, 15ULL, 19ULL, 1ULL << 32 | 9}) {
    EXPECT_EQ(init.ask("tgkill", {2, 3, signal}), SECCOMP_RET_KILL_PROCESS);
    EXPECT_EQ(init.ask("tkill", {3, signal}), SECCOMP_RET_KILL_PROCESS);
  }
  for (int number = 0; number <= kLastCall; ++number)
    EXPECT_EQ(init.ask(number, {}), deaf.ask(number, {})) << number;
  for (const char* call : kOfAListener)
    EXPECT_EQ(deaf.ask(call, {2, 9, 9}), SECCOMP_RET_KILL_PROCESS) << call;
}

}  // namespace
}  // namespace fnrun::test
