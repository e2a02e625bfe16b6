// The policies that are shipped: that they parse, and that they say, with the floor, what the
// profile was measured with. The numbers of calls are those of the measured profile.
#include <gmock/gmock.h>

#include <algorithm>
#include <set>

#include "policies/seccomp_floor.h"
#include "policy_test_support.h"

namespace fnrun::policies {
namespace {

using Kind = SyscallAction::Kind;
constexpr int kEperm = 1;
constexpr int kEnosys = 38;
constexpr int kEafnosupport = 97;

// As it is in force.
Policy whole(std::string_view name) {
  Policy policy = shipped(name);
  policy.seccomp = with_floor(policy.seccomp);
  return policy;
}

const SyscallRule* rule_of(const Policy& policy, std::string_view call) {
  for (const SyscallRule& rule : policy.seccomp.rules)
    if (std::find(rule.calls.begin(), rule.calls.end(), call) != rule.calls.end()) return &rule;
  return nullptr;
}

bool allows(const Policy& policy, std::string_view call) {
  const SyscallRule* rule = rule_of(policy, call);
  return rule != nullptr && rule->action.kind == Kind::kAllow;
}
bool kills(const Policy& policy, std::string_view call) {
  const SyscallRule* rule = rule_of(policy, call);
  return (rule != nullptr ? rule->action : policy.seccomp.default_action).kind ==
         Kind::kKillProcess;
}

std::set<std::string> calls_with(const Policy& policy, SyscallAction action, bool conditional) {
  std::set<std::string> calls;
  for (const SyscallRule& rule : policy.seccomp.rules)
    if (rule.action == action && rule.when.empty() != conditional)
      calls.insert(rule.calls.begin(), rule.calls.end());
  return calls;
}

class Shipped : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(, Shipped,
                         ::testing::Values("strict", "paranoid", "compat", "native", "go", "python",
                                           "node", "jvm"),
                         [](const auto& test) { return std::string(test.param); });

TEST_P(Shipped, ParsesRoundTripsAndSaysWhatItIsFor) {
  const Policy policy = shipped(GetParam());
  EXPECT_FALSE(policy.description.empty());
  EXPECT_EQ(parsed(to_json(policy)), policy);
}

TEST_P(Shipped, NoCallStandsInTwoRulesWithDifferentActions) {
  std::map<std::string, SyscallAction> actions;
  const Policy policy = shipped(GetParam());
  for (const SyscallRule& rule : policy.seccomp.rules)
    for (const std::string& call : rule.calls)
      EXPECT_EQ(actions.emplace(call, rule.action).first->second, rule.action) << call;
}

TEST_P(Shipped, TripwiresStayAndDangerousDoorsStayShut) {
  const Policy policy = whole(GetParam());
  for (const char* call : {"ptrace", "mount", "umount2", "pivot_root", "unshare", "setns", "bpf",
                           "open_tree", "move_mount", "kexec_load", "init_module", "reboot",
                           "process_vm_writev", "open_by_handle_at", "perf_event_open"})
    EXPECT_TRUE(kills(policy, call)) << call;
  for (const char* call : {"io_uring_setup", "userfaultfd", "keyctl", "add_key", "clone3"})
    EXPECT_FALSE(allows(policy, call)) << call;
  EXPECT_EQ(rule_of(policy, "clone3")->action, (SyscallAction{Kind::kErrno, kEnosys}));
}

TEST_P(Shipped, EveryRuntimeCanStart) {
  const Policy policy = shipped(GetParam());
  // Measured in all of the traced C, C++, Go, Python, Node and Java programs together.
  for (const char* call : {"read",
                           "write",
                           "execve",
                           "exit_group",
                           "arch_prctl",
                           "brk",
                           "mmap",
                           "mprotect",
                           "munmap",
                           "futex",
                           "clone",
                           "rseq",
                           "set_robust_list",
                           "set_tid_address",
                           "prlimit64",
                           "readlink",
                           "getrandom",
                           "rt_sigaction",
                           "rt_sigprocmask",
                           "openat",
                           "newfstatat",
                           "close",
                           "pread64",
                           "access",
                           "madvise",
                           "ioctl",
                           "fcntl",
                           "getdents64",
                           "lseek",
                           "sysinfo",
                           "getuid",
                           "gettid",
                           "exit",
                           "epoll_pwait",
                           "eventfd2",
                           "pipe2",
                           "sched_getaffinity",
                           "sigaltstack"})
    EXPECT_TRUE(allows(policy, call)) << call;
}

TEST(ShippedStrict, HasTheCountsOfTheMeasuredProfile) {
  const Policy strict = whole("strict");
  EXPECT_EQ(strict.seccomp.default_action, (SyscallAction{Kind::kErrno, kEnosys}));
  const auto plain = calls_with(strict, {Kind::kAllow, 0}, /*conditional=*/false);
  const auto filtered = calls_with(strict, {Kind::kAllow, 0}, /*conditional=*/true);
  // 164 plain ones were measured; the four that carry MSG_OOB are filtered since.
  const std::set<std::string> oob = {"recvfrom", "recvmsg", "sendmsg", "sendto"};
  const std::set<std::string> wx = {"mmap", "mprotect", "pkey_mprotect"};
  EXPECT_EQ(plain.size(), 164 - oob.size() + wx.size());
  EXPECT_TRUE(std::includes(plain.begin(), plain.end(), wx.begin(), wx.end()));
  EXPECT_EQ(filtered,
            (std::set<std::string>{"clone", "fcntl", "ioctl", "prctl", "prlimit64", "recvfrom",
                                   "recvmsg", "sendmsg", "sendto", "socketpair"}));
  EXPECT_EQ(calls_with(strict, {Kind::kKillProcess, 0}, false).size(), 53U);
  EXPECT_EQ(calls_with(strict, {Kind::kErrno, kEperm}, false).size(), 51U);
  EXPECT_EQ(calls_with(strict, {Kind::kErrno, kEnosys}, false), std::set<std::string>{"clone3"});
  EXPECT_EQ(calls_with(strict, {Kind::kErrno, kEafnosupport}, false),
            std::set<std::string>{"socket"});
}

TEST(ShippedStrict, CloneRefusesEveryNamespaceFlag) {
  const Policy strict = shipped("strict");
  const SyscallRule* clone = rule_of(strict, "clone");
  ASSERT_NE(clone, nullptr);
  ASSERT_EQ(clone->when.size(), 1U);
  const ArgCondition& condition = clone->when[0];
  EXPECT_EQ(condition.op, ArgCondition::Op::kMaskedEqual);
  EXPECT_EQ(condition.arg, 0U);
  EXPECT_EQ(condition.values, std::vector<std::uint64_t>{0});
  // NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET, PTRACE, PARENT, UNTRACED.
  for (const std::uint64_t flag : {0x20000U, 0x2000000U, 0x4000000U, 0x8000000U, 0x10000000U,
                                   0x20000000U, 0x40000000U, 0x2000U, 0x8000U, 0x800000U})
    EXPECT_NE(condition.mask & flag, 0U) << std::hex << flag;
  constexpr std::uint64_t kThreadFlags = 0x3D0F00;  // What glibc starts a thread with.
  EXPECT_EQ(condition.mask & kThreadFlags, 0U);
}

TEST(ShippedStrict, OutOfBandDataIsFilteredAtTheArgumentThatHoldsTheFlags) {
  const Policy strict = shipped("strict");
  const std::pair<const char*, unsigned> flags[] = {
      {"sendto", 3}, {"sendmsg", 2}, {"recvfrom", 3}, {"recvmsg", 2}};
  for (const auto& [call, arg] : flags) {
    const SyscallRule* rule = rule_of(strict, call);
    ASSERT_NE(rule, nullptr) << call;
    EXPECT_EQ(rule->when,
              (std::vector<ArgCondition>{
                  {.arg = arg, .op = ArgCondition::Op::kMaskedEqual, .mask = 1, .values = {0}}}))
        << call;
  }
}

TEST(ShippedParanoid, KillsByDefaultAndPrefersNothing) {
  const Policy paranoid = shipped("paranoid");
  EXPECT_EQ(paranoid.seccomp.default_action.kind, Kind::kKillProcess);
  EXPECT_TRUE(paranoid.preferred.empty());
}

TEST(ShippedParanoid, MemoryIsNeverWritableAndExecutable) {
  std::set<std::uint64_t> protections;
  EXPECT_NE(shipped("strict").seccomp.write_execute, "") << "the other side";
  const Policy paranoid = whole("paranoid");
  for (const SyscallRule& rule : paranoid.seccomp.rules)
    for (const std::string& call : rule.calls)
      if (call == "mmap" || call == "mprotect" || call == "pkey_mprotect") {
        ASSERT_EQ(rule.when.size(), 1U) << rule.name;
        EXPECT_EQ(rule.when[0].arg, 2U);
        EXPECT_EQ(rule.when[0].op, ArgCondition::Op::kMaskedEqual);
        EXPECT_EQ(rule.when[0].mask, 6U);
        protections.insert(rule.when[0].values.at(0));
      }
  EXPECT_EQ(protections, (std::set<std::uint64_t>{0, 2, 4}));
}

TEST(ShippedParanoid, RunsNothingButTheHandler) {
  EXPECT_TRUE(shipped("paranoid").seccomp.exec_once);
  EXPECT_FALSE(shipped("strict").seccomp.exec_once);
}

TEST(ShippedParanoid, ShowsLibrariesOnly) {
  std::vector<std::string> targets;
  const Policy paranoid = shipped("paranoid");
  for (const ReadOnlyPath& path : paranoid.filesystem.read_only) targets.push_back(path.target);
  EXPECT_THAT(targets, ::testing::ElementsAre("/etc/ld.so.cache", "/lib", "/lib64", "/usr/lib",
                                              "/usr/lib64"));
}

TEST(ShippedParanoid, IsNowhereLooserThanStrict) {
  const Policy strict = shipped("strict");
  const Policy paranoid = shipped("paranoid");
  for (const bool conditional : {false, true})
    for (const std::string& call : calls_with(paranoid, {Kind::kAllow, 0}, conditional))
      EXPECT_TRUE(allows(strict, call)) << call;
  EXPECT_LE(paranoid.limits.invoke_timeout, strict.limits.invoke_timeout);
  EXPECT_LE(paranoid.limits.tmp_max, strict.limits.tmp_max);
  EXPECT_LE(paranoid.limits.processes_max, strict.limits.processes_max);
  EXPECT_LE(paranoid.limits.open_files_max, strict.limits.open_files_max);
  EXPECT_EQ(paranoid.filesystem.dangerously_exec_from_tmp, "");
}

TEST(ShippedCompat, AllowsWhatOrdinaryProgramsTripOver) {
  const Policy compat = shipped("compat");
  for (const char* call : {"chmod", "setsid", "memfd_create", "socket", "bind", "shmget",
                           "inotify_init1", "splice", "setuid", "seccomp", "mlock"})
    EXPECT_TRUE(allows(compat, call)) << call;
  EXPECT_NE(compat.filesystem.dangerously_exec_from_tmp, "");
}

TEST(ShippedCompat, AllowsEverythingThatStrictAllows) {
  const Policy compat = shipped("compat");
  for (const bool conditional : {false, true})
    for (const std::string& call : calls_with(shipped("strict"), {Kind::kAllow, 0}, conditional))
      EXPECT_TRUE(allows(compat, call)) << call;
}

TEST(ShippedCompat, SocketsAreOfThreeFamiliesByEquality) {
  std::set<std::uint64_t> families;
  const Policy compat = shipped("compat");
  for (const SyscallRule& rule : compat.seccomp.rules)
    if (rule.calls == std::vector<std::string>{"socket"}) {
      ASSERT_EQ(rule.when.size(), 1U);
      EXPECT_EQ(rule.when[0].op, ArgCondition::Op::kEqual);
      families.insert(rule.when[0].values.at(0));
    }
  EXPECT_EQ(families, (std::set<std::uint64_t>{1, 2, 10}));
}

TEST(ShippedCompat, TerminalInjectionStaysShut) {
  const Policy compat = shipped("compat");
  const SyscallRule* ioctl = rule_of(compat, "ioctl");
  ASSERT_NE(ioctl, nullptr);
  ASSERT_EQ(ioctl->when.size(), 1U);
  EXPECT_EQ(ioctl->when[0].op, ArgCondition::Op::kIn);
  constexpr std::uint64_t kTiocsti = 0x5412;
  EXPECT_THAT(ioctl->when[0].values, ::testing::Not(::testing::Contains(kTiocsti)));
}

// ---- The presets for languages: strict, but for what is said here ----

// The one call that sets the mode of a copy is allowed, without S_ISUID and S_ISGID; nothing else.
void expect_only_mode_of(const Policy& preset, const std::string& call, const std::string& rule) {
  Policy strict = shipped("strict");
  for (SyscallRule& one : strict.seccomp.rules)
    if (one.name == "eperm-mode-and-owner") std::erase(one.calls, call);
  std::vector<SyscallRule> rules = preset.seccomp.rules;
  const auto added = std::find_if(rules.begin(), rules.end(),
                                  [&](const SyscallRule& one) { return one.name == rule; });
  ASSERT_NE(added, rules.end());
  EXPECT_EQ(added->action, (SyscallAction{Kind::kAllow, 0}));
  EXPECT_EQ(added->calls, std::vector<std::string>{call});
  EXPECT_EQ(added->when,
            (std::vector<ArgCondition>{
                {.arg = 1, .op = ArgCondition::Op::kMaskedEqual, .mask = 06000, .values = {0}}}));
  rules.erase(added);
  EXPECT_EQ(rules, strict.seccomp.rules);
  EXPECT_EQ(preset.seccomp.default_action, strict.seccomp.default_action);
}

// The rest of a preset, once its rules of system calls are looked at.
Policy without_calls(Policy preset) {
  const Policy strict = shipped("strict");
  preset.seccomp = strict.seccomp;
  preset.description = strict.description;
  return preset;
}

// Who makes code as it runs says why, in words of its own.
TEST(ShippedPresets, WriteAndExecuteWhereTheirRuntimesDoAndMayStartPrograms) {
  const std::string of_strict = shipped("strict").seccomp.write_execute;
  for (const char* name : {"native", "go"}) EXPECT_EQ(shipped(name).seccomp.write_execute, "");
  for (const char* name : {"python", "node", "jvm"}) {
    EXPECT_NE(shipped(name).seccomp.write_execute, "") << name;
    EXPECT_NE(shipped(name).seccomp.write_execute, of_strict) << name;
  }
  for (const char* name : {"native", "go", "python", "node", "jvm"})
    EXPECT_FALSE(shipped(name).seccomp.exec_once) << name;
}

TEST(ShippedPresets, NativeIsStrictAndFchmod) {
  expect_only_mode_of(shipped("native"), "fchmod", "native-fchmod");
  EXPECT_EQ(without_calls(shipped("native")), without_calls(shipped("strict")));
}

TEST(ShippedPresets, PythonIsStrictAndChmodAndDevShm) {
  // No attributes, as on strict, but in words that Python understands.
  constexpr int kEopnotsupp = 95;
  Policy python = shipped("python");
  const auto refused =
      std::find_if(python.seccomp.rules.begin(), python.seccomp.rules.end(),
                   [](const SyscallRule& one) { return one.name == "python-no-attributes"; });
  ASSERT_NE(refused, python.seccomp.rules.end());
  EXPECT_EQ(refused->action, (SyscallAction{Kind::kErrno, kEopnotsupp}));
  python.seccomp.rules.erase(refused);
  expect_only_mode_of(python, "chmod", "python-chmod");
  Policy rest = without_calls(python);
  EXPECT_NE(rest.filesystem.dev_shm, "");
  rest.filesystem.dev_shm.clear();
  EXPECT_EQ(rest, without_calls(shipped("strict")));
}

TEST(ShippedPresets, NodeIsStrictAndFchmodAndASmallerHeap) {
  expect_only_mode_of(shipped("node"), "fchmod", "node-fchmod");
  Policy rest = without_calls(shipped("node"));
  EXPECT_EQ(rest.environment.set.erase("NODE_OPTIONS"), 1U);
  EXPECT_EQ(rest, without_calls(shipped("strict")));
}

TEST(ShippedPresets, GoIsStrictAndTwoVariables) {
  Policy rest = shipped("go");
  EXPECT_EQ(rest.seccomp.rules, shipped("strict").seccomp.rules);
  EXPECT_EQ(rest.environment.set.erase("GOMAXPROCS"), 1U);
  EXPECT_EQ(rest.environment.set.erase("GOMEMLIMIT"), 1U);
  EXPECT_EQ(without_calls(rest), without_calls(shipped("strict")));
}

TEST(ShippedPresets, JvmIsStrictAndItsConfigurationAndAVariable) {
  Policy rest = shipped("jvm");
  EXPECT_EQ(rest.seccomp.rules, shipped("strict").seccomp.rules);
  EXPECT_EQ(rest.environment.set.erase("JAVA_TOOL_OPTIONS"), 1U);
  const auto added = std::erase_if(rest.filesystem.read_only, [](const ReadOnlyPath& path) {
    const bool of_java = path.target.starts_with("/etc/java-17-openjdk/");
    EXPECT_TRUE(!of_java || (path.source == path.target && path.optional && !path.executable));
    return of_java;
  });
  EXPECT_EQ(added, 2U);
  EXPECT_EQ(without_calls(rest), without_calls(shipped("strict")));
}

}  // namespace
}  // namespace fnrun::policies
