// The service from its start to its end: signals, reloads, sockets, what it says.
#include <gmock/gmock.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "tests/e2e/fixture.h"
#include "tests/e2e/service_run.h"

namespace fnrun::test {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class ServiceLife : public CommandTest {
 protected:
  // A config file of functions that answer their own name.
  std::string config(const std::vector<std::string>& names, const json& also = json::object()) {
    json document{{"version", 1}, {"functions", json::object()}};
    for (const std::string& name : names)
      document["functions"][name] = {{"protocol", "exec"},
                                     {"handler", {"/bin/sh", "-c", "printf " + name}}};
    document.update(also);
    const std::string path = (temp.path() / "functions.json").string();
    std::ofstream(path) << document.dump(2);
    return path;
  }
};

TEST_F(ServiceLife, ADrainAnswersWhatWasTakenAndThenEnds) {
  const std::string gate = temp.folder("gate");
  ServiceRun service(
      {"--protocol", "exec", "--timeout", "60s", "--bind", gate + ":/gate"},
      {"/bin/sh", "-c",
       "echo taken >&2; until [ -e /gate/open ]; do sleep 0.01; done; printf through"});
  HttpClient client(service.port());
  client.request("POST", "/invoke", "x");
  ASSERT_TRUE(service.command().wait_for_stderr("taken"));
  service.command().signal(SIGTERM);
  ASSERT_TRUE(service.command().wait_for_stderr("draining"));
  (void)temp.file("gate/open", "");
  const auto answer = client.answer();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 200U);
  EXPECT_EQ(answer->body, "through");
  const Finished finished = service.command().finish();
  EXPECT_EQ(finished.code, 0) << finished.err;
  EXPECT_THAT(finished.err, HasSubstr("drained"));
}

TEST_F(ServiceLife, WhileItDrainsItRefusesAndSaysSo) {
  ServiceRun service({"--protocol", "exec", "--timeout", "300s"}, obedient());
  HttpClient holds(service.port());
  holds.request("POST", "/invoke", "hang");
  ASSERT_TRUE(service.command().wait_for_stderr("hanging"));
  service.command().signal(SIGTERM);
  ASSERT_TRUE(service.command().wait_for_stderr("draining"));
  EXPECT_EQ(service.invoke("x").status, 503U);
  const HttpAnswer ready = service.call("GET", "/readyz");
  EXPECT_EQ(ready.status, 503U);
  EXPECT_THAT(ready.body, HasSubstr("draining"));
  EXPECT_EQ(service.call("GET", "/healthz").status, 200U);
  EXPECT_THAT(service.call("GET", "/metrics").body, HasSubstr("\nfnrun_draining 1\n"));
  // The second one does not wait.
  const Finished finished = service.stop();
  EXPECT_EQ(finished.code, 128 + SIGTERM);
}

TEST_F(ServiceLife, ADrainIsOverAtItsTimeout) {
  ServiceRun service({"--protocol", "exec", "--timeout", "300s", "--drain-timeout", "100ms"},
                     obedient());
  HttpClient holds(service.port());
  holds.request("POST", "/invoke", "hang");
  ASSERT_TRUE(service.command().wait_for_stderr("hanging"));
  EXPECT_EQ(service.stop().code, 0);
}

TEST_F(ServiceLife, AReloadServesWhatTheFileSaysNow) {
  ServiceRun service({"--config", config({"one", "two"})}, {});
  EXPECT_EQ(service.call("POST", "/invoke/one").body, "one");
  EXPECT_EQ(service.call("POST", "/invoke/two").body, "two");
  EXPECT_EQ(service.call("POST", "/invoke").status, 404U) << "which of them?";
  (void)config({"two", "three"});
  service.command().signal(SIGHUP);
  ASSERT_TRUE(service.command().wait_for_stderr("reloaded: generation 2"));
  EXPECT_EQ(service.call("POST", "/invoke/one").status, 404U);
  EXPECT_EQ(service.call("POST", "/invoke/two").body, "two");
  EXPECT_EQ(service.call("POST", "/invoke/three").body, "three");
  EXPECT_EQ(service.stop().code, 0);
}

TEST_F(ServiceLife, AReloadThatCannotBeIsNamedAndChangesNothing) {
  ServiceRun service({"--config", config({"one"})}, {});
  const std::pair<json, const char*> rows[] = {
      {{{"functions", {{"one", {{"handler", {"/nowhere/at/all"}}}}}}}, "/nowhere/at/all"},
      {{{"functions", {{"one", {{"handler", {"/bin/true"}}, {"polcy", "x"}}}}}}, "polcy"},
      {{{"limits", {{"connections_max", 7}}}}, "takes a restart"},
  };
  for (const auto& [change, why] : rows) {
    (void)config({"one"}, change);
    service.command().signal(SIGHUP);
    ASSERT_TRUE(service.command().wait_for_stderr(why));
    EXPECT_THAT(service.command().stderr_so_far(), HasSubstr("reload refused"));
    EXPECT_EQ(service.call("POST", "/invoke/one").body, "one") << why;
  }
  EXPECT_EQ(json::parse(service.call("GET", "/status").body)["functions"][0]["generation"], 1);
}

TEST_F(ServiceLife, ACallInFlightSurvivesAReload) {
  const json slow{{"functions",
                   {{"one",
                     {{"protocol", "exec"},
                      {"timeout_ms", 300'000},
                      {"handler", {"/bin/sh", "-c", "echo hanging >&2; exec sleep 100000"}}}}}}};
  ServiceRun service({"--config", config({"one"}, slow), "--report", report_file()}, {});
  HttpClient holds(service.port());
  holds.request("POST", "/invoke/one", "x");
  ASSERT_TRUE(service.command().wait_for_stderr("hanging"));
  (void)config({"one"});
  service.command().signal(SIGHUP);
  ASSERT_TRUE(service.command().wait_for_stderr("reloaded"));
  EXPECT_EQ(service.call("POST", "/invoke/one").body, "one");
  holds.close();
  ASSERT_TRUE(service.command().wait_for_stderr("cancelled"));
  EXPECT_EQ(service.stop().code, 0);
  ASSERT_EQ(reports().size(), 2U);
  EXPECT_EQ(reports()[0]["outcome"], "ok") << "of the new one; the old call went on";
  EXPECT_EQ(reports()[1]["outcome"], "cancelled");
}

TEST_F(ServiceLife, ARequestOnItsWayIsServedByWhomItCameTo) {
  ServiceRun service({"--config", config({"one"})}, {});
  HttpClient client(service.port());
  client.send("POST /invoke/one HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nh");
  // It has been taken when a later request of somebody else is answered.
  EXPECT_EQ(service.call("GET", "/healthz").status, 200U);
  service.command().signal(SIGHUP);
  ASSERT_TRUE(service.command().wait_for_stderr("generation 2"));
  client.send("i");
  const auto answer = client.answer();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->body, "one");
}

// Events of a generation that a reload has replaced belong to the drain like all others.
TEST_F(ServiceLife, ADrainIsOverAtItsTimeoutWhateverIsLeft) {
  const json slow{{"drain_timeout_ms", 200},
                  {"functions",
                   {{"one",
                     {{"protocol", "exec"},
                      {"timeout_ms", 300'000},
                      {"concurrency", 1},
                      {"handler", {"/bin/sh", "-c", "echo hanging >&2; exec sleep 100000"}}}}}}};
  ServiceRun service({"--config", config({"one"}, slow)}, {});
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(service
                  .call("POST", "/2015-03-31/functions/one/invocations", "{}",
                        "X-Amz-Invocation-Type: Event\r\n")
                  .status,
              202U);
  ASSERT_TRUE(service.command().wait_for_stderr("hanging"));
  service.command().signal(SIGHUP);
  ASSERT_TRUE(service.command().wait_for_stderr("generation 2"));
  const Finished finished = service.stop();
  EXPECT_EQ(finished.code, 0);
  EXPECT_THAT(finished.err, HasSubstr("2 accepted events were dropped"));
}

TEST_F(ServiceLife, ASocketThatIsSomebodyElsesByNowStays) {
  const std::string path = (temp.path() / "socket").string();
  ServiceRun service({"--protocol", "exec", "--listen", "unix:" + path}, obedient());
  ASSERT_TRUE(service.command().wait_for_stderr("listening on unix:" + path));
  std::filesystem::remove(path);
  (void)temp.file("socket", "a successor's");
  EXPECT_EQ(service.stop().code, 0);
  EXPECT_TRUE(std::filesystem::exists(path));
}

TEST_F(ServiceLife, AUnixSocketIsMadeReplacedWhenDeadAndRemoved) {
  const std::string path = (temp.path() / "socket").string();
  {
    // Somebody who died without tidying up.
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    std::copy(path.begin(), path.end(), std::begin(name.sun_path));
    const isolation::UniqueFd dead(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::bind(dead.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name), 0);
  }
  ServiceRun service({"--protocol", "exec", "--listen", "unix:" + path}, obedient());
  ASSERT_TRUE(service.command().wait_for_stderr("listening on unix:" + path));
  {
    HttpClient client(path);
    EXPECT_EQ(client.call("POST", "/invoke", "x")->body, "x");
  }
  // One that lives is not.
  const Finished second =
      run(supervise({"--protocol", "exec", "--listen", "unix:" + path}, obedient()));
  EXPECT_EQ(second.code, 125) << "it may be free the next time";
  EXPECT_THAT(second.err, HasSubstr("Address already in use"));
  EXPECT_EQ(service.stop().code, 0);
  struct stat info {};
  EXPECT_NE(::stat(path.c_str(), &info), 0);
}

TEST_F(ServiceLife, LogsJsonLinesWhereNobodyWatches) {
  Command command(supervise({"--protocol", "exec", "--listen", "127.0.0.1:0"}, obedient()));
  ASSERT_TRUE(command.wait_for_stderr("listening on http://127.0.0.1:"));
  const std::string& said = command.stderr_so_far();
  const auto at = said.find("127.0.0.1:", said.find("listening"));
  const auto port = static_cast<std::uint16_t>(std::stoul(said.substr(at + 10)));
  HttpClient client(port);
  (void)client.call("POST", "/invoke", "log a \"word\"", "X-Request-Id: r-9\r\n");
  ASSERT_TRUE(command.wait_for_stderr("word"));
  command.signal(SIGTERM);
  const Finished finished = command.finish();
  std::istringstream lines(finished.err);
  bool found = false;
  for (std::string line; std::getline(lines, line);) {
    const json record = json::parse(line, nullptr, false);
    ASSERT_FALSE(record.is_discarded()) << line;
    found = found || (record.value("request_id", "") == "r-9" &&
                      record.value("message", "") == "a \"word\"" &&
                      record.value("function", "") == "function");
  }
  EXPECT_TRUE(found) << finished.err;
}

TEST_F(ServiceLife, StartsNotAtAllWhereSomethingIsWrong) {
  struct Row {
    std::vector<std::string> options;
    std::vector<std::string> of_handler;
    int code;
    const char* says;
  };
  const std::string two = config({"one", "two"}, {{"listen", {"127.0.0.1:0"}}});
  const Row rows[] = {
      {{"--listen", "nowhere"}, {"/bin/true"}, 2, "no address with a port"},
      {{"--listen", "127.0.0.1:0"}, {"/nowhere"}, 127, "/nowhere"},
      {{"--listen", "127.0.0.1:0"}, {}, 2, "no handler is given"},
      {{"--listen", "127.0.0.1:0", "--lines"}, {"/bin/true"}, 2, "--lines is not for a service"},
      {{"--listen", "127.0.0.1:0", "--protocol", "exec", "--ready", "1"},
       {"/bin/true"},
       2,
       "--ready is for handlers that serve many calls"},
      {{"--queue", "1"}, {"/bin/true"}, 2, "--queue is for a service"},
      {{"--config", two}, {"/bin/true"}, 2, "the handlers stand in the file"},
      {{"--config", two, "--policy", "compat"}, {"/bin/true"}, 2, "belongs into the file"},
      {{"--listen", "systemd"}, {"/bin/true"}, 2, "no socket was passed"},
      {{"--listen", "127.0.0.1:0", "--credential", "x"}, {"/bin/true"}, 78, "LoadCredential"},
  };
  for (const Row& row : rows) {
    const Finished finished = run(supervise(row.options, row.of_handler));
    EXPECT_EQ(finished.code, row.code) << row.says << ": " << finished.err;
    EXPECT_THAT(finished.err, HasSubstr(row.says));
  }
}

TEST_F(ServiceLife, SaysWhenDescriptorsMayRunOut) {
  std::vector<std::string> argv{"/bin/bash", "-c", "ulimit -n 256 && exec \"$@\"", "-"};
  const auto service = supervise({"--protocol", "exec", "--listen", "127.0.0.1:0"}, obedient());
  argv.insert(argv.end(), service.begin(), service.end());
  Command command(argv);
  EXPECT_TRUE(command.wait_for_stderr("only 256 may be open"));
}

TEST_F(ServiceLife, ChecksAConfigWithoutRunningIt) {
  std::vector<std::string> argv{bin_dir() + "/fnrun-supervise", "--check", "--config",
                                config({"one", "two"}, {{"listen", {"127.0.0.1:1"}}})};
  const Finished fine = run(argv);
  EXPECT_EQ(fine.code, 0) << fine.err;
  EXPECT_THAT(fine.out, AllOf(HasSubstr("function one,"), HasSubstr("function two,")));
  (void)config({"one"}, {{"listen", {"127.0.0.1:x"}}});
  const Finished no_port = run(argv);
  EXPECT_EQ(no_port.code, 78);
  EXPECT_THAT(no_port.err, HasSubstr("functions.json: /listen: "));
  (void)config({"one"}, {{"functions", {{"one", {{"handler", {"/nowhere"}}}}}}});
  EXPECT_EQ(run(argv).code, 78) << "no address at all";
  (void)config({"one"}, {{"listen", {"127.0.0.1:1"}},
                         {"functions", {{"one", {{"handler", {"/nowhere"}}}}}}});
  const Finished no_handler = run(argv);
  EXPECT_EQ(no_handler.code, 127);
  EXPECT_THAT(no_handler.err, HasSubstr("functions.json: function one: handler not found"));
  // In somebody's shell: only the service manager has them.
  (void)config({"one"},
               {{"listen", {"127.0.0.1:1"}},
                {"functions", {{"one", {{"handler", {"/bin/true"}}, {"credentials", {"c"}}}}}}});
  const Finished of_unit = run(argv);
  EXPECT_EQ(of_unit.code, 0) << of_unit.err;
  EXPECT_THAT(of_unit.out, HasSubstr("credentials that were not looked for: 1"));
}

TEST_F(ServiceLife, GivesACredentialAsAFileAndNothingElse) {
  const std::string folder = temp.folder("credentials", 0700);
  (void)temp.file("credentials/db", "s3cret", 0400);
  ServiceRun service({"--protocol", "exec", "--credential", "db"},
                     {"/bin/sh", "-c", "cat /run/credentials/db; ls -l /run/credentials; env"},
                     {"CREDENTIALS_DIRECTORY=" + folder});
  const HttpAnswer answer = service.invoke("");
  EXPECT_THAT(answer.body,
              AllOf(HasSubstr("s3cret"), HasSubstr("/run/credentials"), Not(HasSubstr(folder))));
  EXPECT_EQ(answer.body.find("s3cret"), answer.body.rfind("s3cret")) << "in no variable";
  EXPECT_EQ(service.stop().code, 0);
  const Finished missing =
      run(supervise({"--protocol", "exec", "--listen", "127.0.0.1:0", "--credential", "other"},
                    {"/bin/true"}),
          "", {"CREDENTIALS_DIRECTORY=" + folder});
  EXPECT_EQ(missing.code, 78);
  EXPECT_THAT(missing.err, AllOf(HasSubstr("other"), HasSubstr("No such file")));
}

}  // namespace
}  // namespace fnrun::test
