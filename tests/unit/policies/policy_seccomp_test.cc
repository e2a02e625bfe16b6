// The section "seccomp": actions, calls, conditions, and rules that contradict each other.
#include <gmock/gmock.h>

#include "policy_test_support.h"

namespace fnrun::policies {
namespace {

using ::testing::HasSubstr;
using Op = ArgCondition::Op;

std::string with_rules(const std::string& rules) {
  return with_version(R"("seccomp": {"rules": {)" + rules + "}}");
}
std::string rule(const std::string& name, const std::string& action, const std::string& calls,
                 const std::string& when = "[]") {
  return '"' + name + R"(": {"action": ")" + action + R"(", "calls": )" + calls + R"(, "when": )" +
         when + R"(, "why": "w"})";
}
std::string with_condition(const std::string& condition) {
  return with_rules(rule("a", "allow", R"(["read"])", "[" + condition + "]"));
}

TEST(PolicySeccomp, WithoutRulesTheThirteenCallsRemain) {
  EXPECT_EQ(parsed(with_version(R"("seccomp": {"default": "errno:ENOSYS"})")).seccomp.rules,
            default_seccomp().rules);
}

TEST(PolicySeccomp, RulesReplaceTheDefaultOnes) {
  EXPECT_EQ(parsed(with_rules(rule("a", "allow", R"(["read"])"))).seccomp.rules.size(), 1U);
}

TEST(PolicySeccomp, ActionsAreReadByName) {
  const auto action = [](const std::string& text) {
    return parsed(with_rules(rule("a", text, R"(["read"])"))).seccomp.rules.at(0).action;
  };
  EXPECT_EQ(action("allow"), (SyscallAction{SyscallAction::Kind::kAllow, 0}));
  EXPECT_EQ(action("kill_process"), (SyscallAction{SyscallAction::Kind::kKillProcess, 0}));
  EXPECT_EQ(action("errno:ENOSYS").os_errno, 38);
  EXPECT_EQ(action("errno:EPERM").os_errno, 1);
  EXPECT_EQ(action("errno:EHWPOISON").os_errno, 133);
  EXPECT_EQ(action("errno:EWOULDBLOCK").os_errno, 11);
  EXPECT_EQ(action("errno:4095").os_errno, 4'095);
}

TEST(PolicySeccomp, EveryErrnoIsWrittenByANameThatReadsBack) {
  for (int value = 1; value <= 4'095; ++value) {
    Policy policy;
    policy.seccomp.default_action = {SyscallAction::Kind::kErrno, value};
    ASSERT_EQ(parsed(to_json(policy)), policy) << value;
  }
}

TEST(PolicySeccomp, UnknownActionsAreRefused) {
  for (const char* text : {"", "ALLOW", "deny", "errno:", "errno:ENOPE", "errno:0", "errno:4096",
                           "errno:-1", "errno:1x", "errno: EPERM", "kill"})
    EXPECT_EQ(error_of(with_rules(rule("a", text, R"(["read"])"))).pointer,
              "/seccomp/rules/a/action")
        << text;
}

TEST(PolicySeccomp, DefaultAllowIsRefusedBecauseThisIsAnAllowList) {
  const PolicyError error = error_of(with_version(R"("seccomp": {"default": "allow"})"));
  EXPECT_EQ(error.pointer, "/seccomp/default");
  EXPECT_THAT(error.message, HasSubstr("not yet invented"));
}

TEST(PolicySeccomp, RuleNeedsActionCallsAndReason) {
  for (const char* key : {"action", "calls", "why"}) {
    auto json = nlohmann::json::parse(with_rules(rule("a", "allow", R"(["read"])")));
    json["seccomp"]["rules"]["a"].erase(key);
    const PolicyError error = error_of(json.dump());
    EXPECT_EQ(error.pointer, "/seccomp/rules/a") << key;
    EXPECT_THAT(error.message, HasSubstr(key));
  }
}

TEST(PolicySeccomp, CallsAreNamesAndStandOnceInARule) {
  const auto pointer = [](const std::string& calls) {
    return error_of(with_rules(rule("a", "allow", calls))).pointer;
  };
  EXPECT_EQ(pointer("[]"), "/seccomp/rules/a/calls");
  EXPECT_EQ(pointer(R"("read")"), "/seccomp/rules/a/calls");
  EXPECT_EQ(pointer(R"(["read", 1])"), "/seccomp/rules/a/calls/1");
  EXPECT_EQ(pointer(R"(["Read"])"), "/seccomp/rules/a/calls/0");
  EXPECT_EQ(pointer(R"([""])"), "/seccomp/rules/a/calls/0");
  EXPECT_EQ(pointer("[\"" + std::string(41, 'x') + "\"]"), "/seccomp/rules/a/calls/0");
  EXPECT_EQ(pointer(R"(["read", "write", "read"])"), "/seccomp/rules/a/calls/2");
}

TEST(PolicySeccomp, RuleNamesAreShortAndPlain) {
  for (const std::string& name : {std::string(), std::string("A"), std::string(65, 'a')})
    EXPECT_EQ(error_of(with_rules(rule(name, "allow", R"(["read"])"))).pointer,
              "/seccomp/rules/" + name);
}

TEST(PolicySeccomp, NumberOfRulesIsBounded) {
  const auto rules = [](int count) {
    std::string text;
    for (int i = 0; i < count; ++i)
      text += (i == 0 ? "" : ",") + rule("r" + std::to_string(i), "allow", R"(["read"])");
    return with_rules(text);
  };
  EXPECT_EQ(parsed(rules(1'024)).seccomp.rules.size(), 1'024U);
  EXPECT_EQ(error_of(rules(1'025)).pointer, "/seccomp/rules");
}

TEST(PolicySeccomp, EveryOpRoundTrips) {
  const std::pair<const char*, Op> ops[] = {{"eq", Op::kEqual},   {"ne", Op::kNotEqual},
                                            {"lt", Op::kLess},    {"le", Op::kLessEqual},
                                            {"gt", Op::kGreater}, {"ge", Op::kGreaterEqual}};
  for (const auto& [name, op] : ops) {
    const Policy policy = parsed(with_condition(std::string(R"({"arg": 5, "op": ")") + name +
                                                R"(", "value": 18446744073709551615})"));
    EXPECT_EQ(policy.seccomp.rules.at(0).when.at(0),
              (ArgCondition{.arg = 5, .op = op, .mask = 0, .values = {~std::uint64_t{0}}}));
    EXPECT_EQ(parsed(to_json(policy)), policy) << name;
  }
  const Policy masked = parsed(
      with_condition(R"({"arg": 0, "op": "masked_eq", "mask": "0x7E82A000", "value": "0x2000"})"));
  EXPECT_EQ(
      masked.seccomp.rules.at(0).when.at(0),
      (ArgCondition{.arg = 0, .op = Op::kMaskedEqual, .mask = 2'122'489'856, .values = {0x2000}}));
  EXPECT_EQ(parsed(to_json(masked)), masked);
  const Policy list =
      parsed(with_condition(R"({"arg": 1, "op": "in", "values": [3, "0xFFFFFFFFFFFFFFFF", 0]})"));
  EXPECT_EQ(list.seccomp.rules.at(0).when.at(0).values,
            (std::vector<std::uint64_t>{3, ~std::uint64_t{0}, 0}));
  EXPECT_EQ(parsed(to_json(list)), list);
}

TEST(PolicySeccomp, BadConditionsAreRefusedAtTheirPlace) {
  const std::pair<const char*, const char*> broken[] = {
      {R"({"op": "eq", "value": 1})", ""},
      {R"({"arg": 0, "value": 1})", ""},
      {R"({"arg": 0, "op": "eq"})", ""},
      {R"({"arg": 0, "op": "in"})", ""},
      {R"({"arg": 0, "op": "masked_eq", "value": 1})", ""},
      {R"({"arg": 0, "op": "masked_eq", "mask": 1, "value": 2})", ""},
      {R"({"arg": 0, "op": "masked_eq", "mask": 0, "value": 0})", "/mask"},
      {R"({"arg": 6, "op": "eq", "value": 1})", "/arg"},
      {R"({"arg": -1, "op": "eq", "value": 1})", "/arg"},
      {R"({"arg": 0, "op": "==", "value": 1})", "/op"},
      {R"({"arg": 0, "op": "eq", "value": 1, "mask": 1})", "/mask"},
      {R"({"arg": 0, "op": "eq", "value": 1, "values": [1]})", "/values"},
      {R"({"arg": 0, "op": "in", "value": 1, "values": [1]})", "/value"},
      {R"({"arg": 0, "op": "in", "values": []})", "/values"},
      {R"({"arg": 0, "op": "in", "values": [1, 1]})", "/values/1"},
      {R"({"arg": 0, "op": "eq", "value": -1})", "/value"},
      {R"({"arg": 0, "op": "eq", "value": 1.0})", "/value"},
      {R"({"arg": 0, "op": "eq", "value": "1"})", "/value"},
      {R"({"arg": 0, "op": "eq", "value": "0x"})", "/value"},
      {R"({"arg": 0, "op": "eq", "value": "0x-1"})", "/value"},
      {R"({"arg": 0, "op": "eq", "value": "0x1g"})", "/value"},
      {R"({"arg": 0, "op": "eq", "value": "0x10000000000000000"})", "/value"},
      {R"({"arg": 0, "op": "eq", "value": 18446744073709551616})", "/value"},
      {R"({"arg": 0, "op": "eq", "value": 1, "index": 1})", "/index"},
  };
  for (const auto& [condition, place] : broken)
    EXPECT_EQ(error_of(with_condition(condition)).pointer,
              std::string("/seccomp/rules/a/when/0") + place)
        << condition;
}

TEST(PolicySeccomp, ArgumentComparedTwiceInOneRuleIsRefused) {
  const PolicyError error = error_of(
      with_condition(R"({"arg": 0, "op": "ge", "value": 1}, {"arg": 0, "op": "le", "value": 9})"));
  EXPECT_EQ(error.pointer, "/seccomp/rules/a/when/1");
  EXPECT_THAT(error.message, HasSubstr("compared twice"));
}

TEST(PolicySeccomp, ListsThatMultiplyBeyondABoundAreRefused) {
  std::string list = "0";
  for (int i = 1; i < 17; ++i) list += "," + std::to_string(i);
  const std::string conditions = R"({"arg": 0, "op": "in", "values": [)" + list +
                                 R"(]}, {"arg": 1, "op": "in", "values": [)" + list + "]}";
  EXPECT_THAT(error_of(with_condition(conditions)).message, HasSubstr("multiply"));
}

TEST(PolicySeccomp, OneCallWithTwoActionsIsRefusedAndNamesBothRules) {
  const PolicyError error = error_of("{\"version\": 1, \"seccomp\": {\"rules\": {\n" +
                                     rule("a", "allow", R"(["read", "write"])") + ",\n" +
                                     rule("b", "errno:EPERM", R"(["close", "write"])") + "}}}");
  EXPECT_EQ(error.pointer, "/seccomp/rules/b/calls/1");
  EXPECT_EQ(error.line, 3U);
  EXPECT_THAT(error.message, HasSubstr("\"write\" is in the rule \"a\" too (2), with another"));
}

TEST(PolicySeccomp, OneCallWithAndWithoutConditionsIsRefused) {
  const std::string when = R"([{"arg": 0, "op": "eq", "value": 1}])";
  const PolicyError error = error_of(with_rules(rule("a", "allow", R"(["read"])", when) + "," +
                                                rule("b", "allow", R"(["read"])")));
  EXPECT_EQ(error.pointer, "/seccomp/rules/b/calls/0");
  EXPECT_THAT(error.message, HasSubstr("conditions in only one"));
}

TEST(PolicySeccomp, OneCallMayStandInSeveralRulesThatAgree) {
  const std::string one = R"([{"arg": 0, "op": "eq", "value": 1}])";
  const std::string two = R"([{"arg": 0, "op": "eq", "value": 2}])";
  parsed(with_rules(rule("a", "allow", R"(["read"])", one) + "," +
                    rule("b", "allow", R"(["read"])", two)));
  parsed(with_rules(rule("a", "allow", R"(["read"])") + "," + rule("b", "allow", R"(["read"])")));
}

TEST(PolicySeccomp, WhatTheFloorWouldNotLetHoldIsRefusedAtItsPlace) {
  for (const char* action : {"allow", "errno:EPERM"}) {
    const PolicyError error = error_of(with_rules(rule("a", action, R"(["read", "ptrace"])")));
    EXPECT_EQ(error.pointer, "/seccomp/rules/a/calls/1");
    EXPECT_THAT(error.message, HasSubstr("kills the process whatever a policy says"));
  }
  parsed(with_rules(rule("a", "kill_process", R"(["read", "ptrace"])")));
  EXPECT_THAT(error_of(with_rules(rule("a", "allow", R"(["clone3"])"))).message,
              HasSubstr("clone3 cannot be allowed"));
  parsed(with_rules(rule("a", "errno:ENOSYS", R"(["clone3"])")));
  const std::string less = R"([{"arg": 2, "op": "lt", "value": 9}])";
  const std::string mmap = rule("a", "allow", R"(["mmap"])", less);
  const std::string both =
      rule("a", "allow", R"(["mmap"])", R"([{"arg": 2, "op": "in", "values": [6, 7]}])");
  EXPECT_THAT(error_of(with_rules(mmap)).message, HasSubstr("by eq, in or masked_eq only"));
  EXPECT_THAT(error_of(with_rules(both)).message, HasSubstr("the floor refuses every argument 2"));
  for (const std::string& open : {mmap, both})
    parsed(with_version(R"("seccomp": {"write_execute": "w", "rules": {)" + open + "}}"));
}

TEST(PolicySeccomp, ExecOnceNeedsExitGroup) {
  const std::string when = R"([{"arg": 0, "op": "eq", "value": 0}])";
  const auto with = [](const std::string& exit_group) {
    return with_version(R"("seccomp": {"exec_once": true, "rules": {)" +
                        rule("a", "allow", R"(["execve"])") + exit_group + "}}");
  };
  for (const std::string& too_little :
       {std::string(), ", " + rule("b", "allow", R"(["exit_group"])", when)}) {
    const PolicyError error = error_of(with(too_little));
    EXPECT_EQ(error.pointer, "/seccomp/exec_once");
    EXPECT_THAT(error.message, HasSubstr("exit_group"));
  }
  parsed(with(", " + rule("b", "allow", R"(["exit_group"])")));
}

TEST(PolicySeccomp, SwitchesAreReadAndWritten) {
  const Policy closed = parsed(with_version(R"("seccomp": {"exec_once": true})"));
  EXPECT_TRUE(closed.seccomp.exec_once);
  EXPECT_EQ(closed.seccomp.write_execute, "");
  EXPECT_EQ(parsed(to_json(closed)), closed);
  const Policy opened = parsed(with_version(R"("seccomp": {"write_execute": "a JIT"})"));
  EXPECT_FALSE(opened.seccomp.exec_once);
  EXPECT_EQ(opened.seccomp.write_execute, "a JIT");
  EXPECT_EQ(parsed(to_json(opened)), opened);
  EXPECT_EQ(error_of(with_version(R"("seccomp": {"write_execute": " "})")).pointer,
            "/seccomp/write_execute");
  EXPECT_EQ(error_of(with_version(R"("seccomp": {"write_execute": true})")).pointer,
            "/seccomp/write_execute");
  EXPECT_EQ(error_of(with_version(R"("seccomp": {"exec_once": "yes"})")).pointer,
            "/seccomp/exec_once");
}

}  // namespace
}  // namespace fnrun::policies
