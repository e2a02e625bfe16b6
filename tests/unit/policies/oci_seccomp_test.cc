// Containers' seccomp profiles: what is taken over, what is resolved, and what is refused.
#include "policies/oci_seccomp.h"

#include <gmock/gmock.h>

#include "policies/seccomp_difference.h"
#include "policies/seccomp_floor.h"
#include "policy_test_support.h"

namespace fnrun::policies {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Op = ArgCondition::Op;
using Kind = SyscallAction::Kind;

const ImportTarget kTarget{.kernel = {6, 1}, .look_up = [](std::string_view name) {
                             if (name == "socketcall") return CallName::kElsewhere;
                             return name.starts_with("new_") ? CallName::kUnknown : CallName::kHere;
                           }};

Result<ImportedSeccomp> tried(const std::string& json) {
  return import_oci_seccomp(json, "p.json", kTarget);
}
ImportedSeccomp imported(const std::string& json) {
  const auto result = tried(json);
  EXPECT_TRUE(result) << result.error().to_string() << '\n' << json;
  return result ? *result : ImportedSeccomp{};
}
PolicyError refused(const std::string& json) {
  const auto result = tried(json);
  EXPECT_FALSE(result) << json;
  return result ? PolicyError{} : result.error();
}
std::string profile(const std::string& entries, const std::string& more = "") {
  return R"({"defaultAction": "SCMP_ACT_ERRNO", )" + more + R"("syscalls": [)" + entries + "]}";
}
std::string entry(const std::string& names, const std::string& more = "",
                  const std::string& action = "SCMP_ACT_ALLOW") {
  return R"({"names": [)" + names + R"(], "action": ")" + action + '"' +
         (more.empty() ? "" : ", " + more) + "}";
}
std::string arg(int index, const std::string& op, const std::string& value,
                const std::string& more = "") {
  return R"({"index": )" + std::to_string(index) + R"(, "op": "SCMP_CMP_)" + op +
         R"(", "value": )" + value + more + "}";
}
std::string when(const std::string& args) {
  return R"("args": [)" + args + "]";
}
// The calls that are allowed whatever their arguments.
std::vector<std::string> allowed(const ImportedSeccomp& result) {
  std::vector<std::string> calls;
  for (const SyscallRule& rule : result.seccomp.rules)
    if (rule.action.kind == Kind::kAllow && rule.when.empty())
      calls.insert(calls.end(), rule.calls.begin(), rule.calls.end());
  return calls;
}
std::vector<std::string> allowed(const std::string& entries) {
  return allowed(imported(profile(entries)));
}

TEST(OciSeccomp, ActionsAreTakenOverOrLifted) {
  const auto action = [](const std::string& name, const std::string& more = "") {
    const auto result = imported(profile(entry(R"("read")", more, name)));
    return result.seccomp.rules.empty() ? SyscallAction{Kind::kErrno, 0}
                                        : result.seccomp.rules.at(0).action;
  };
  EXPECT_EQ(action("SCMP_ACT_ALLOW"), (SyscallAction{Kind::kAllow, 0}));
  EXPECT_EQ(action("SCMP_ACT_ERRNO", R"("errnoRet": 38)"), (SyscallAction{Kind::kErrno, 38}));
  EXPECT_EQ(action("SCMP_ACT_ERRNO", R"("errno": "EINVAL")"), (SyscallAction{Kind::kErrno, 22}));
  for (const char* name : {"KILL_PROCESS", "KILL", "KILL_THREAD", "TRAP"})
    EXPECT_EQ(action(std::string("SCMP_ACT_") + name), (SyscallAction{Kind::kKillProcess, 0}))
        << name;
  const auto lifted = imported(profile(entry(R"("read")", "", "SCMP_ACT_KILL")));
  EXPECT_THAT(lifted.notes, Contains(HasSubstr("SCMP_ACT_KILL is lifted to kill_process")));
  const auto logged = imported(profile(entry(R"("read")", "", "SCMP_ACT_LOG")));
  EXPECT_THAT(allowed(logged), ElementsAre("read"));
  EXPECT_THAT(logged.notes, Contains(HasSubstr("nothing is logged")));
}

TEST(OciSeccomp, ActionsThatNeedSomebodyElseAreRefused) {
  for (const char* name : {"SCMP_ACT_TRACE", "SCMP_ACT_NOTIFY"}) {
    const PolicyError error = refused(profile(entry(R"("read")", "", name)));
    EXPECT_EQ(error.pointer, "/syscalls/0/action");
    EXPECT_EQ(error.file, "p.json");
    EXPECT_THAT(error.message, HasSubstr("another program"));
  }
  EXPECT_THAT(refused(profile(entry(R"("read")", "", "SCMP_ACT_MAYBE"))).message,
              HasSubstr("no action of seccomp"));
  EXPECT_THAT(refused(profile(entry(R"("read")", R"("errnoRet": 0)", "SCMP_ACT_ERRNO"))).message,
              HasSubstr("errno 0"));
  EXPECT_THAT(refused(profile(entry(R"("read")", R"("errnoRet": 1)"))).message,
              HasSubstr("goes with SCMP_ACT_ERRNO only"));
}

TEST(OciSeccomp, DefaultsAreDockersPodmansAndNeverAllow) {
  EXPECT_EQ(imported(profile("")).seccomp.default_action, (SyscallAction{Kind::kErrno, 1}));
  const auto podmans = imported(profile("", R"("defaultErrnoRet": 38, "defaultErrno": "ENOSYS",)"));
  EXPECT_EQ(podmans.seccomp.default_action, (SyscallAction{Kind::kErrno, 38}));
  EXPECT_EQ(refused(profile("", R"("defaultErrnoRet": 38, "defaultErrno": "EPERM",)")).pointer,
            "/defaultErrno");
  for (const char* action : {"ALLOW", "LOG"}) {
    const PolicyError error =
        refused(R"({"defaultAction": "SCMP_ACT_)" + std::string(action) + R"("})");
    EXPECT_EQ(error.pointer, "/defaultAction");
    EXPECT_THAT(error.message, HasSubstr("not yet invented"));
  }
  EXPECT_THAT(refused("{}").message, HasSubstr("\"defaultAction\" is missing"));
}

TEST(OciSeccomp, ArchitecturesAreOursAlone) {
  const auto flat = imported(
      profile("", R"("architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],)"));
  EXPECT_THAT(flat.notes, Contains(HasSubstr("SCMP_ARCH_X86 is not taken over")));
  const auto map = imported(profile("", R"("archMap": [
      {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
      {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X32"]}],)"));
  EXPECT_THAT(map.notes, ElementsAre(HasSubstr("SCMP_ARCH_X32 is not taken over")));
  EXPECT_THAT(imported(profile("", R"("architectures": null,)")).notes, IsEmpty());
  EXPECT_EQ(refused(profile("", R"("architectures": ["SCMP_ARCH_ARM"],)")).pointer,
            "/architectures");
  EXPECT_EQ(refused(profile("", R"("archMap": [{"architecture": "SCMP_ARCH_ARM"}],)")).pointer,
            "/archMap");
  EXPECT_THAT(refused(profile("", R"("architectures": ["SCMP_ARCH_X86_64"],
      "archMap": [{"architecture": "SCMP_ARCH_X86_64"}],)"))
                  .message,
              HasSubstr("stands beside \"archMap\""));
}

TEST(OciSeccomp, NamesAreAListOrOneAndWhatIsUnknownIsSaid) {
  EXPECT_THAT(allowed(entry(R"("read", "write", "read")")), ElementsAre("read", "write"));
  EXPECT_THAT(allowed(R"({"name": "read", "action": "SCMP_ACT_ALLOW", "args": []})"),
              ElementsAre("read"));
  EXPECT_EQ(refused(profile(R"({"name": "read", "names": ["write"],
      "action": "SCMP_ACT_ALLOW"})"))
                .pointer,
            "/syscalls/0/name");
  for (const char* bad :
       {R"({"action": "SCMP_ACT_ALLOW"})", R"({"names": [], "action": "SCMP_ACT_ALLOW"})",
        R"({"names": [7], "action": "SCMP_ACT_ALLOW"})",
        R"({"names": ["../x"], "action": "SCMP_ACT_ALLOW"})"})
    refused(profile(bad));
  const auto odd = imported(profile(entry(R"("read", "socketcall", "new_one", "new_two")")));
  EXPECT_THAT(allowed(odd), ElementsAre("read"));
  EXPECT_THAT(odd.notes, ElementsAre(HasSubstr("2 calls: new_one, new_two")));
  EXPECT_EQ(refused(profile(entry(R"("read", "new_one")", "", "SCMP_ACT_KILL"))).pointer,
            "/syscalls/0/names/1")
      << "the default would be less than what is asked for";
  EXPECT_THAT(imported(profile(entry(R"("socketcall")", "", "SCMP_ACT_KILL"))).seccomp.rules,
              IsEmpty());
}

TEST(OciSeccomp, ConditionsOnTheContainerAreResolvedForNoCapabilityAndThisKernel) {
  const auto applies = [](const std::string& more) {
    return !allowed(entry(R"("read")", more)).empty();
  };
  EXPECT_FALSE(applies(R"("includes": {"caps": ["CAP_SYS_ADMIN"]})"));
  EXPECT_TRUE(applies(R"("excludes": {"caps": ["CAP_SYS_ADMIN"]})"));
  EXPECT_TRUE(applies(R"("includes": {"caps": []}, "excludes": {})"));
  EXPECT_TRUE(applies(R"("includes": null, "excludes": null, "args": null, "comment": "")"));
  EXPECT_TRUE(applies(R"("includes": {"arches": ["x32", "amd64"]})"));
  EXPECT_FALSE(applies(R"("includes": {"arches": ["s390x"]})"));
  EXPECT_FALSE(applies(R"("excludes": {"arches": ["amd64"]})"));
  EXPECT_TRUE(applies(R"("excludes": {"arches": ["s390x"]})"));
  EXPECT_TRUE(applies(R"("includes": {"minKernel": "4.8"})"));
  EXPECT_TRUE(applies(R"("includes": {"minKernel": "6.1"})"));
  EXPECT_FALSE(applies(R"("includes": {"minKernel": "6.10"})"));
  EXPECT_FALSE(applies(R"("excludes": {"minKernel": "4.8"})"));
  EXPECT_TRUE(applies(R"("excludes": {"minKernel": "7.0"})"));
  EXPECT_FALSE(applies(R"("includes": {"caps": ["CAP_SYSLOG"], "arches": ["amd64"]})"));
  for (const char* bad : {"4", "4.", ".8", "4.8.1", "four.8", "-4.8", ""})
    EXPECT_EQ(refused(profile(entry(R"("read")",
                                    R"("includes": {"minKernel": ")" + std::string(bad) + "\"}")))
                  .pointer,
              "/syscalls/0/includes/minKernel")
        << bad;
}

TEST(OciSeccomp, ComparisonsAreTakenOver) {
  const auto condition = [](const std::string& text) {
    const auto result = imported(profile(entry(R"("read")", when(text))));
    EXPECT_EQ(result.seccomp.rules.size(), 1U);
    return result.seccomp.rules.at(0).when.at(0);
  };
  const std::pair<const char*, Op> ops[] = {{"NE", Op::kNotEqual},     {"LT", Op::kLess},
                                            {"LE", Op::kLessEqual},    {"EQ", Op::kEqual},
                                            {"GE", Op::kGreaterEqual}, {"GT", Op::kGreater}};
  for (const auto& [name, op] : ops)
    EXPECT_EQ(condition(arg(5, name, "18446744073709551615")),
              (ArgCondition{.arg = 5, .op = op, .mask = 0, .values = {~std::uint64_t{0}}}))
        << name;
  const ArgCondition masked{.arg = 0, .op = Op::kMaskedEqual, .mask = 2114060288, .values = {0}};
  EXPECT_EQ(condition(arg(0, "MASKED_EQ", "2114060288")), masked) << "Docker leaves valueTwo out";
  EXPECT_EQ(condition(arg(0, "MASKED_EQ", "2114060288", R"(, "valueTwo": 0)")), masked);
  EXPECT_EQ(condition(arg(1, "MASKED_EQ", "6", R"(, "valueTwo": 2)")).values.at(0), 2U);
}

TEST(OciSeccomp, ComparisonsThatMeanSomethingElseAreRefused) {
  const std::string twice = arg(0, "NE", "38") + "," + arg(0, "NE", "40");
  EXPECT_THAT(refused(profile(entry(R"("socket")", when(twice)))).message,
              HasSubstr("which runc takes for \"or\""));
  for (const std::string& bad :
       {arg(6, "EQ", "1"), arg(0, "IS", "1"), arg(0, "EQ", "-1"), arg(0, "EQ", "1.5"),
        arg(0, "EQ", "18446744073709551616"), arg(0, "EQ", R"("1")"),
        arg(0, "EQ", "1", R"(, "valueTwo": 1)"), arg(0, "MASKED_EQ", "0"),
        arg(0, "MASKED_EQ", "1", R"(, "valueTwo": 2)"), arg(0, "EQ", "1", R"(, "mask": 2)"),
        std::string(R"({"index": 0, "op": "SCMP_CMP_EQ"})"), std::string("[]")})
    EXPECT_TRUE(
        refused(profile(entry(R"("read")", when(bad)))).pointer.starts_with("/syscalls/0/args/0"))
        << bad;
}

// libseccomp 2.5.4 takes both entries of each pair and keeps one, without a word.
TEST(OciSeccomp, EntriesThatContradictEachOtherAreRefused) {
  const std::string one = when(arg(0, "EQ", "1"));
  const std::string errno_one = one + R"(, "errnoRet": 13)";
  const auto both = [](const std::string& a, const std::string& b) {
    return refused(profile("\n" + a + ",\n" + b));
  };
  const PolicyError error =
      both(entry(R"("read")"), entry(R"("read")", errno_one, "SCMP_ACT_ERRNO"));
  EXPECT_EQ(error.pointer, "/syscalls/1");
  EXPECT_THAT(error.message, HasSubstr("contradicts the entry of line 2 on 'read'"));
  both(entry(R"("read")", errno_one, "SCMP_ACT_ERRNO"), entry(R"("read")"));
  // As the default says; runc would leave it out, and read would be open.
  both(entry(R"("read")"), entry(R"("read")", one, "SCMP_ACT_ERRNO"));
  both(entry(R"("read")"), entry(R"("read")", R"("errnoRet": 38)", "SCMP_ACT_ERRNO"));
  both(entry(R"("read")", one), entry(R"("read")", errno_one, "SCMP_ACT_ERRNO"));
  both(entry(R"("read")", when(arg(0, "GT", "1"))),
       entry(R"("read")", when(arg(1, "EQ", "1")), "SCMP_ACT_KILL"));
}

TEST(OciSeccomp, EntriesThatAgreeAreMerged) {
  const std::string one = entry(R"("read")", when(arg(0, "EQ", "1")));
  const std::string two = entry(R"("read")", when(arg(0, "EQ", "2")));
  EXPECT_EQ(imported(profile(one + "," + two)).seccomp.rules.size(), 2U);
  EXPECT_EQ(imported(profile(one + "," + one)).seccomp.rules.size(), 1U);
  EXPECT_THAT(allowed(one + "," + entry(R"("read")") + "," + two), ElementsAre("read"));
  const auto skipped = imported(profile(entry(R"("read")", "", "SCMP_ACT_ERRNO") + "," + one));
  EXPECT_EQ(skipped.seccomp.rules.size(), 1U) << "runc leaves out what says the default";
  // containerd's way around AF_ALG (38) and AF_VSOCK (40).
  const auto around = imported(profile(entry(R"("socket")", when(arg(0, "LT", "38"))) + "," +
                                       entry(R"("socket")", when(arg(0, "EQ", "39"))) + "," +
                                       entry(R"("socket")", when(arg(0, "GT", "40")))));
  EXPECT_EQ(around.seccomp.rules.size(), 3U);
  EXPECT_THAT(around.notes, IsEmpty());
}

TEST(OciSeccomp, RefusalsThatTouchNothingAllowedGoToTheDefault) {
  // Podman's socket(AF_NETLINK, …, NETLINK_AUDIT).
  const auto result = imported(profile(entry(R"("socket")",
                                             when(arg(0, "EQ", "16") + "," + arg(2, "EQ", "9")) +
                                                 R"(, "errnoRet": 22, "errno": "EINVAL")",
                                             "SCMP_ACT_ERRNO") +
                                       "," + entry(R"("socket")", when(arg(2, "NE", "9"))) + "," +
                                       entry(R"("socket")", when(arg(0, "NE", "16")))));
  EXPECT_EQ(result.seccomp.rules.size(), 2U);
  EXPECT_THAT(result.notes, ElementsAre(HasSubstr("the profile says errno:EINVAL")));
}

TEST(OciSeccomp, TheFloorStaysShutAndIsSaid) {
  const auto result = imported(profile(entry(R"("read", "ptrace", "mount", "clone3", "clone")")));
  EXPECT_THAT(allowed(result), ElementsAre("clone", "read"));
  EXPECT_THAT(result.notes,
              ElementsAre(HasSubstr("never by a policy: 3 calls: clone3, mount, ptrace"),
                          HasSubstr("arguments that no policy lets through: 1 call: clone")));
  const std::string flags = arg(0, "MASKED_EQ", "2122489856");  // All that the floor looks at.
  EXPECT_THAT(imported(profile(entry(R"("clone")", when(flags)))).notes, IsEmpty());
  EXPECT_THAT(imported(profile(entry(R"("ptrace")", "", "SCMP_ACT_ERRNO"))).notes,
              ElementsAre("refused there, and killed for by every policy: 1 call: ptrace"));
  EXPECT_THAT(imported(profile(entry(R"("ptrace")", "", "SCMP_ACT_KILL_PROCESS"))).notes,
              IsEmpty());
  EXPECT_EQ(refused(profile(entry(R"("clone")", when(arg(0, "EQ", "268435473"))))).pointer,
            "/syscalls/0")
      << "CLONE_NEWUSER and nothing else";
  EXPECT_EQ(refused(profile(entry(R"("clone")", when(arg(0, "LT", "9"))))).pointer, "/syscalls/0");
}

TEST(OciSeccomp, WhatStandsAroundTheEntriesIsSaidOrRefused) {
  EXPECT_THAT(imported(profile("", R"("flags": ["SECCOMP_FILTER_FLAG_SPEC_ALLOW"],)")).notes,
              ElementsAre(HasSubstr("SPEC_ALLOW is not taken over")));
  EXPECT_EQ(refused(profile("", R"("listenerPath": "/run/agent",)")).pointer, "/listenerPath");
  EXPECT_EQ(refused(profile("", R"("listeners": 1,)")).pointer, "/listeners");
  EXPECT_EQ(refused(profile(entry(R"("read")", R"("when": [])"))).pointer, "/syscalls/0/when");
  refused("[]");
  refused("{");
  EXPECT_THAT(refused(std::string(kPolicyTextMax + 1, ' ')).message, HasSubstr("bytes at most"));
}

TEST(OciSeccomp, ImportedRulesAreAPolicys) {
  Policy policy;
  policy.seccomp =
      imported(profile(entry(R"("execve", "read")") + "," +
                       entry(R"("ioctl")", when(arg(1, "EQ", "1"))) + "," +
                       entry(R"("chmod")", R"("errnoRet": 38)", "SCMP_ACT_ERRNO") + "," +
                       entry(R"("reboot", "keyctl")", "", "SCMP_ACT_KILL_PROCESS")))
          .seccomp;
  EXPECT_EQ(parsed(to_json(policy)), policy);
  EXPECT_NE(policy.seccomp.write_execute, "") << "containers' profiles know nothing of it";
  std::vector<std::string> names;
  for (const SyscallRule& rule : policy.seccomp.rules) names.push_back(rule.name);
  EXPECT_THAT(names, ElementsAre("imported-allow", "imported-errno-enosys", "imported-ioctl-1",
                                 "imported-kill-process"));
}

TEST(OciSeccomp, ExportSaysWhatThePolicyMeansWithTheFloor) {
  Seccomp seccomp = default_seccomp();
  seccomp.default_action = {Kind::kErrno, 38};
  const auto json = nlohmann::json::parse(export_oci_seccomp(seccomp));
  EXPECT_EQ(json["defaultAction"], "SCMP_ACT_ERRNO");
  EXPECT_EQ(json["defaultErrnoRet"], 38);
  EXPECT_EQ(json["architectures"], nlohmann::json::array({"SCMP_ARCH_X86_64"}));
  int mprotects = 0, tripwires = 0;
  for (const auto& one : json["syscalls"]) {
    if (one["names"] == nlohmann::json::array({"mprotect"})) {
      EXPECT_EQ(one["args"][0]["op"], "SCMP_CMP_MASKED_EQ");
      EXPECT_EQ(one["args"][0]["value"], 6);
      ++mprotects;
    }
    tripwires += one["action"] == "SCMP_ACT_KILL_PROCESS" ? int(one["names"].size()) : 0;
  }
  EXPECT_EQ(mprotects, 3) << "neither, writable, executable";
  EXPECT_EQ(tripwires, 53);
}

TEST(SeccompDifference, TellsWhatOpensAndWhatCloses) {
  const Seccomp before = default_seccomp();
  Seccomp now = before;
  std::erase(now.rules[0].calls, std::string("brk"));
  now.rules[0].calls.push_back("mount");  // Which no rule can open.
  now.rules[0].calls.push_back("dup");
  now.rules[1].when.clear();
  now.write_execute = "a test";
  const SeccompDifference found = difference(before, now);
  EXPECT_THAT(found.opened, ElementsAre("dup"));
  EXPECT_THAT(found.widened, ElementsAre("mprotect", "prlimit64"));
  EXPECT_THAT(found.narrowed, IsEmpty());
  EXPECT_THAT(found.closed, ElementsAre("brk"));
  EXPECT_EQ(found.to_string(),
            "opens 1 call: dup\nopens for other arguments 2 calls: mprotect prlimit64\n"
            "closes 1 call: brk\n");
  EXPECT_THAT(difference(now, before).narrowed, ElementsAre("mprotect", "prlimit64"));
  EXPECT_EQ(difference(before, before).to_string(), "");
}

TEST(SeccompDifference, FewerOfTheSameArgumentsAreNothingOpened) {
  Seccomp two = default_seccomp();
  two.rules[1].when = {{.arg = 0, .op = ArgCondition::Op::kIn, .mask = 0, .values = {1, 2}}};
  Seccomp one = two;
  one.rules[1].when = {{.arg = 0, .op = ArgCondition::Op::kEqual, .mask = 0, .values = {1}}};
  EXPECT_THAT(difference(two, one).narrowed, ElementsAre("prlimit64"));
  EXPECT_THAT(difference(two, one).widened, IsEmpty());
  EXPECT_THAT(difference(one, two).widened, ElementsAre("prlimit64"));
}

}  // namespace
}  // namespace fnrun::policies
