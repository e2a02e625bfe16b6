// Every metric that the documents name is there, and moves when what it counts happens.
#include <gmock/gmock.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <regex>
#include <set>
#include <sstream>
#include <thread>

#include "tests/e2e/fixture.h"
#include "tests/e2e/service_run.h"

namespace fnrun::test {
namespace {

using nlohmann::json;

// Names of README.md's table. A histogram is known by its count.
std::set<std::string> documented() {
  std::ifstream file(FNRUN_HTTP_README);
  const std::regex row(R"(^\| `([a-z_]+)(\{[^`]*\})?` \| (\w+) \|.*)");
  std::set<std::string> names;
  for (std::string line; std::getline(file, line);) {
    std::smatch found;
    if (!std::regex_match(line, found, row)) continue;
    names.insert(found[1].str() + (found[3] == "histogram" ? "_count" : ""));
  }
  return names;
}

// What was seen of each metric over several looks.
class Looks {
 public:
  void look(const ServiceRun& service) {
    std::istringstream lines(service.call("GET", "/metrics").body);
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with("#")) continue;
      const auto space = line.rfind(' ');
      const std::string series = line.substr(0, space);
      Seen& seen = seen_[series.substr(0, series.find('{'))][series];
      if (seen.values.empty()) seen.since = looks_;
      seen.values.insert(line.substr(space + 1));
    }
    ++looks_;
  }
  [[nodiscard]] bool there(const std::string& name) const { return seen_.contains(name); }
  // A value was followed by another, or a series that was not there has come.
  [[nodiscard]] bool moved(const std::string& name) const {
    const auto found = seen_.find(name);
    if (found == seen_.end()) return false;
    return std::any_of(found->second.begin(), found->second.end(), [](const auto& series) {
      return series.second.values.size() > 1 || series.second.since > 0;
    });
  }

 private:
  struct Seen {
    std::set<std::string> values;
    int since = 0;  // The look that saw it first.
  };
  std::map<std::string, std::map<std::string, Seen>> seen_;
  int looks_ = 0;
};

// Those that say what is so, and not what happens.
const std::set<std::string> kConstant{"fnrun_build_info", "process_max_fds",
                                      "process_start_time_seconds"};
constexpr std::size_t kConnections = 3;

class ServiceMetrics : public CommandTest {
 protected:
  // "f" does what it is told, "keeps" leaves something behind, "broken" ends as soon as it has
  // started, and "gone" is a file.
  std::string config(std::size_t concurrency) {
    (void)temp.file("gone", "#!/bin/sh\n", 0755);
    const json functions{
        {"f",
         {{"protocol", "exec"},
          {"handler", obedient()},
          {"timeout_ms", 300'000},
          {"concurrency", concurrency},
          {"queue", concurrency}}},
        {"keeps", {{"protocol", "lines"}, {"handler", {handler("keeper")}}}},
        {"gone", {{"protocol", "exec"}, {"handler", {(temp.path() / "gone").string()}}}},
        {"broken", {{"handler", {"/bin/false"}}, {"ready", 1}}}};
    const json limits{{"connections_max", kConnections}, {"header_timeout_ms", 100}};
    const std::string path = (temp.path() / "functions.json").string();
    std::ofstream(path) << json{{"version", 1}, {"limits", limits}, {"functions", functions}};
    return path;
  }
  // Gauges follow events that nobody tells us of.
  void look_until(const ServiceRun& service, const std::string& line) {
    while (service.call("GET", "/metrics").body.find("\n" + line + "\n") == std::string::npos)
      std::this_thread::yield();
    looks.look(service);
  }
  void calls(ServiceRun& service);
  void bad_clients(ServiceRun& service);

  Looks looks;
};

// One that runs, one that waits, one that is refused; one whose client vanishes; one that is
// killed for a forbidden call, one at its deadline; one that leaves something behind, one that
// cannot start.
void ServiceMetrics::calls(ServiceRun& service) {
  EXPECT_EQ(service.call("POST", "/invoke/f", "log something").status, 200U);
  EXPECT_EQ(service.call("POST", "/invoke/f", "forbidden").status, 502U);
  EXPECT_EQ(service.call("POST", "/invoke/f", "hang", "Fnrun-Timeout: 50ms\r\n").status, 504U);
  std::filesystem::remove(temp.path() / "gone");
  EXPECT_EQ(service.call("POST", "/invoke/gone").status, 500U);
  EXPECT_EQ(service.call("POST", "/invoke/keeps", "keep file").body, "kept");
  look_until(service, "fnrun_workers_dirty_total{function=\"keeps\"} 1");
  HttpClient runs(service.port());
  runs.request("POST", "/invoke/f", "hang");
  ASSERT_TRUE(service.command().wait_for_stderr("hanging"));
  HttpClient waits(service.port());
  waits.request("POST", "/invoke/f", "x");
  look_until(service, "fnrun_waiting{function=\"f\"} 1");
  EXPECT_EQ(service.call("POST", "/invoke/f", "x").status, 429U);
  runs.close();
  EXPECT_EQ(waits.answer()->status, 200U);
  look_until(service, "fnrun_http_vanished_clients_total 1");
}

void ServiceMetrics::bad_clients(ServiceRun& service) {
  HttpClient nonsense(service.port());
  nonsense.send("nonsense\r\n\r\n");
  EXPECT_EQ(nonsense.answer()->status, 400U);
  HttpClient slow(service.port());
  slow.send("GET /");
  EXPECT_TRUE(slow.ended());
  // As many as may be, none of them idle, and one more.
  std::vector<std::unique_ptr<HttpClient>> holding;
  const auto hold = [&] {
    holding.push_back(std::make_unique<HttpClient>(service.port()));
    holding.back()->send(
        "POST /invoke/f HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: "
        "100-continue\r\n\r\n");
  };
  hold();
  look_until(service, "fnrun_http_body_bytes 9");
  while (holding.size() < kConnections) hold();
  // On a slow machine those are too slow by then, and make room: then others take it.
  while (service.call("GET", "/healthz", "", "Connection: close\r\n").status != 503) hold();
  holding.clear();
}

TEST_F(ServiceMetrics, EachThatIsDocumentedIsThereAndMoves) {
  ServiceRun service({"--config", config(1)}, {});
  looks.look(service);
  calls(service);
  bad_clients(service);
  ASSERT_TRUE(service.command().wait_for_stderr("broken] "));
  look_until(service, "fnrun_degraded{function=\"broken\"} 1");
  (void)config(2);
  service.command().signal(SIGHUP);
  ASSERT_TRUE(service.command().wait_for_stderr("generation 2"));
  looks.look(service);
  // A drain is seen from within only.
  HttpClient holds(service.port());
  holds.request("POST", "/invoke/f", "hang");
  look_until(service, "fnrun_invocations_in_flight{function=\"f\"} 1");
  service.command().signal(SIGTERM);
  look_until(service, "fnrun_draining 1");
  holds.close();
  EXPECT_EQ(service.command().finish().code, 0);

  const std::set<std::string> names = documented();
  EXPECT_GT(names.size(), 30U) << "the table was not found";
  for (const std::string& name : names) {
    EXPECT_TRUE(looks.there(name)) << name;
    EXPECT_EQ(looks.moved(name), !kConstant.contains(name)) << name;
  }
}

}  // namespace
}  // namespace fnrun::test
