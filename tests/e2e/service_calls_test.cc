// Calls over HTTP as any client makes them: what goes in, what comes out, who is refused.
#include <gmock/gmock.h>

#include "tests/e2e/fixture.h"
#include "tests/e2e/service_run.h"

namespace fnrun::test {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;

class ServiceCalls : public CommandTest {};

const std::vector<std::string> kExec{"--protocol", "exec", "--timeout", "30s"};

std::vector<std::string> with(std::vector<std::string> more) {
  more.insert(more.begin(), kExec.begin(), kExec.end());
  return more;
}

TEST_F(ServiceCalls, AnAnswerComesWithHowItWas) {
  const ServiceRun service({}, {handler("greeter")});
  const HttpAnswer answer = service.invoke("world", "X-Request-Id: mine-1\r\n");
  EXPECT_EQ(answer.status, 200U);
  EXPECT_EQ(answer.body, "Hello, world!");
  EXPECT_EQ(answer.field("fnrun-outcome"), "ok");
  EXPECT_EQ(answer.field("fnrun-status"), "0");
  EXPECT_EQ(answer.field("x-request-id"), "mine-1");
  // What a handler says is no page of ours.
  EXPECT_EQ(answer.field("content-type"), "application/octet-stream");
  EXPECT_EQ(answer.field("x-content-type-options"), "nosniff");
}

TEST_F(ServiceCalls, AHandlersOwnStatusIsNoErrorOfOurs) {
  const ServiceRun service(kExec, obedient());
  const HttpAnswer answer = service.invoke("fail");
  EXPECT_EQ(answer.status, 200U);
  EXPECT_EQ(answer.field("fnrun-status"), "3");
}

TEST_F(ServiceCalls, AFailureIsAProblemWithItsEvidence) {
  const ServiceRun service(kExec, obedient());
  const HttpAnswer answer = service.invoke("hang", "Fnrun-Timeout: 50ms\r\nX-Request-Id: r\r\n");
  EXPECT_EQ(answer.status, 504U);
  EXPECT_EQ(answer.field("content-type"), "application/problem+json");
  EXPECT_EQ(answer.field("fnrun-outcome"), "timed_out");
  const json problem = json::parse(answer.body);
  EXPECT_EQ(problem["type"], "urn:fnrun:outcome:timed_out");
  EXPECT_EQ(problem["status"], 504);
  EXPECT_EQ(problem["outcome"], "timed_out");
  EXPECT_EQ(problem["request_id"], "r");
  EXPECT_EQ(problem["evidence"]["killed_for"], "deadline");
  EXPECT_THAT(problem["detail"], HasSubstr("deadline"));
  EXPECT_EQ(service.invoke("still").body, "still");
}

TEST_F(ServiceCalls, VariablesGoInByHeader) {
  const ServiceRun service(kExec, obedient());
  const HttpAnswer answer =
      service.invoke("env",
                     "Fnrun-Env-COLOUR: light blue\r\nX-Request-Id: r-7\r\n"
                     "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
                     "tracestate: a=1\r\n");
  EXPECT_THAT(answer.body,
              AllOf(HasSubstr("COLOUR=light blue\n"), HasSubstr("FNRUN_REQUEST_ID=r-7\n"),
                    HasSubstr("TRACEPARENT=00-0af7651916cd43dd8448eb211c80319c-"),
                    HasSubstr("TRACESTATE=a=1\n")));
  // A trace id that is none stays outside.
  EXPECT_THAT(service.invoke("env", "traceparent: $(reboot)\r\n").body,
              Not(HasSubstr("TRACEPARENT")));
}

TEST_F(ServiceCalls, AHeaderThatCannotBeMeantIsABadRequest) {
  const ServiceRun service(kExec, obedient());
  const std::pair<const char*, const char*> rows[] = {
      {"Fnrun-Timeout: soon\r\n", "Fnrun-Timeout is no time"},
      {"Fnrun-Timeout: 0\r\n", "Fnrun-Timeout is no time"},
      {"Fnrun-Env-PATH: /tmp\r\n", "not the caller's to set"},
      {"Fnrun-Env-LD_PRELOAD: /tmp/x\r\n", "not the caller's to set"},
      {"Fnrun-Env-FNRUN_REQUEST_ID: forged\r\n", "not the caller's to set"},
      {"Fnrun-Env-1A: x\r\n", "Fnrun-Env-1A"},
      {"Fnrun-Env-A: \xff\r\n", "printable"},
  };
  for (const auto& [fields, why] : rows) {
    const HttpAnswer answer = service.invoke("x", fields);
    EXPECT_EQ(answer.status, 400U) << fields;
    EXPECT_THAT(answer.body, HasSubstr(why));
  }
}

TEST_F(ServiceCalls, TooLargeIsRefusedBeforeItIsRead) {
  const ServiceRun service(kExec, obedient());
  HttpClient client(service.port());
  client.send("POST /invoke HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n");
  const auto answer = client.answer();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 413U);
  EXPECT_EQ(json::parse(answer->body)["outcome"], "request_too_large");
}

TEST_F(ServiceCalls, FullIsToldAtOnce) {
  ServiceRun service(with({"--concurrency", "1", "--queue", "0"}), obedient());
  EXPECT_EQ(service.call("GET", "/_/ready").status, 200U);
  HttpClient holds(service.port());
  holds.request("POST", "/invoke", "hang");
  ASSERT_TRUE(service.command().wait_for_stderr("hanging"));
  const HttpAnswer refused = service.invoke("x");
  EXPECT_EQ(refused.status, 429U);
  EXPECT_EQ(refused.field("retry-after"), "1");
  EXPECT_EQ(json::parse(refused.body)["outcome"], "unavailable");
  EXPECT_EQ(service.call("GET", "/_/ready").status, 429U) << "as OpenFaaS has it";
  EXPECT_EQ(service.call("GET", "/readyz").status, 200U) << "busy is not broken";
  EXPECT_EQ(service.call("GET", "/healthz").status, 200U);
}

TEST_F(ServiceCalls, WhoHangsUpTakesTheCallBack) {
  ServiceRun service(with({"--concurrency", "1", "--queue", "0", "--report", report_file()}),
                     obedient());
  {
    HttpClient leaves(service.port());
    leaves.request("POST", "/invoke", "hang");
    ASSERT_TRUE(service.command().wait_for_stderr("hanging"));
  }
  ASSERT_TRUE(service.command().wait_for_stderr("cancelled"));
  EXPECT_EQ(service.invoke("next").body, "next");
  (void)service.stop();
  EXPECT_EQ(reports()[0]["outcome"], "cancelled");
  EXPECT_EQ(reports()[0]["evidence"]["killed_for"], "cancelled");
}

TEST_F(ServiceCalls, AWebPageCallsOnlyWhereItMay) {
  const ServiceRun service(with({"--allow-origin", "https://friend.example"}), obedient());
  const std::string own = "http://127.0.0.1:" + std::to_string(service.port());
  HttpClient client(service.port());
  const auto from = [&](const std::string& origin, const std::string& host) {
    client.send("POST /invoke HTTP/1.1\r\nHost: " + host + "\r\nOrigin: " + origin +
                "\r\nContent-Length: 1\r\n\r\nx");
    const auto answer = client.answer();
    return answer ? answer->status : 0U;
  };
  EXPECT_EQ(from("https://friend.example", "127.0.0.1"), 200U);
  EXPECT_EQ(from(own, own.substr(7)), 200U) << "our own page";
  const std::pair<const char*, const char*> strangers[] = {
      {"https://evil.example", "127.0.0.1"},
      {"null", "127.0.0.1"},
      {"http://evil.example:8080", "evil.example:8080"},  // Its DNS names our address now.
  };
  for (const auto& [origin, host] : strangers) {
    HttpClient stranger(service.port());
    stranger.send("POST /invoke HTTP/1.1\r\nHost: " + std::string(host) + "\r\nOrigin: " + origin +
                  "\r\nContent-Length: 1\r\n\r\nx");
    const auto answer = stranger.answer();
    EXPECT_EQ(answer ? answer->status : 0U, 403U) << origin;
  }
}

// Where any method is taken, an image in somebody's page would be a call.
TEST_F(ServiceCalls, APageThatOnlyNamesUsCallsNothing) {
  const ServiceRun service(with({"--rie-compat"}), obedient());
  const char* const path = "/2015-03-31/functions/function/invocations";
  EXPECT_EQ(service.call("GET", path, "", "Sec-Fetch-Site: cross-site\r\n").status, 403U);
  EXPECT_EQ(service.call("GET", path).status, 200U) << "no browser";
  EXPECT_EQ(service.call("GET", "/status", "", "Sec-Fetch-Site: same-origin\r\n").status, 200U);
  HttpClient rebound(service.port());
  rebound.send("GET /status HTTP/1.1\r\nHost: evil.example\r\nSec-Fetch-Site: same-origin\r\n\r\n");
  EXPECT_EQ(rebound.answer()->status, 403U) << "their name, our address";
}

TEST_F(ServiceCalls, ReadyIsNotOnlyWhoIsIdle) {
  const std::string policy = temp.file("never.json", R"({"version": 1, "extends": "strict",
    "description": "a sandbox for each call", "reuse": {"mode": "never"}})");
  const ServiceRun service({"--policy", policy, "--concurrency", "1"}, {handler("greeter")});
  for (int i = 0; i < 20; ++i) {
    HttpClient client(service.port());
    client.request("POST", "/invoke", "x");
    EXPECT_EQ(service.call("GET", "/readyz").status, 200U);
    EXPECT_EQ(client.answer()->status, 200U);
  }
}

TEST_F(ServiceCalls, PathsAndMethodsAreTold) {
  const ServiceRun service(kExec, obedient());
  EXPECT_EQ(service.call("GET", "/nothing").status, 404U);
  const HttpAnswer got = service.call("GET", "/invoke");
  EXPECT_EQ(got.status, 405U);
  EXPECT_EQ(got.field("allow"), "POST");
  EXPECT_EQ(service.call("POST", "/healthz").field("allow"), "GET, HEAD");
  EXPECT_EQ(service.call("POST", "/invoke/other", "x").status, 404U);
  EXPECT_EQ(service.call("POST", "/invoke/function", "x").body, "x");
  EXPECT_EQ(service.call("GET", "/_/health").status, 200U);
}

}  // namespace
}  // namespace fnrun::test
