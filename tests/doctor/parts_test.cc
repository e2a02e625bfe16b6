// The doctor's parts that need no host: what is asked of it, what stops it, what the kernel's text
// says, and what becomes of a probe that dies or hangs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <set>
#include <stdexcept>
#include <string>

#include "tests/support/sandbox_fixture.h"
#include "tools/fnrun-doctor/assessment.h"
#include "tools/fnrun-doctor/kernel_files.h"
#include "tools/fnrun-doctor/probe_runner.h"
#include "tools/fnrun-doctor/probe_table.h"
#include "tools/fnrun-doctor/report.h"

namespace fnrun::doctor {
namespace {

using ::testing::HasSubstr;

TEST(ProbeRunner, GivesBackWhatTheProbeFound) {
  const Finding finding = run_probe([] { return missing(std::string(kWhyMax + 100, 'x')); });
  EXPECT_EQ(finding.verdict, Verdict::kMissing);
  EXPECT_EQ(finding.why, std::string(kWhyMax, 'x'));
}

TEST(ProbeRunner, AProbeThatDiesOrThrowsIsMissing) {
  const Finding killed = run_probe([]() -> Finding {
    ::signal(SIGSYS, SIG_DFL);
    ::raise(SIGSYS);
    return works("not reached");
  });
  EXPECT_EQ(killed.verdict, Verdict::kMissing);
  EXPECT_THAT(killed.why, HasSubstr("SIGSYS: a seccomp filter"));
  const Finding silent = run_probe([]() -> Finding { ::_exit(0); });
  EXPECT_EQ(silent.verdict, Verdict::kMissing);
  const Finding thrown = run_probe([]() -> Finding { throw std::runtime_error("no luck"); });
  EXPECT_THAT(thrown.why, HasSubstr("no luck"));
}

TEST(ProbeRunner, AProbeThatNeverEndsIsKilledAndMissing) {
  const Finding finding = run_probe(
      []() -> Finding {
        for (;;) ::pause();
      },
      std::chrono::milliseconds(50));
  EXPECT_EQ(finding.verdict, Verdict::kMissing);
  EXPECT_THAT(finding.why, HasSubstr("no answer within 50 ms"));
}

TEST(ProbeTable, RowsComeAfterWhatTheyHangOnAndTeach) {
  std::set<std::string_view> seen;
  for (const Probe& probe : probe_table()) {
    for (const auto on : probe.hangs_on) EXPECT_TRUE(seen.contains(on)) << probe.id;
    EXPECT_TRUE(seen.insert(probe.id).second) << probe.id;
    EXPECT_FALSE(probe.title.empty()) << probe.id;
    EXPECT_FALSE(probe.enable.empty()) << probe.id;
    EXPECT_TRUE(probe.run) << probe.id;
    EXPECT_EQ(probe.need == Need::kUnlessPreferred, !probe.layer.empty()) << probe.id;
  }
}

std::vector<Probe> small_table() {
  return {
      {.id = "root", .need = Need::kNobody},
      {.id = "middle", .need = Need::kNobody, .hangs_on = {"root"}},
      {.id = "leaf", .need = Need::kUnlessPreferred, .layer = "landlock", .hangs_on = {"middle"}},
      {.id = "aside", .need = Need::kNobody, .hangs_on = {"root"}},
      {.id = "unknown", .need = Need::kUnlessPreferred, .layer = "no-such-layer"},
      {.id = "basic", .need = Need::kAlways},
  };
}

TEST(DoctorDemands, WhatANeededRowHangsOnIsNeededAsMuch) {
  policies::Policy policy;
  using enum Demand;
  EXPECT_EQ(demands_of(policy, small_table()),
            (std::vector{kRequired, kRequired, kRequired, kNone, kNone, kRequired}));
  policy.preferred[policies::Layer::kLandlock] = "a test";
  EXPECT_EQ(demands_of(policy, small_table()),
            (std::vector{kPreferred, kPreferred, kPreferred, kNone, kNone, kRequired}));
}

TEST(DoctorDemands, AControllerIsNeededOnlyForALimitOfIt) {
  const policies::Policy strict = test::shipped_policy("strict");
  const auto demands = demands_of(strict, probe_table());
  for (std::size_t i = 0; i < demands.size(); ++i) {
    for (const policies::Layer controller : policies::kControllers) {
      if (probe_table()[i].id != policies::name_of(controller)) continue;
      EXPECT_EQ(demands[i] != Demand::kNone, policies::needs_controller(strict.limits, controller))
          << probe_table()[i].id;
    }
  }
}

TEST(DoctorAssessment, OnlyWhatIsRequiredAndMissingStops) {
  const auto table = small_table();
  std::vector<Row> rows{
      {&table[0], works(""), Demand::kRequired},    {&table[1], missing(""), Demand::kNone},
      {&table[2], missing(""), Demand::kPreferred}, {&table[3], untested(""), Demand::kRequired},
      {&table[5], works(""), Demand::kRequired},
  };
  EXPECT_TRUE(assess(rows).holds);
  EXPECT_THAT(assess(rows).degraded, ::testing::ElementsAre("leaf"));
  rows[4].finding = missing("");
  EXPECT_FALSE(assess(rows).holds);
  EXPECT_THAT(assess(rows).stopped_by, ::testing::ElementsAre("basic"));
}

TEST(DoctorAssessment, WhatHangsOnARowThatDoesNotWorkIsNotTried) {
  const auto table = small_table();
  EXPECT_FALSE(finding_without_running(table[1], {{&table[0], works("")}}));
  for (const Finding& root : {missing(""), untested("")}) {
    const auto told = finding_without_running(table[1], {{&table[0], root}});
    ASSERT_TRUE(told);
    EXPECT_EQ(told->verdict, Verdict::kUntested);
    EXPECT_EQ(told->why, "hangs on root");
  }
}

TEST(DoctorReport, EscapesWhatTheKernelOrAPathSaid) {
  const auto table = small_table();
  Report report{.policy = "x\x1b[2Jy", .host = "Linux", .rows = {}, .assessment = {}};
  report.rows.push_back({&table[0], missing("a\nb\x7f"), Demand::kNone});
  const std::string text = to_table(report, false);
  EXPECT_THAT(text, HasSubstr("a\\x0ab\\x7f"));
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  report.rows[0].finding.why = "\xff";
  EXPECT_THAT(to_json(report), HasSubstr("\xef\xbf\xbd"));  // No invalid UTF-8 gets out.
}

TEST(DoctorReport, ColoursByVerdict) {
  const auto table = small_table();
  Report report{.policy = "p", .host = "Linux", .rows = {}, .assessment = {}};
  report.rows.push_back({&table[0], missing(""), Demand::kRequired});
  EXPECT_THAT(to_table(report, true), HasSubstr("\x1b[31mmissing"));
  report.rows[0].demand = Demand::kPreferred;
  EXPECT_THAT(to_table(report, true), HasSubstr("\x1b[33mmissing"));
}

constexpr std::string_view kMounts =
    "22 27 0:21 / /proc rw,relatime - proc proc rw,hidepid=invisible,gid=4\n"
    "35 31 0:32 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "36 31 0:33 / /sys/fs/cgroup/blkio rw shared:9 - cgroup cgroup rw,blkio\n";
TEST(DoctorKernelText, IsReadTotally) {
  EXPECT_EQ(option_of_proc_mount(kMounts, "hidepid"), "invisible");
  EXPECT_EQ(option_of_proc_mount(kMounts, "gid"), "4");
  EXPECT_EQ(option_of_proc_mount(kMounts, "hide"), "");
  EXPECT_EQ(option_of_proc_mount("", "hidepid"), "");
  EXPECT_EQ(option_of_proc_mount("1 2 3 / /proc - proc", "hidepid"), "");
  EXPECT_EQ(option_of_proc_mount(" - proc \n - proc proc\n", "hidepid"), "");
  EXPECT_TRUE(has_word("cpuset cpu io\n", "io"));
  EXPECT_FALSE(has_word("cpuset io_uring\n", "io"));
  EXPECT_EQ(trimmed(" a b\n \n"), " a b");
  EXPECT_EQ(trimmed("\n"), "");
}

}  // namespace
}  // namespace fnrun::doctor
