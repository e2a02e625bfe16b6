// What an init says at its end, taken as bytes from nobody in particular: total, bounded, and only
// what makes sense is believed.
#include "isolation/init_report.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "isolation/child/launch_plan.h"

namespace fnrun::isolation {
namespace {

using By = ForbiddenCall::By;

child::Report forbidden(child::MadeBy made_by, std::int32_t number, std::uint32_t count) {
  child::Report report{};
  report.kind = child::ReportKind::kForbidden;
  report.made_by = made_by;
  report.count = count;
  report.call = {number, 0xc000003e, 0x401000, {1, 2, 3, 4, 5, 6}};
  return report;
}
bool take(const child::Report& report, Exit& exit) {
  return take_report(std::as_bytes(std::span(&report, 1)), exit);
}

TEST(InitReport, ExitIsTakenAsItIs) {
  child::Report report{};
  report.kind = child::ReportKind::kExited;
  report.wait_status = 0x300;
  report.user_us = 7;
  report.system_us = 8;
  report.max_rss_kib = 9;
  report.voluntary_switches = 10;
  report.involuntary_switches = 11;
  Exit exit;
  ASSERT_TRUE(take(report, exit));
  EXPECT_EQ(exit.wait_status, 0x300);
  EXPECT_EQ(exit.user_time.count(), 7);
  EXPECT_EQ(exit.system_time.count(), 8);
  EXPECT_EQ(exit.max_rss_kib, 9);
  EXPECT_EQ(exit.context_switches, 21);
  EXPECT_FALSE(exit.forbidden);
}

TEST(InitReport, TheHandlersCallWinsAndCountsGrow) {
  Exit exit;
  ASSERT_TRUE(take(forbidden(child::MadeBy::kChild, 165, 1), exit));
  EXPECT_EQ(exit.forbidden->by, By::kChild);
  EXPECT_EQ(exit.forbidden->name(), "mount");
  EXPECT_EQ(exit.forbidden->to_string(), "mount(0x1, 0x2, 0x3, 0x4, 0x5, 0x6)");
  EXPECT_EQ(exit.forbidden->instruction_pointer, 0x401000U);
  ASSERT_TRUE(take(forbidden(child::MadeBy::kChild, 165, 4), exit));
  EXPECT_EQ(exit.forbidden->count, 4U);
  ASSERT_TRUE(take(forbidden(child::MadeBy::kHandler, 101, 1), exit));
  EXPECT_EQ(exit.forbidden->by, By::kHandler);
  EXPECT_EQ(exit.forbidden->name(), "ptrace");
  ASSERT_TRUE(take(forbidden(child::MadeBy::kChild, 165, 5), exit));
  EXPECT_EQ(exit.forbidden->name(), "ptrace");
  EXPECT_EQ(exit.forbidden->count, 1U);
  EXPECT_FALSE(exit.wait_status);
}

TEST(InitReport, WhatIsNoReportChangesNothing) {
  Exit exit;
  for (const std::uint32_t kind : {0U, 1U, 2U, 5U, ~0U}) {
    child::Report report = forbidden(child::MadeBy::kHandler, 101, 1);
    report.kind = child::ReportKind(kind);
    EXPECT_FALSE(take(report, exit)) << kind;
  }
  for (const std::uint32_t made_by : {0U, 3U, ~0U})
    EXPECT_FALSE(take(forbidden(child::MadeBy(made_by), 101, 1), exit)) << made_by;
  EXPECT_FALSE(take(forbidden(child::MadeBy::kHandler, 101, 0), exit)) << "none is no first";
  const child::Report good = forbidden(child::MadeBy::kHandler, 101, 1);
  std::vector<std::byte> bytes(sizeof good + 8);
  std::memcpy(bytes.data(), &good, sizeof good);
  for (std::size_t size = 0; size <= bytes.size(); ++size) {
    EXPECT_EQ(take_report(std::span(bytes).first(size), exit), size == sizeof good) << size;
    if (size < sizeof good) {
      EXPECT_FALSE(exit.forbidden) << size;
    }
  }
  EXPECT_TRUE(exit.forbidden);
}

TEST(InitReport, AnyBytesAreTakenOrPassedOver) {
  std::mt19937_64 random(20261121);  // NOLINT(cert-msc51-cpp): the same bytes each time.
  child::Report report{};
  std::size_t taken = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::uint64_t words[sizeof report / sizeof(std::uint64_t)];
    for (std::uint64_t& word : words) word = random();
    std::memcpy(&report, words, sizeof report);
    if (i % 2 == 0) report.kind = child::ReportKind(i % 6);
    if (i % 4 == 0) report.made_by = child::MadeBy(i % 3);
    Exit exit;
    const bool believed = take(report, exit);
    taken += believed ? 1 : 0;
    EXPECT_EQ(believed, exit.wait_status || exit.forbidden);
    if (exit.forbidden) {
      EXPECT_FALSE(exit.forbidden->to_string().empty());
    }
  }
  EXPECT_GT(taken, 1'000U);  // The control: some were reports.
}

TEST(ForbiddenCall, RuleIsTheOneThatKillsForTheseArguments) {
  using policies::ArgCondition;
  using policies::SyscallAction;
  policies::Seccomp profile;
  const SyscallAction allow{SyscallAction::Kind::kAllow, 0};
  profile.rules = {
      {"fine", allow, {"chmod"}, {{.arg = 0, .values = {1}}}, ""},
      {"odd", {}, {"chown"}, {{.arg = 0, .op = ArgCondition::Op::kLess, .values = {1}}}, ""},
      {"all", {}, {"chown"}, {{.arg = 5, .op = ArgCondition::Op::kIn, .values = {1, 6}}}, ""},
      {"maps", allow, {"mmap"}, {}, ""}};
  ForbiddenCall call;
  call.arch = 0xc000003e;
  call.number = 90;
  EXPECT_EQ(forbidding_rule(profile, call), "") << "no rule kills: it was the default action";
  call.number = 92;
  EXPECT_EQ(forbidding_rule(profile, call), "odd");
  call.args = {1, 2, 3, 4, 5, 6};
  EXPECT_EQ(forbidding_rule(profile, call), "all");
  call.args[5] = 7;
  EXPECT_EQ(forbidding_rule(profile, call), "");
  // The floor's own.
  call.number = 165;
  EXPECT_EQ(forbidding_rule(profile, call), "tripwire-mounts");
  call.number = 9;
  call.args[2] = 7;
  EXPECT_EQ(forbidding_rule(profile, call), "write_execute");
  call.args[2] = 3;
  EXPECT_EQ(forbidding_rule(profile, call), "");
}

}  // namespace
}  // namespace fnrun::isolation
