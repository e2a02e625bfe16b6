// fnrun-doctor as a user runs it: what it says is so, in both forms; its exit codes; what it
// leaves.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <tuple>

#include "tests/doctor/doctor_run.h"
#include "tests/support/sandbox_fixture.h"
#include "tests/support/temp_dir.h"

namespace fnrun::test {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string own_text(const char* path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

GatedRun run_doctor(const std::vector<std::string>& options) {
  std::vector<std::string> argv{doctor_program()};
  argv.insert(argv.end(), options.begin(), options.end());
  return run_gated(argv, {});
}

// By another way than the doctor's: a controller with a v1 hierarchy has a line of
// /proc/self/cgroup.
TEST(DoctorSays, ThatAControllerOfCgroupV1IsMissing) {
  const Diagnosis found = diagnose();
  const std::string cgroups = own_text("/proc/self/cgroup");
  for (const auto& [row, v1_name] : std::map<std::string, std::string>{{"memory", "memory"},
                                                                       {"pids", "pids"},
                                                                       {"cpu", "cpu"},
                                                                       {"io", "blkio"},
                                                                       {"cpuset", "cpuset"}}) {
    bool on_v1 = false;
    std::istringstream lines(cgroups);
    for (std::string line; std::getline(lines, line);) {
      std::istringstream names(line.substr(0, line.rfind(':')));
      for (std::string name; std::getline(names, name, ':');) {
        std::istringstream joined(name);
        for (std::string one; std::getline(joined, one, ',');) on_v1 = on_v1 || one == v1_name;
      }
    }
    if (!on_v1) continue;
    EXPECT_TRUE(found.missing.contains(row)) << found.why.at(row);
    EXPECT_THAT(found.why.at(row), HasSubstr("bound to a cgroup v1 hierarchy"));
  }
}

TEST(DoctorSays, WhatTheHostSaysOtherwise) {
  const Diagnosis found = diagnose();
  EXPECT_EQ(found.missing.contains("user_namespace"), !why_no_user_namespace().empty());
  EXPECT_EQ(::access("/proc/self/ns/time_for_children", F_OK) != 0,
            found.missing.contains("time_namespace"));
  const auto host = isolation::probe_host();
  EXPECT_EQ(found.missing.contains("host"), !host);
  if (!host) return;
  EXPECT_EQ(found.missing.contains("landlock"), host->landlock_abi == 0);
  const bool no_groups =
      found.missing.contains("cgroup_mount") || found.missing.contains("cgroup_delegation");
  EXPECT_EQ(no_groups, host->cgroup.dir.empty());
}

// A row of the table: its first three words.
TEST(DoctorSays, TheSameAsTableAndAsJson) {
  const GatedRun table = run_doctor({});
  const Diagnosis json = diagnose();
  std::vector<std::tuple<std::string, std::string, std::string>> in_table;
  std::istringstream lines(table.out);
  std::string line;
  std::getline(lines, line);
  EXPECT_THAT(line, ::testing::StartsWith("verdict"));
  while (std::getline(lines, line) && !line.empty()) {
    if (line.front() == ' ') continue;  // How to enable it.
    std::istringstream words(line);
    std::string verdict;
    std::string id;
    std::string needed;
    words >> verdict >> id >> needed;
    in_table.emplace_back(verdict, id, needed);
    EXPECT_THAT(line, HasSubstr(json.why.at(id).substr(0, 30)));
  }
  std::vector<std::tuple<std::string, std::string, std::string>> in_json;
  for (const auto& row : json.json.at("rows"))
    in_json.emplace_back(row.at("verdict"), row.at("id"), row.at("needed"));
  EXPECT_EQ(in_table, in_json);
  EXPECT_EQ(table.code, json.code);
}

GateAnswer without_landlock(const GatedCall& call) {
  return {.os_errno = call.number == SYS_landlock_create_ruleset ? EOPNOTSUPP : 0};
}

class ByPolicy : public ::testing::Test {
 protected:
  void SetUp() override {
    if (diagnose().code != 0) GTEST_SKIP() << "this host cannot hold strict anyway";
  }
  [[nodiscard]] std::string policy(const std::string& text) const {
    const std::string path = (temp_.path() / "policy.json").string();
    std::ofstream(path) << text;
    return path;
  }

 private:
  TempDir temp_;
};

TEST_F(ByPolicy, AMissingLayerStopsWhoRequiresItAndDegradesWhoPrefersIt) {
  const Diagnosis prefers = diagnose(without_landlock);
  EXPECT_EQ(prefers.code, 0);
  EXPECT_EQ(prefers.json.at("holds"), true);
  EXPECT_THAT(prefers.json.at("degraded").dump(), HasSubstr("\"landlock\""));

  const std::string path =
      policy(R"({"version": 1, "extends": "strict", "prefer": {"landlock": null}})");
  const Diagnosis with = diagnose({}, {}, {"--policy", path});
  EXPECT_EQ(with.code, 0) << with.json.dump(1);
  const Diagnosis requires_it = diagnose(without_landlock, {}, {"--policy", path});
  EXPECT_EQ(requires_it.code, 125);
  EXPECT_EQ(requires_it.json.at("holds"), false);
  EXPECT_EQ(requires_it.json.at("stopped_by"), (nlohmann::json{"landlock", "launch"}));
  EXPECT_THAT(requires_it.why.at("launch"), HasSubstr("requires 'landlock'"));
}

TEST_F(ByPolicy, TheTableEndsWithWhatStopsIt) {
  const GatedRun run =
      run_gated({doctor_program(), "--policy", "strict"}, [](const GatedCall& call) {
        return GateAnswer{.os_errno = call.number == SYS_pivot_root ? EINVAL : 0};
      });
  EXPECT_EQ(run.code, 125);
  EXPECT_THAT(run.out, HasSubstr("cannot hold policy strict; it requires and does not find: "
                                 "pivot_root, launch."));
  EXPECT_THAT(run.out, HasSubstr("pivot_root: EINVAL (Invalid argument)"));
  EXPECT_THAT(run.out, HasSubstr("to enable: start it outside of any chroot"));
}

TEST_F(ByPolicy, AWrongPolicyIsNotTheHostsFault) {
  EXPECT_EQ(run_doctor({"--policy", "no-such-policy"}).code, 78);
  EXPECT_EQ(run_doctor({"--policy", policy("{")}).code, 78);
  const GatedRun run = run_doctor(
      {"--policy", policy(R"({"version": 1, "extends": "strict", "seccomp": {"rules": {"mine":
        {"action": "allow", "calls": ["no_such_call"], "why": "a test"}}}})")});
  EXPECT_EQ(run.code, 78) << run.out;
  EXPECT_THAT(run.err, HasSubstr("no_such_call"));
}

TEST(DoctorUsage, HelpShowsExamplesAndAMistakeIsOne) {
  const GatedRun help = run_doctor({"--help"});
  EXPECT_EQ(help.code, 0);
  EXPECT_THAT(help.out, HasSubstr("Examples:"));
  const GatedRun mistake = run_doctor({"--cure"});
  EXPECT_EQ(mistake.code, 2);
  EXPECT_THAT(mistake.err, HasSubstr("--help"));
}

// Each ends when all that the doctor started is gone (gate.h).
class NothingStays : public ::testing::Test {
 protected:
  void SetUp() override {
    mounts_ = own_text("/proc/self/mountinfo");
    if (diagnose().missing.contains("cgroup_delegation"))
      GTEST_SKIP() << "no groups can be made here";
  }
  void TearDown() override { EXPECT_EQ(own_text("/proc/self/mountinfo"), mounts_); }
  // At the moment when the group of a probe comes into being.
  static Gate when_a_group_is_made(const std::function<void(const GatedCall&)>& act) {
    return [act](const GatedCall& call) {
      if (call.number == SYS_mkdir && call.text(0).find("/fnrun-doctor-") != std::string::npos)
        act(call);
      return GateAnswer{};
    };
  }

 private:
  std::string mounts_;
};

TEST_F(NothingStays, AfterASignal) {
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) {
    const GatedRun run = run_gated(
        {doctor_program()},
        when_a_group_is_made([signal](const GatedCall& call) { ::kill(call.program, signal); }));
    EXPECT_EQ(run.code, 128 + signal);
    EXPECT_EQ(run.out, "");
    EXPECT_THAT(groups_left_by(run.program), IsEmpty());
  }
}

TEST_F(NothingStays, WhenTheDoctorIsKilled) {
  int made = 0;
  const GatedRun run =
      run_gated({doctor_program()}, when_a_group_is_made([&](const GatedCall& call) {
                  ++made;
                  ::kill(call.program, SIGKILL);
                }));
  EXPECT_EQ(run.code, 128 + SIGKILL);
  EXPECT_EQ(made, 1);
  EXPECT_THAT(groups_left_by(run.program), IsEmpty());
}

TEST_F(NothingStays, WhenAProbeIsKilled) {
  const Diagnosis found = diagnose([](const GatedCall& call) {
    if (call.number == SYS_openat && call.text(1).ends_with("/cgroup.freeze"))
      ::kill(call.caller, SIGKILL);
    return GateAnswer{};
  });
  EXPECT_TRUE(found.missing.contains("cgroup_freeze"));
  EXPECT_THAT(found.why.at("cgroup_freeze"), HasSubstr("killed by SIGKILL"));
  EXPECT_THAT(groups_left_by(found.program), IsEmpty());
}

}  // namespace
}  // namespace fnrun::test
