// The floor: that it holds alone, under whatever policy, and that what stands above it is all
// needed. By the interpreter; no system call is made.
#include "policies/seccomp_floor.h"

#include <gmock/gmock.h>
#include <linux/seccomp.h>

#include <algorithm>
#include <cerrno>
#include <random>
#include <set>

#include "seccomp_model.h"

namespace fnrun::test {
namespace {

using isolation::KillBy;
using policies::ArgCondition;
using policies::Seccomp;
using policies::SyscallAction;
using policies::SyscallRule;
using testing::HasSubstr;

constexpr SyscallAction kAllow{SyscallAction::Kind::kAllow, 0};
constexpr SyscallAction kEperm{SyscallAction::Kind::kErrno, EPERM};
constexpr std::initializer_list<KillBy> kBoth = {KillBy::kKernel, KillBy::kListener};

SyscallRule rule(std::vector<std::string> calls, SyscallAction action = kAllow,
                 std::vector<ArgCondition> when = {}) {
  return {"rule-" + calls.front(), action, std::move(calls), std::move(when), "a test"};
}
ArgCondition condition(std::uint32_t arg, ArgCondition::Op op, std::uint64_t value,
                       std::uint64_t mask = 0) {
  return {.arg = arg, .op = op, .mask = mask, .values = {value}};
}
Seccomp profile(std::vector<SyscallRule> rules, SyscallAction by_default = {}) {
  Seccomp made;
  made.default_action = by_default;
  made.rules = std::move(rules);
  return made;
}

// A filter that lets everything through: the worst that a policy's own could be.
Profile open_above(const Seccomp& policy, KillBy kill_by) {
  Profile made = compiled(policy, kill_by);
  made.program = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  return made;
}

TEST(SeccompFloor, RefusesTheTripwiresWhateverStandsAboveIt) {
  ASSERT_EQ(kTripwires.size(), 53U);
  for (const KillBy kill_by : kBoth) {
    const Profile bare = open_above(policies::default_seccomp(), kill_by);
    // Beside a listener that is not its own, the kernel makes ENOSYS of this.
    const std::uint32_t refused =
        kill_by == KillBy::kKernel ? SECCOMP_RET_KILL_PROCESS : SECCOMP_RET_USER_NOTIF;
    for (int number = 0; number <= kLastCall; ++number) {
      const bool clone3 = number == number_of("clone3");
      const bool tripwire =
          std::any_of(kTripwires.begin(), kTripwires.end(),
                      [&](const auto& call) { return number_of(call) == number; });
      const std::uint32_t expected = tripwire ? refused
                                     : clone3 && kill_by == KillBy::kKernel
                                         ? SECCOMP_RET_ERRNO | std::uint32_t{ENOSYS}
                                     : clone3 ? std::uint32_t{SECCOMP_RET_USER_NOTIF}
                                              : std::uint32_t{SECCOMP_RET_ALLOW};
      const Args of_itself{number == number_of("ioprio_set") ? 1U : 0U};  // IOPRIO_WHO_PROCESS
      ASSERT_EQ(bare.ask(number, of_itself), expected) << number;
    }
    EXPECT_EQ(bare.ask(0, {}, 0x40000003), SECCOMP_RET_KILL_PROCESS) << "i386";
    EXPECT_EQ(bare.ask(0x40000000, {}), SECCOMP_RET_KILL_PROCESS) << "x32";
  }
}

TEST(SeccompFloor, RefusesNamespacesThroughCloneWhateverStandsAboveIt) {
  for (const KillBy kill_by : kBoth) {
    const Profile bare = open_above(policies::default_seccomp(), kill_by);
    for (int bit = 0; bit < 64; ++bit) {
      const std::uint64_t flag = 1ULL << bit;
      const bool refused = (flag & 0x7e82a000) != 0;
      EXPECT_EQ(bare.ask("clone", {flag}) != SECCOMP_RET_ALLOW, refused) << std::hex << flag;
    }
    EXPECT_EQ(bare.ask("clone", {0x003d0f00}), SECCOMP_RET_ALLOW) << "a thread";
    EXPECT_NE(bare.ask("clone", {0xdead'beef'1000'0011}), SECCOMP_RET_ALLOW);
  }
}

// The init belongs to the same uid where the supervisor has no privilege, and must run to end.
TEST(SeccompFloor, NobodyElseIsScheduledWhateverStandsAboveIt) {
  const Seccomp open = profile({rule({"sched_setscheduler", "sched_setparam", "sched_setattr",
                                      "setpriority", "ioprio_set"})},
                               kEperm);
  for (const KillBy kill_by : kBoth) {
    const Profile made = compiled(open, kill_by);
    const Profile alone = open_above(open, kill_by);
    for (const char* call : {"sched_setscheduler", "sched_setparam", "sched_setattr"}) {
      EXPECT_EQ(made.ask(call, {0}), SECCOMP_RET_ALLOW) << call;
      for (const std::uint64_t pid : {1ULL, 2ULL, 0x1'0000'0000ULL, ~0ULL}) {
        EXPECT_EQ(made.ask(call, {pid}), SECCOMP_RET_ERRNO | EPERM) << call << ' ' << pid;
        EXPECT_NE(alone.ask(call, {pid}), SECCOMP_RET_ALLOW) << call << ' ' << pid;
      }
    }
    for (const auto& [call, process] : {std::pair{"setpriority", 0ULL}, {"ioprio_set", 1ULL}}) {
      EXPECT_EQ(made.ask(call, {process, 0}), SECCOMP_RET_ALLOW) << call;
      for (const Args& other : {Args{process, 1}, Args{process + 1, 0}, Args{process + 2, 0}}) {
        EXPECT_EQ(made.ask(call, other), SECCOMP_RET_ERRNO | EPERM) << call << ' ' << other[0];
        EXPECT_NE(alone.ask(call, other), SECCOMP_RET_ALLOW) << call << ' ' << other[0];
      }
    }
  }
}

TEST(SeccompFloor, WritableAndExecutableMemoryNeedsAReason) {
  for (const KillBy kill_by : kBoth) {
    Seccomp policy =
        profile({rule({"mmap", "mprotect", "pkey_mprotect", "munmap", "shmat", "personality"})});
    const Profile shut = compiled(policy, kill_by);
    const Profile bare = open_above(policy, kill_by);
    policy.write_execute = "a test";
    const Profile opened = compiled(policy, kill_by);
    for (const char* call : {"mmap", "mprotect", "pkey_mprotect"}) {
      for (const std::uint64_t both : {6ULL, 7ULL, 0x1000006ULL, 0xdead'beef'0000'0007ULL}) {
        EXPECT_EQ(shut.ask(call, {0, 0, both}), verdict_of({}, kill_by)) << call << both;
        EXPECT_NE(bare.ask(call, {0, 0, both}), SECCOMP_RET_ALLOW) << call << both;
        EXPECT_EQ(opened.ask(call, {0, 0, both}), SECCOMP_RET_ALLOW) << call << both;
      }
      for (const std::uint64_t one : {0ULL, 1ULL, 2ULL, 3ULL, 4ULL, 5ULL, 0x1000003ULL})
        EXPECT_EQ(shut.ask(call, {0, 0, one}), SECCOMP_RET_ALLOW) << call << one;
    }
    EXPECT_EQ(shut.ask("munmap", {0, 0, 7}), SECCOMP_RET_ALLOW);
    EXPECT_EQ(shut.ask("shmat", {0, 0, 0x1000}), SECCOMP_RET_ALLOW);
    EXPECT_NE(shut.ask("shmat", {0, 0, 0x8000}), SECCOMP_RET_ALLOW) << "SHM_EXEC";
    EXPECT_NE(bare.ask("shmat", {0, 0, 0x9000}), SECCOMP_RET_ALLOW);
    EXPECT_EQ(opened.ask("shmat", {0, 0, 0x8000}), SECCOMP_RET_ALLOW);
    EXPECT_EQ(shut.ask("personality", {0x20008}), SECCOMP_RET_ALLOW);
    EXPECT_NE(shut.ask("personality", {0x420008}), SECCOMP_RET_ALLOW) << "READ_IMPLIES_EXEC";
    EXPECT_NE(bare.ask("personality", {0x400000}), SECCOMP_RET_ALLOW);
    EXPECT_EQ(opened.ask("personality", {0x400000}), SECCOMP_RET_ALLOW);
  }
}

TEST(SeccompFloor, ExecOnceAsksTheListenerAndRefusesExecveat) {
  Seccomp policy = profile({rule({"execve", "execveat", "exit_group"})});
  EXPECT_EQ(compiled(policy, KillBy::kListener).ask("execve"), SECCOMP_RET_ALLOW);
  policy.exec_once = true;
  const Profile once = compiled(policy, KillBy::kListener);
  EXPECT_EQ(once.ask("execve"), SECCOMP_RET_USER_NOTIF);
  EXPECT_EQ(once.ask("execveat"), SECCOMP_RET_ERRNO | EPERM);
  EXPECT_EQ(once.ask("exit_group"), SECCOMP_RET_ALLOW);
  const auto deaf = isolation::compile_seccomp(policy, KillBy::kKernel);
  ASSERT_FALSE(deaf) << "nobody would let the first one pass";
  EXPECT_THAT(deaf.error().to_string(), HasSubstr("exec_once needs a listener"));
}

TEST(SeccompFloor, ConditionsOnTheSameArgumentAreNarrowed) {
  using Op = ArgCondition::Op;
  const Seccomp policy = profile({
      rule({"mmap"}, kAllow,
           {{.arg = 2, .op = Op::kIn, .mask = 0, .values = {1, 3, 5, 7}},
            condition(5, Op::kEqual, 9)}),
      rule({"mprotect"}, kAllow, {condition(2, Op::kMaskedEqual, 2, 2)}),
      rule({"clone"}, kAllow, {condition(0, Op::kMaskedEqual, 0, 0x7e020000)}),
  });
  for (const KillBy kill_by : kBoth) EXPECT_EQ(disagreement(policy, kill_by), "");
  const Profile made = compiled(policy);
  EXPECT_EQ(made.ask("mmap", {0, 0, 5, 0, 0, 9}), SECCOMP_RET_ALLOW);
  EXPECT_NE(made.ask("mmap", {0, 0, 7, 0, 0, 9}), SECCOMP_RET_ALLOW);
  EXPECT_NE(made.ask("mmap", {0, 0, 5, 0, 0, 8}), SECCOMP_RET_ALLOW);
  EXPECT_EQ(made.ask("mprotect", {0, 0, 3}), SECCOMP_RET_ALLOW);
  EXPECT_NE(made.ask("mprotect", {0, 0, 6}), SECCOMP_RET_ALLOW);
  EXPECT_NE(made.ask("clone", {0x2000}), SECCOMP_RET_ALLOW) << "CLONE_PTRACE, as Docker lets it";
}

TEST(SeccompFloor, WhatItWouldNotLetHoldIsRefused) {
  const auto fault = [](const SyscallRule& said) {
    const auto made = isolation::compile_seccomp(profile({said}));
    return made ? std::string() : made.error().to_string();
  };
  EXPECT_THAT(fault(rule({"ptrace"})), HasSubstr("ptrace kills the process whatever a policy"));
  EXPECT_THAT(fault(rule({"read", "mount"}, kEperm)), HasSubstr("mount kills the process"));
  EXPECT_EQ(fault(rule({"ptrace"}, {})), "");
  EXPECT_THAT(fault(rule({"ptrace"}, {}, {condition(0, ArgCondition::Op::kEqual, 9)})),
              HasSubstr("ptrace kills the process"));
  EXPECT_THAT(fault(rule({"clone3"})), HasSubstr("clone3 cannot be allowed"));
  EXPECT_EQ(fault(rule({"clone3"}, kEperm)), "");
  EXPECT_THAT(fault(rule({"clone"}, kAllow, {condition(0, ArgCondition::Op::kLess, 9)})),
              HasSubstr("by eq, in or masked_eq only"));
  EXPECT_EQ(fault(rule({"clone"}, kAllow, {condition(1, ArgCondition::Op::kLess, 9)})), "");
  EXPECT_THAT(fault(rule({"clone"}, kAllow, {condition(0, ArgCondition::Op::kEqual, 0x10000011)})),
              HasSubstr("the floor refuses every argument 0 of clone that this allows"));
  EXPECT_THAT(fault(rule({"mmap"}, kAllow, {condition(2, ArgCondition::Op::kMaskedEqual, 7, 7)})),
              HasSubstr("write_execute"));
  EXPECT_EQ(fault(rule({"clone"}, kEperm, {condition(0, ArgCondition::Op::kLess, 9)})), "");
}

// A random policy that may contradict itself.
Seccomp random_policy(std::mt19937& random) {
  const auto below = [&](std::size_t n) { return std::size_t{random()} % n; };
  static const std::vector<std::string> kCalls{
      "read",   "write", "open",   "close",  "mmap",    "mprotect", "pkey_mprotect", "shmat",
      "clone",  "ioctl", "fcntl",  "socket", "execve",  "execveat", "exit_group",    "futex",
      "prctl",  "kill",  "uname",  "statx",  "getpid",  "clone3",   "ptrace",        "mount",
      "sendto", "dup",   "openat", "rseq",   "unshare", "brk",      "personality",   "keyctl"};
  Seccomp made;
  made.default_action = below(2) == 0 ? SyscallAction{} : kEperm;
  made.write_execute = below(2) == 0 ? "" : "a test";
  made.exec_once = below(2) == 0;
  const std::size_t count = 1 + below(12);
  for (std::size_t i = 0; i < count; ++i) {
    SyscallRule one;
    one.name = "rule-" + std::to_string(i);
    one.action = below(3) != 0 ? kAllow : below(2) == 0 ? SyscallAction{} : kEperm;
    std::set<std::string> calls;
    for (std::size_t n = 1 + below(4); n > 0; --n) calls.insert(kCalls[below(kCalls.size())]);
    one.calls.assign(calls.begin(), calls.end());
    for (std::uint32_t arg = 0; arg < 6; ++arg) {
      if (below(6) != 0) continue;
      ArgCondition when{.arg = arg, .op = ArgCondition::Op(below(8)), .mask = 0, .values = {}};
      const auto value = [&] { return (std::uint64_t{random()} << below(32)) >> below(32); };
      when.values = {below(2) == 0 ? below(9) : value()};
      if (when.op == ArgCondition::Op::kIn) when.values.push_back(when.values[0] ^ (1 + below(9)));
      if (when.op == ArgCondition::Op::kMaskedEqual) {
        when.mask = when.values[0] | 1 | value();
      }
      one.when.push_back(std::move(when));
    }
    made.rules.push_back(std::move(one));
  }
  return made;
}

TEST(SeccompFloor, RandomPoliciesComeOutAsTheySay) {
  std::mt19937 random(20261122);  // NOLINT(cert-msc51-cpp): the same policies each time.
  int compared = 0;
  for (int i = 0; i < 4'000 && compared < 60; ++i) {
    const Seccomp policy = random_policy(random);
    if (!isolation::compile_seccomp(policy, KillBy::kListener)) continue;
    ASSERT_EQ(disagreement(policy, KillBy::kListener), "") << i;
    ++compared;
  }
  EXPECT_EQ(compared, 60) << "most were refused";
}

class ShippedRules : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(, ShippedRules,
                         ::testing::Values("default", "paranoid", "strict", "compat", "native",
                                           "go", "python", "node", "jvm"),
                         [](const auto& test) { return std::string(test.param); });

TEST_P(ShippedRules, EveryAllowingOneCanBeReached) {
  const Profile made = compiled(named(GetParam()), KillBy::kListener);
  for (const SyscallRule& one : made.policy.rules) {
    if (one.action != kAllow) continue;
    for (const std::string& call : one.calls) {
      const auto lists = edges({&one});
      EXPECT_TRUE(std::any_of(lists.begin(), lists.end(),
                              [&](const Args& args) {
                                const std::uint32_t verdict = made.ask(call.c_str(), args);
                                return holds(one, args) &&
                                       (verdict == SECCOMP_RET_ALLOW ||
                                        (call == "execve" && verdict == SECCOMP_RET_USER_NOTIF));
                              }))
          << one.name << ' ' << call;
    }
  }
}

TEST_P(ShippedRules, NoCallOfOneIsIdle) {
  const Seccomp policy = named(GetParam());
  const Model whole(policy, KillBy::kListener);
  for (std::size_t i = 0; i < policy.rules.size(); ++i)
    for (const std::string& call : policy.rules[i].calls) {
      // The listener is asked, as where the default kills; what it answers is not the filter's.
      if (policy.exec_once && call == "execve") continue;
      Seccomp less = policy;
      std::erase(less.rules[i].calls, call);
      const Model without(less, KillBy::kListener);
      const int number = number_of(call);
      const auto lists = edges(whole.rules_of(number));
      EXPECT_TRUE(std::any_of(lists.begin(), lists.end(),
                              [&](const Args& args) {
                                return whole.verdict(number, args) != without.verdict(number, args);
                              }))
          << policy.rules[i].name << ' ' << call;
    }
}

}  // namespace
}  // namespace fnrun::test
