// Profiles that must not compile, because libseccomp would take them and drop a part without a
// word, or because they would open what the filter cannot see.
#include "isolation/seccomp_filter.h"

#include <gmock/gmock.h>

namespace fnrun::isolation {
namespace {

using policies::ArgCondition;
using policies::Seccomp;
using policies::SyscallAction;
using policies::SyscallRule;
using testing::HasSubstr;

constexpr SyscallAction kAllow{SyscallAction::Kind::kAllow, 0};
constexpr SyscallAction kKill{SyscallAction::Kind::kKillProcess, 0};
constexpr SyscallAction kEperm{SyscallAction::Kind::kErrno, 1};

SyscallRule rule(std::string name, SyscallAction action, std::vector<std::string> calls,
                 std::vector<ArgCondition> when = {}) {
  return {std::move(name), action, std::move(calls), std::move(when), "a test"};
}
ArgCondition equals(std::uint32_t arg, std::uint64_t value) {
  return {.arg = arg, .op = ArgCondition::Op::kEqual, .mask = 0, .values = {value}};
}

Seccomp profile(std::vector<SyscallRule> rules, SyscallAction by_default = kKill) {
  Seccomp made;
  made.default_action = by_default;
  made.rules = std::move(rules);
  return made;
}

void expect_refused(const Seccomp& bad, const std::string& about) {
  const auto program = compile_seccomp(bad);
  ASSERT_FALSE(program) << about;
  EXPECT_EQ(program.error().step, SetupStep::kPolicy);
  EXPECT_THAT(program.error().to_string(), HasSubstr(about));
}

TEST(SeccompFilter, ContradictionsAreRefusedNamingBothRulesAndTheCall) {
  // The traps of libseccomp 2.5.4: each of these loads, and one of the two rules is gone.
  const std::string about = "rules 'one' and 'two' contradict each other on 'write'";
  expect_refused(profile({rule("one", kAllow, {"read", "write"}),
                          rule("two", kEperm, {"write"}, {equals(0, 2)})}),
                 about);
  expect_refused(
      profile({rule("one", kEperm, {"write"}, {equals(0, 2)}), rule("two", kAllow, {"write"})}),
      about);
  expect_refused(profile({rule("one", kAllow, {"write"}, {equals(0, 1)}),
                          rule("two", kEperm, {"write"}, {equals(0, 2)})}),
                 about);
  expect_refused(profile({rule("one", kAllow, {"write"}), rule("two", kAllow, {"write"})}), about);
  // Against a rule that says what the default says: nothing is added for it, still it contradicts.
  expect_refused(profile({rule("one", kKill, {"write"}), rule("two", kAllow, {"write"})}), about);
  // The control: alternatives with one action.
  EXPECT_TRUE(compile_seccomp(profile({rule("one", kAllow, {"write"}, {equals(0, 1)}),
                                       rule("two", kAllow, {"write"}, {equals(0, 2)})})));
}

TEST(SeccompFilter, UnknownNamesAreRefused) {
  expect_refused(profile({rule("typo", kAllow, {"wirte"})}), "no system call 'wirte'");
  expect_refused(profile({rule("i386", kAllow, {"socketcall"})}), "no system call 'socketcall'");
  expect_refused(profile({rule("none", kAllow, {""})}), "no system call ''");
  EXPECT_TRUE(compile_seccomp(profile({rule("right", kAllow, {"write"})})));
}

TEST(SeccompFilter, Clone3CannotBeAllowedOnlyRefused) {
  expect_refused(profile({rule("new", kAllow, {"clone3"})}), "clone3 cannot be allowed");
  expect_refused(profile({rule("new", kAllow, {"clone3"}, {equals(1, 88)})}),
                 "clone3 cannot be allowed");
  EXPECT_TRUE(compile_seccomp(profile({rule("new", kEperm, {"clone3"})})));
}

TEST(SeccompFilter, AllowingByDefaultIsRefused) {
  expect_refused(profile({rule("deny", kEperm, {"ptrace"})}, kAllow),
                 "default action must not be allow");
}

TEST(SeccompFilter, AnArgumentThatDoesNotExistIsRefused) {
  expect_refused(profile({rule("seventh", kAllow, {"write"}, {equals(6, 0)})}), "rule 'seventh'");
}

TEST(SeccompFilter, TheSameArgumentTwiceInOneRuleIsRefusedNotSplit) {
  // runc splits such a rule into two that are OR-ed, which opens what NE and NE meant to close.
  const ArgCondition not_one{.arg = 0, .op = ArgCondition::Op::kNotEqual, .mask = 0, .values = {1}};
  const ArgCondition not_two{.arg = 0, .op = ArgCondition::Op::kNotEqual, .mask = 0, .values = {2}};
  expect_refused(profile({rule("neither", kAllow, {"write"}, {not_one, not_two})}),
                 "rule 'neither', call 'write'");
}

}  // namespace
}  // namespace fnrun::isolation
