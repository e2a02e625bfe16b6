// The report as JSON: every key in its place, absent things null, hostile texts harmless.
#include "supervisor/report.h"

#include <gmock/gmock.h>
#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace fnrun::supervisor {
namespace {

using Json = nlohmann::ordered_json;
using Layers = std::vector<std::string>;
using Degraded = std::map<std::string, std::string>;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Json parsed(const InvocationReport& report) {
  return Json::parse(to_json(report));
}
std::vector<std::string> keys_of(const Json& object) {
  std::vector<std::string> keys;
  for (const auto& item : object.items()) keys.push_back(item.key());
  return keys;
}
InvocationReport full_report() {
  InvocationReport report;
  report.sequence = 7;
  report.outcome = Outcome::kOk;
  report.handler = "/opt/greeter";
  report.policy = "strict";
  report.sandbox = {4242, 200'003U, 12, 2'233};
  report.request_id = "r-1";
  report.timings = {0, 64, 9};
  report.bytes = {5, 12};
  report.status = -3;
  report.env = {{"A", "1"}, {"B", ""}};
  report.usage = {.source = "cgroup",
                  .reason = "",
                  .user_us = 1'500,
                  .system_us = 250,
                  .throttled_us = 7,
                  .memory_peak_bytes = 65'536,
                  .peak_of = "call",
                  .memory_max_hits = 4,
                  .oom_kills = 0,
                  .processes_peak = 3,
                  .processes_max_hits = 2,
                  .io_read_bytes = 11,
                  .io_written_bytes = 12,
                  .max_rss_kib = 3'072,
                  .context_switches = 9};
  report.layers = std::make_shared<const Layers>(Layers{"user_namespace", "seccomp"});
  report.degraded = std::make_shared<const Degraded>(Degraded{{"landlock", "not in this kernel"}});
  report.stderr_lines = {3, 1};
  return report;
}

TEST(Report, KeysAreThereInTheDocumentedOrderWhateverIsKnown) {
  for (const InvocationReport& report : {InvocationReport{}, full_report()})
    EXPECT_THAT(keys_of(parsed(report)),
                ElementsAre("sequence", "request_id", "outcome", "outcome_number", "exit_code",
                            "http_status", "lambda_error_type", "description", "evidence",
                            "handler", "policy", "sandbox", "start_us", "invoke_us", "wait_us",
                            "request_bytes", "response_bytes", "status", "env", "env_left_out",
                            "warned", "leftovers", "usage", "layers", "degraded", "stderr"));
}

TEST(Report, SaysWhatItWasGiven) {
  const Json json = parsed(full_report());
  EXPECT_EQ(json["sequence"], 7);
  EXPECT_EQ(json["request_id"], "r-1");
  EXPECT_EQ(json["wait_us"], 9);
  EXPECT_EQ(json["outcome"], "ok");
  EXPECT_EQ(json["outcome_number"], 0);
  EXPECT_EQ(json["exit_code"], 0);
  EXPECT_EQ(json["http_status"], 200);
  EXPECT_EQ(json["lambda_error_type"], "");
  EXPECT_EQ(json["handler"], "/opt/greeter");
  EXPECT_EQ(json["policy"], "strict");
  EXPECT_EQ(json["sandbox"].dump(),
            R"({"pid":4242,"slot_uid":200003,"calls_served":12,"start_us":2233})");
  EXPECT_EQ(json["start_us"], 0);
  EXPECT_EQ(json["invoke_us"], 64);
  EXPECT_EQ(json["request_bytes"], 5);
  EXPECT_EQ(json["response_bytes"], 12);
  EXPECT_EQ(json["status"], -3);
  EXPECT_EQ(json["env"].dump(), R"([{"name":"A","value":"1"},{"name":"B","value":""}])");
  EXPECT_EQ(json["env_left_out"], 0);
  EXPECT_EQ(json["usage"].dump(),
            R"({"source":"cgroup","reason":"","user_us":1500,"system_us":250,"throttled_us":7,)"
            R"("memory_peak_bytes":65536,"peak_of":"call","memory_max_hits":4,"oom_kills":0,)"
            R"("processes_peak":3,"processes_max_hits":2,"io_read_bytes":11,)"
            R"("io_written_bytes":12,"max_rss_kib":3072,"context_switches":9})");
  EXPECT_EQ(json["layers"].dump(), R"(["user_namespace","seccomp"])");
  EXPECT_EQ(json["degraded"].dump(), R"({"landlock":"not in this kernel"})");
  EXPECT_EQ(json["stderr"].dump(), R"({"lines_emitted":3,"lines_dropped":1})");
}

TEST(Report, WhatIsNotKnownIsNullOrHasAReasonAndIsNeverANumber) {
  InvocationReport report;
  report.usage.reason = "no cgroup";
  const Json json = parsed(report);
  EXPECT_TRUE(json["sandbox"].is_null());
  EXPECT_TRUE(json["status"].is_null());
  EXPECT_EQ(
      json["evidence"].dump(),
      R"({"wait_status":null,"killed_for":null,"setup":null,"limits":{"oom_kills":0,"memory_max_hits":0,)"
      R"("refused_forks":0,"processes_at_max":false,"memory_max_bytes":0,)"
      R"("processes_max":0,"cpu_time_max_ms":0},"forbidden_call":null,"detail":""})");
  for (const auto& [key, value] : json["usage"].items()) {
    if (key == "reason")
      EXPECT_EQ(value, "no cgroup");
    else if (key == "source" || key == "peak_of")
      EXPECT_EQ(value, "");
    else
      EXPECT_TRUE(value.is_null()) << key;
  }
  EXPECT_EQ(json["env"].dump(), "[]");
  EXPECT_EQ(json["layers"].dump(), "[]");
  EXPECT_EQ(json["degraded"].dump(), "{}");

  report.sandbox.pid = 1;
  report.usage = {};
  report.usage.source = "wait4";
  report.usage.user_us = 1;
  EXPECT_EQ(parsed(report)["sandbox"]["slot_uid"], nullptr);
  EXPECT_EQ(parsed(report)["usage"]["user_us"], 1);
  EXPECT_EQ(parsed(report)["usage"]["system_us"], 0);
  EXPECT_EQ(parsed(report)["usage"]["max_rss_kib"], nullptr);
}

TEST(Report, EachOutcomeStandsWithItsNumbersFromTheTable) {
  for (const OutcomeInfo& info : kOutcomes) {
    InvocationReport report;
    report.outcome = info.outcome;
    const Json json = parsed(report);
    EXPECT_EQ(json["outcome"], info.name);
    EXPECT_EQ(json["outcome_number"], static_cast<unsigned>(info.outcome));
    EXPECT_EQ(json["exit_code"], info.exit_code);
    EXPECT_EQ(json["http_status"], info.http_status);
    EXPECT_EQ(json["lambda_error_type"], info.lambda_error_type);
    EXPECT_EQ(json["description"], describe(info.outcome, {}));
  }
}

TEST(Report, WaitStatusIsDecoded) {
  const std::pair<int, const char*> rows[] = {
      {W_EXITCODE(0, 0), R"({"exited":0})"},
      {W_EXITCODE(3, 0), R"({"exited":3})"},
      {W_EXITCODE(0, SIGSYS), R"({"signal":31,"name":"SIGSYS","core_dumped":false})"},
      {W_EXITCODE(0, SIGSEGV) | 0x80, R"({"signal":11,"name":"SIGSEGV","core_dumped":true})"},
      {W_EXITCODE(0, 40), R"({"signal":40,"name":"signal 40","core_dumped":false})"},
  };
  for (const auto& [status, text] : rows) {
    InvocationReport report;
    report.evidence.wait_status = status;
    EXPECT_EQ(parsed(report)["evidence"]["wait_status"].dump(), text);
  }
}

TEST(Report, ForbiddenCallIsToldWithWhatIsKnownAndByWhat) {
  InvocationReport report;
  report.evidence.wait_status = W_EXITCODE(0, SIGSYS);
  EXPECT_EQ(parsed(report)["evidence"]["forbidden_call"].dump(),
            R"({"name":null,"number":null,"arch":null,"args":null,"instruction_pointer":null,)"
            R"("by":"handler","rule":null,"count":null,"source":"kernel_log"})");
  isolation::ForbiddenCall call;
  call.number = 165;
  call.arch = 0xc000003e;  // x86_64
  call.args = {0x7ffc0010, ~0ULL, 0, 2, 0, 10};
  call.instruction_pointer = 0x401000;
  call.count = 1;
  report.evidence.wait_status = W_EXITCODE(0, SIGKILL);
  report.evidence.forbidden = call;
  report.evidence.forbidden_rule = "tripwire-mounts";
  EXPECT_EQ(parsed(report)["evidence"]["forbidden_call"].dump(),
            R"({"name":"mount","number":165,"arch":"x86_64",)"
            R"("args":["0x7ffc0010","0xffffffffffffffff","0x0","0x2","0x0","0xa"],)"
            R"("instruction_pointer":"0x401000","by":"handler","rule":"tripwire-mounts",)"
            R"("count":1,"source":"user_notification"})");
  report.evidence.forbidden->by = isolation::ForbiddenCall::By::kChild;
  report.evidence.forbidden->number = -1;
  report.evidence.forbidden->arch = 0x40000003;
  report.evidence.forbidden_rule.clear();
  const Json json = parsed(report)["evidence"]["forbidden_call"];
  EXPECT_EQ(json["by"], "child");
  EXPECT_EQ(json["name"], "syscall -1");
  EXPECT_EQ(json["arch"], "0x40000003");
  EXPECT_EQ(json["rule"], "");
}

TEST(Report, ExitCodeAndTypeFollowTheEvidence) {
  InvocationReport report;
  report.outcome = Outcome::kCrashed;
  report.evidence.wait_status = W_EXITCODE(0, SIGSEGV);
  EXPECT_EQ(parsed(report)["exit_code"], 139);

  report.outcome = Outcome::kSetupFailed;
  report.evidence = {};
  report.evidence.setup = isolation::SetupError{isolation::SetupStep::kExec, 2, ENOENT, "/x"};
  report.evidence.killed_for = isolation::KillReason::kShutdown;
  const Json json = parsed(report);
  EXPECT_EQ(json["exit_code"], 127);
  EXPECT_EQ(json["lambda_error_type"], "Runtime.InvalidEntrypoint");
  EXPECT_EQ(json["evidence"]["killed_for"], "shutdown");
  EXPECT_EQ(json["evidence"]["setup"].dump(),
            R"({"step":"exec-handler","index":2,"errno":2,"errno_name":"ENOENT","subject":"/x"})");
}

TEST(Report, HostileTextsStayOneAsciiLineOfValidJson) {
  const std::string hostile =
      std::string("a\n\"}\x1b[2J\x7f\xff\xc3") + '\0' + "\u009b\u2028\u202e";
  InvocationReport report = full_report();
  report.outcome = Outcome::kSetupFailed;
  report.handler = report.policy = report.evidence.detail = report.usage.source = hostile;
  report.evidence.setup = isolation::SetupError{isolation::SetupStep::kExec, 0, ENOENT, hostile};
  report.env = {{hostile, hostile}};
  report.layers = std::make_shared<const Layers>(Layers{hostile});
  report.degraded = std::make_shared<const Degraded>(Degraded{{hostile, hostile}});
  const std::string text = to_json(report);
  for (const char c : text) ASSERT_TRUE(c >= 0x20 && c < 0x7f) << static_cast<int>(c);
  EXPECT_EQ(keys_of(Json::parse(text)), keys_of(parsed(full_report())));
  EXPECT_THAT(Json::parse(text)["handler"].get<std::string>(), HasSubstr("\ufffd"));
}

TEST(Report, HandlersWordsAreBounded) {
  InvocationReport report;
  report.env.assign(100'000, {"N", "V"});
  report.env[0] = {std::string(1 << 20, 'n'), std::string(kReportTextMax, 'v')};
  // U+20AC takes 3 bytes, and 1024 is no multiple of 3.
  report.env[1].value.clear();
  while (report.env[1].value.size() < 2 * kReportTextMax) report.env[1].value += "\u20ac";
  report.env[2].value = std::string(kReportTextMax + 1, '\x80');
  const Json json = parsed(report);
  EXPECT_EQ(json["env"].size(), kReportEnvMax);
  EXPECT_EQ(json["env_left_out"], 100'000 - kReportEnvMax);
  EXPECT_EQ(json["env"][0]["name"], std::string(kReportTextMax, 'n') + "\u2026");
  EXPECT_EQ(json["env"][0]["value"], std::string(kReportTextMax, 'v'));
  const auto cut = json["env"][1]["value"].get<std::string>();
  EXPECT_EQ(cut.size(), 1'023U + 3U);
  EXPECT_EQ(cut.find("\ufffd"), std::string::npos);
  EXPECT_THAT(json["env"][2]["value"].get<std::string>(), HasSubstr("\u2026"));
}

TEST(Report, LargestNumbersAreExact) {
  InvocationReport report;
  report.sequence = UINT64_MAX;
  report.bytes.request = UINT64_MAX;
  report.status = INT32_MIN;
  EXPECT_THAT(to_json(report), HasSubstr("\"sequence\":18446744073709551615,"));
  EXPECT_THAT(to_json(report), HasSubstr("\"request_bytes\":18446744073709551615,"));
  EXPECT_THAT(to_json(report), HasSubstr("\"status\":-2147483648,"));
}

TEST(Report, SameReportIsTheSameText) {
  EXPECT_EQ(to_json(full_report()), to_json(full_report()));
}

}  // namespace
}  // namespace fnrun::supervisor
