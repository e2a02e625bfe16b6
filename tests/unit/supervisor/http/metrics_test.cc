// The metrics as Prometheus reads them: names as documented, closed labels, counters that only
// grow.
#include "supervisor/http/metrics.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <sstream>
#include <vector>

#include "tests/unit/supervisor/http/made_up.h"

namespace fnrun::supervisor::http {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// The value of the line that begins so; "" if there is none.
std::string value_of(const std::string& text, const std::string& series) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with(series + " ")) return line.substr(series.size() + 1);
  return "";
}

std::set<std::string> names_by(const std::string& text, const std::regex& pattern) {
  std::set<std::string> names;
  for (std::sregex_iterator found(text.begin(), text.end(), pattern), end; found != end; ++found)
    names.insert((*found)[1]);
  return names;
}

// Those of `from` that `in` has not.
std::vector<std::string> missing(const std::set<std::string>& from,
                                 const std::set<std::string>& in) {
  std::vector<std::string> names;
  std::set_difference(from.begin(), from.end(), in.begin(), in.end(), std::back_inserter(names));
  return names;
}

TEST(Metrics, TheTableAndTheExpositionNameTheSame) {
  std::ifstream file(FNRUN_HTTP_README);
  const std::string readme(std::istreambuf_iterator<char>(file), {});
  ASSERT_FALSE(readme.empty());
  Metrics metrics;
  const std::string text = metrics.expose(one_snapshot());
  for (const std::string kind : {"counter", "gauge", "histogram"}) {
    const auto exposed = names_by(text, std::regex("# TYPE (\\w+) " + kind + "\n"));
    const auto documented =
        names_by(readme, std::regex("\n\\| `((?:fnrun|process)_\\w+)[^|]*\\| " + kind + " "));
    EXPECT_GT(exposed.size(), 3U);
    EXPECT_THAT(missing(exposed, documented), IsEmpty()) << "not in the table, as a " << kind;
    EXPECT_THAT(missing(documented, exposed), IsEmpty()) << "not exposed, as a " << kind;
  }
}

TEST(Metrics, EachFamilyStandsOnceWithItsHelp) {
  Metrics metrics;
  Snapshot snapshot = one_snapshot();
  snapshot.functions.push_back(one_function("other"));
  const std::string text = metrics.expose(snapshot);
  std::istringstream lines(text);
  std::set<std::string> helps;
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with("# HELP ")) {
      EXPECT_TRUE(helps.insert(line.substr(0, line.find(' ', 7))).second) << line;
      EXPECT_THAT(line, ContainsRegex("^# HELP [a-z_]+ .{10,}"));
    }
  EXPECT_EQ(value_of(text, R"(fnrun_waiting{function="other"})"), "1");
  EXPECT_EQ(value_of(text, R"(fnrun_waiting{function="greet"})"), "1");
}

TEST(Metrics, CountsACall) {
  Metrics metrics;
  InvocationReport report = answered();
  report.usage.memory_peak_bytes = 3 << 20;
  metrics.count("greet", report);
  const std::string text = metrics.expose(one_snapshot());
  EXPECT_EQ(value_of(text, R"(fnrun_invocations_total{function="greet",outcome="ok"})"), "1");
  EXPECT_EQ(value_of(text, R"(fnrun_invocations_total{function="greet",outcome="crashed"})"), "0");
  EXPECT_EQ(value_of(text, R"(fnrun_request_bytes_total{function="greet"})"), "100");
  EXPECT_EQ(value_of(text, R"(fnrun_response_bytes_total{function="greet"})"), "7");
  // 5 ms in all, waiting included.
  const std::string duration = R"(fnrun_invocation_duration_seconds_bucket{function="greet",le=)";
  EXPECT_EQ(value_of(text, duration + R"("0.0025"})"), "0");
  EXPECT_EQ(value_of(text, duration + R"("0.01"})"), "1");
  EXPECT_EQ(value_of(text, R"(fnrun_queue_wait_seconds_count{function="greet"})"), "1");
  EXPECT_EQ(value_of(text, R"(fnrun_worker_memory_peak_bytes_count{function="greet"})"), "1");
  // A sandbox that had served before: its start was counted then.
  EXPECT_EQ(value_of(text, R"(fnrun_init_duration_seconds_count{function="greet"})"), "0");
  EXPECT_THAT(
      text, HasSubstr(R"(fnrun_invocation_cpu_seconds_total{function="greet",mode="user"} 0.003)"));
}

TEST(Metrics, TheFirstCallOfASandboxTellsItsStart) {
  Metrics metrics;
  InvocationReport report = answered();
  report.sandbox.calls_served = 1;
  metrics.count("greet", report);
  const std::string text = metrics.expose(one_snapshot());
  EXPECT_EQ(value_of(text, R"(fnrun_init_duration_seconds_bucket{function="greet",le="0.01"})"),
            "0");
  EXPECT_EQ(value_of(text, R"(fnrun_init_duration_seconds_bucket{function="greet",le="0.025"})"),
            "1");
}

TEST(Metrics, WhatIsNotKnownIsNotCountedAsZero) {
  Metrics metrics;
  InvocationReport report = answered();
  report.usage = {};
  report.outcome = Outcome::kUnavailable;
  metrics.count("greet", report);
  const std::string text = metrics.expose(one_snapshot());
  EXPECT_EQ(value_of(text, R"(fnrun_worker_memory_peak_bytes_count{function="greet"})"), "0");
  EXPECT_EQ(value_of(text, R"(fnrun_invocation_duration_seconds_count{function="greet"})"), "0");
  EXPECT_EQ(value_of(text, R"(fnrun_queue_wait_seconds_count{function="greet"})"), "1");
}

TEST(Metrics, NamesTheCauseOfAKill) {
  Metrics metrics;
  metrics.count("greet", ended_with(Outcome::kTimedOut, isolation::KillReason::kDeadline));
  metrics.count("greet", answered());
  const std::string text = metrics.expose(one_snapshot());
  EXPECT_EQ(value_of(text, R"(fnrun_kills_total{function="greet",cause="deadline"})"), "1");
  EXPECT_EQ(value_of(text, R"(fnrun_kills_total{function="greet",cause="memory"})"), "0");
  EXPECT_THAT(text, Not(HasSubstr("cause=\"none\"")));
}

TEST(Metrics, ADeniedCallIsANameOfTheKernelsTableOrOther) {
  Metrics metrics;
  metrics.count("greet", violated(SYS_ptrace));
  // A handler may call whatever number it likes: that makes no new series.
  for (const std::int32_t number : {99'998, 99'999, -5}) metrics.count("greet", violated(number));
  InvocationReport foreign = violated(SYS_ptrace);
  foreign.evidence.forbidden->arch = AUDIT_ARCH_I386;
  metrics.count("greet", foreign);
  const std::string text = metrics.expose(one_snapshot());
  const std::string denials = R"(fnrun_seccomp_denials_total{function="greet",syscall=)";
  EXPECT_EQ(value_of(text, denials + R"("ptrace"})"), "1");
  EXPECT_EQ(value_of(text, denials + R"("other"})"), "4");
  EXPECT_THAT(text, Not(HasSubstr("9999")));
}

TEST(Metrics, WhatCallersAndHandlersSayIsNoLabel) {
  Metrics metrics;
  InvocationReport report = ended_with(Outcome::kProtocolError);
  report.request_id = "hostile-id";
  report.evidence.detail = "hostile-detail";
  report.env = {{"HOSTILE", "hostile-value"}};
  metrics.count("greet", report);
  metrics.event("greet", {PoolEvent::Kind::kDegraded, "hostile-text"});
  const std::string text = metrics.expose(one_snapshot());
  EXPECT_THAT(text, Not(HasSubstr("hostile")));
  EXPECT_EQ(value_of(text, R"(fnrun_pool_events_total{function="greet",event="degraded"})"), "1");
}

TEST(Metrics, GaugesAreWhatTheServiceIsNow) {
  Metrics metrics;
  Snapshot snapshot = one_snapshot();
  snapshot.draining = true;
  snapshot.functions.front().pool.degraded = true;
  std::string text = metrics.expose(snapshot);
  EXPECT_EQ(value_of(text, R"(fnrun_workers{function="greet",state="busy"})"), "2");
  EXPECT_EQ(value_of(text, R"(fnrun_workers{function="greet",state="quarantined"})"), "0");
  EXPECT_EQ(value_of(text, R"(fnrun_concurrency_limit{function="greet"})"), "4");
  EXPECT_EQ(value_of(text, R"(fnrun_degraded{function="greet"})"), "1");
  EXPECT_EQ(value_of(text, "fnrun_draining"), "1");
  EXPECT_EQ(value_of(text, "fnrun_http_requests_total"), "9");
  EXPECT_EQ(value_of(text, R"(fnrun_build_info{version="1.2.3"})"), "1");
  snapshot.functions.front().pool.degraded = false;
  EXPECT_EQ(value_of(metrics.expose(snapshot), R"(fnrun_degraded{function="greet"})"), "0");
}

TEST(Metrics, AReloadTakesNothingBack) {
  const std::string started = R"(fnrun_workers_started_total{function="greet"})";
  Metrics metrics;
  Snapshot snapshot = one_snapshot();
  EXPECT_EQ(value_of(metrics.expose(snapshot), started), "5");
  EXPECT_EQ(value_of(metrics.expose(snapshot), started), "5") << "looking is not starting";

  // The next generation counts from 0, while the last calls of the first one make it start two.
  FunctionStatus old = snapshot.functions.front();
  old.pool.started = 7;
  snapshot.functions.front().generation = 2;
  snapshot.functions.front().pool.started = 1;
  EXPECT_EQ(value_of(metrics.expose(snapshot), started), "6");
  metrics.settle(old);
  EXPECT_EQ(value_of(metrics.expose(snapshot), started), "8");
  snapshot.functions.front().pool.started = 3;
  EXPECT_EQ(value_of(metrics.expose(snapshot), started), "10");
}

TEST(Metrics, AFunctionThatIsGoneHasNoSeries) {
  Metrics metrics;
  metrics.count("greet", answered());
  metrics.count("gone", answered());
  EXPECT_THAT(metrics.expose(one_snapshot()), HasSubstr(R"(function="gone")"));
  metrics.forget("gone");
  metrics.forget("never was");
  const std::string text = metrics.expose(one_snapshot());
  EXPECT_THAT(text, Not(HasSubstr(R"(function="gone")")));
  EXPECT_EQ(value_of(text, R"(fnrun_invocations_total{function="greet",outcome="ok"})"), "1");
}

}  // namespace
}  // namespace fnrun::supervisor::http
