// What people are told: rates, times and failures of a past that is bounded, on a clock of the
// test.
#include "supervisor/http/status.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tests/unit/supervisor/http/made_up.h"

namespace fnrun::supervisor::http {
namespace {

using namespace std::chrono_literals;
using Json = nlohmann::ordered_json;
using ::testing::Each;
using ::testing::Le;
using ::testing::SizeIs;

InvocationReport that_took(std::int64_t milliseconds) {
  InvocationReport report = answered();
  report.timings = {.start_us = 0, .invoke_us = milliseconds * 1'000, .wait_us = 0};
  return report;
}

// A clock that stands until it is moved.
class StatisticsTest : public ::testing::Test {
 protected:
  void pass(std::chrono::milliseconds time) {
    now_.steady += time;
    now_.wall += time;
  }
  void count(const InvocationReport& report) { statistics_.count("greet", report, now_); }
  CallSummary summary() { return statistics_.summary("greet", now_); }
  Json json(const Snapshot& snapshot = one_snapshot()) {
    return Json::parse(status_json(snapshot, statistics_, now_));
  }

  Now now_;
  Statistics statistics_{now_};
};

TEST_F(StatisticsTest, NobodyCalledIsAllZero) {
  const CallSummary nothing = summary();
  EXPECT_FALSE(nothing.latency);
  EXPECT_EQ(nothing.per_second, 0);
  EXPECT_THAT(nothing.failures, SizeIs(0));
  EXPECT_TRUE(json()["functions"][0]["latency_ms"].is_null());
}

TEST_F(StatisticsTest, PercentilesAreTimesThatCallsTook) {
  for (int i = 100; i >= 1; --i) count(that_took(i));
  ASSERT_TRUE(summary().latency);
  EXPECT_EQ(summary().latency->p50_us, 50'000);
  EXPECT_EQ(summary().latency->p90_us, 90'000);
  EXPECT_EQ(summary().latency->p99_us, 99'000);
  EXPECT_EQ(summary().latency_of, 100U);
}

TEST_F(StatisticsTest, OneCallIsEveryPercentile) {
  count(that_took(7));
  ASSERT_TRUE(summary().latency);
  EXPECT_EQ(summary().latency->p50_us, 7'000);
  EXPECT_EQ(summary().latency->p99_us, 7'000);
}

TEST_F(StatisticsTest, WhatIsLongAgoDoesNotCount) {
  count(that_took(900));
  pass(kRecentTime);
  EXPECT_TRUE(summary().latency) << "just yet";
  pass(1ms);
  EXPECT_FALSE(summary().latency);
  EXPECT_EQ(summary().outcomes.front(), 1U) << "but the count stays";
}

TEST_F(StatisticsTest, KeepsNoMoreCallsThanItSays) {
  for (std::size_t i = 0; i < kRecentCallsMax; ++i) count(that_took(900));
  for (std::size_t i = 0; i < kRecentCallsMax; ++i) count(that_took(1));
  EXPECT_EQ(summary().latency_of, kRecentCallsMax);
  EXPECT_EQ(summary().latency->p99_us, 1'000);
  EXPECT_EQ(summary().outcomes.front(), 2 * kRecentCallsMax);
}

TEST_F(StatisticsTest, WhoWasRefusedFlattersNoPercentile) {
  count(that_took(100));
  for (int i = 0; i < 99; ++i) {
    InvocationReport refused = that_took(0);
    refused.outcome = Outcome::kUnavailable;
    count(refused);
  }
  EXPECT_EQ(summary().latency_of, 1U);
  EXPECT_EQ(summary().latency->p50_us, 100'000);
}

TEST_F(StatisticsTest, SecondsAreCountedWhenTheyAreOver) {
  count(answered());
  count(ended_with(Outcome::kCrashed));
  EXPECT_THAT(summary().ended, Each(0U)) << "this second runs";
  pass(1s);
  EXPECT_EQ(summary().ended.back(), 2U);
  EXPECT_EQ(summary().failed.back(), 1U);
  EXPECT_EQ(summary().per_second, 2);
  pass(4s);
  EXPECT_EQ(summary().ended.at(summary().ended.size() - 5), 2U);
  EXPECT_EQ(summary().per_second, .4);
  pass(55s);
  EXPECT_EQ(summary().ended.front(), 2U);
  EXPECT_EQ(summary().per_second, 0);
  pass(1s);
  EXPECT_THAT(summary().ended, Each(0U));
}

TEST_F(StatisticsTest, ASecondThatComesRoundAgainBeginsAnew) {
  for (int i = 0; i < 3; ++i) {
    count(answered());
    pass(61s);
  }
  pass(-60s);
  EXPECT_EQ(summary().ended.back(), 1U);
}

TEST_F(StatisticsTest, EqualFailuresAreOneAndTheLatestStandsFirst) {
  count(ended_with(Outcome::kCrashed));
  for (int i = 0; i < 100; ++i) count(ended_with(Outcome::kUnavailable));
  const CallSummary both = summary();
  ASSERT_THAT(both.failures, SizeIs(2));
  EXPECT_EQ(both.failures.front().outcome, Outcome::kUnavailable);
  EXPECT_EQ(both.failures.front().times, 100U);
  EXPECT_EQ(both.failures.back().outcome, Outcome::kCrashed);
  EXPECT_EQ(both.failures.back().request_id, "r-1");
}

TEST_F(StatisticsTest, AnswersAndWhatClientsTookBackAreNoFailures) {
  count(answered());
  count(ended_with(Outcome::kCancelled));
  EXPECT_THAT(summary().failures, SizeIs(0));
}

TEST_F(StatisticsTest, FailuresAreBoundedInNumberAndLength) {
  for (int i = 0; i < 100; ++i) {
    InvocationReport report = ended_with(Outcome::kProtocolError);
    report.evidence.detail = std::to_string(i) + std::string(10'000, 'x');
    report.request_id = std::string(10'000, 'y');
    count(report);
  }
  const CallSummary many = summary();
  ASSERT_THAT(many.failures, SizeIs(kFailuresMax));
  for (const Failure& failure : many.failures) {
    EXPECT_THAT(failure.description, SizeIs(Le(kFailureTextMax + 3)));
    EXPECT_THAT(failure.request_id, SizeIs(Le(kFailureTextMax + 3)));
  }
}

TEST_F(StatisticsTest, TheDocumentHasWhatTheReadmeSays) {
  count(answered());
  count(ended_with(Outcome::kTimedOut, isolation::KillReason::kDeadline));
  pass(2500ms);
  const Json status = json();
  EXPECT_EQ(status["version"], "1.2.3");
  EXPECT_EQ(status["state"], "ok");
  EXPECT_EQ(status["uptime_s"], 2);
  EXPECT_EQ(status["http"]["requests"], 9);
  const Json& function = status["functions"].at(0);
  EXPECT_EQ(function["name"], "greet");
  EXPECT_EQ(function["protocol"], "fnrun");
  EXPECT_EQ(function["slots"]["busy"], 2);
  EXPECT_EQ(function["invocations"], Json({{"ok", 1}, {"timed_out", 1}}));
  EXPECT_EQ(function["kills"], Json({{"deadline", 1}}));
  EXPECT_EQ(function["latency_ms"]["p50"], 5.0);
  EXPECT_EQ(function["per_second"], 1.0);
  EXPECT_EQ(function["ended_by_second"].size(), 60U);
  EXPECT_EQ(function["recent_failures"].at(0)["outcome"], "timed_out");
}

TEST_F(StatisticsTest, SaysWhyAFunctionIsDegraded) {
  statistics_.event("greet", {PoolEvent::Kind::kDegraded, "no such interpreter"});
  Snapshot snapshot = one_snapshot();
  EXPECT_EQ(json(snapshot)["functions"][0]["degraded_because"], "") << "it is not";
  snapshot.functions.front().pool.degraded = true;
  EXPECT_EQ(json(snapshot)["functions"][0]["degraded_because"], "no such interpreter");
  EXPECT_EQ(json(snapshot)["state"], "degraded");
  statistics_.event("greet", {PoolEvent::Kind::kRecovered, ""});
  EXPECT_EQ(json(snapshot)["functions"][0]["degraded_because"], "");
  snapshot.draining = true;
  EXPECT_EQ(json(snapshot)["state"], "draining");
}

TEST_F(StatisticsTest, WhateverAHandlerSaysTheDocumentIsAscii) {
  InvocationReport report = ended_with(Outcome::kProtocolError);
  report.evidence.detail = "\x1b[2J\"</script>\xff\xfe \u00e4";
  report.request_id = "\n\"\x80";
  count(report);
  Snapshot snapshot = one_snapshot();
  snapshot.functions.front().degraded_layers = {{"landlock", "\xc3"}};
  const std::string text = status_json(snapshot, statistics_, now_);
  EXPECT_TRUE(std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; }));
  EXPECT_TRUE(Json::accept(text));
}

TEST_F(StatisticsTest, ForgetsAFunctionThatIsGone) {
  count(ended_with(Outcome::kCrashed));
  statistics_.forget("greet");
  statistics_.forget("never was");
  EXPECT_THAT(summary().failures, SizeIs(0));
}

}  // namespace
}  // namespace fnrun::supervisor::http
