// The config file: what it means, and what each mistake in it is told.
#include "supervisor/service_config.h"

#include <gmock/gmock.h>
#include <stdlib.h>

#include <chrono>
#include <vector>

#include "service_config_test_support.h"
#include "supervisor/service_check.h"

namespace fnrun::supervisor {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using namespace std::chrono_literals;

// "": the document parses.
std::string complaint_about(const std::string& json) {
  const auto config = parse_service_config(json, kFolder);
  return config ? "" : config.error().to_string();
}

class ConfigFile : public ::testing::Test {
 protected:
  ConfigFile() {
    std::string name = (fs::temp_directory_path() / "fnrun-config-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
  }
  ~ConfigFile() override { fs::remove_all(folder_); }

  fs::path write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name, std::ios::binary) << text;
    return folder_ / name;
  }

  fs::path folder_;
};

TEST(ServiceConfig, TheLeastDocumentHasTheDefaults) {
  const ServiceConfig config = parsed(R"({"version":1,"functions":{"f":{"handler":["f"]}}})");
  FunctionConfig function;
  function.name = "f";
  function.handler = {"f"};
  EXPECT_THAT(config.functions, ElementsAre(function));
  EXPECT_EQ(config.limits, HttpLimits{});
  EXPECT_THAT(config.listen, IsEmpty());
  EXPECT_THAT(config.allow_origins, IsEmpty());
  EXPECT_EQ(config.drain_timeout, 0ms);
}

TEST(ServiceConfig, TheExampleSaysWhatItSays) {
  const auto config = load_service_config(kRoom / "functions.example.json");
  ASSERT_TRUE(config) << config.error().to_string();
  EXPECT_THAT(config->listen, ElementsAre("127.0.0.1:8080", "unix:/run/fnrun/http.sock"));
  EXPECT_THAT(config->allow_origins,
              ElementsAre("https://app.example.com", "http://localhost:3000"));
  EXPECT_EQ(config->drain_timeout, 25s);
  EXPECT_EQ(config->limits.connections_max, 4'096U);
  EXPECT_EQ(config->limits.header_timeout, 5s);
  EXPECT_EQ(config->limits.idle_timeout, 30s);
  EXPECT_EQ(config->limits.body_timeout, HttpLimits{}.body_timeout);

  ASSERT_EQ(config->functions.size(), 4U);
  const FunctionConfig& greet = config->functions[0];
  EXPECT_EQ(greet.name, "greet");
  EXPECT_EQ(greet.policy, "strict");
  EXPECT_THAT(greet.handler, ElementsAre((fs::absolute(kRoom) / "./greeter").string()));
  EXPECT_EQ(greet.ready, std::nullopt);

  const FunctionConfig& jq = config->functions[1];
  EXPECT_EQ(jq.name, "jq");
  EXPECT_EQ(jq.protocol, HandlerProtocol::kExec);
  EXPECT_THAT(jq.handler, ElementsAre("jq", ".name"));
  EXPECT_EQ(jq.ready, 0U);

  const FunctionConfig& thumbnail = config->functions[2];
  EXPECT_EQ(thumbnail.policy, (fs::absolute(kRoom) / "policies/thumbnail.json").string());
  EXPECT_EQ(thumbnail.timeout, 30s);
  ASSERT_EQ(thumbnail.binds.size(), 1U);
  EXPECT_EQ(thumbnail.binds[0].target, "/opt/thumbnail");
  EXPECT_EQ(thumbnail.binds[0].source, "/srv/thumbnail/current");
  EXPECT_THAT(thumbnail.env, ElementsAre(protocol::EnvVar{"LANG", "C.UTF-8"}));
  EXPECT_THAT(thumbnail.credentials, ElementsAre("db-password"));
  EXPECT_EQ(thumbnail.concurrency, 8U);
  EXPECT_EQ(thumbnail.queue, 64U);
  EXPECT_EQ(thumbnail.max_wait, 2s);
  EXPECT_EQ(thumbnail.per_client, 4U);
  EXPECT_EQ(thumbnail.ready, 2U);
  EXPECT_EQ(thumbnail.events, 10'000U);

  EXPECT_EQ(config->functions[3].protocol, HandlerProtocol::kLines);
}

TEST(ServiceConfig, EveryLimitGoesToItsPlace) {
  const HttpLimits limits = parsed(service_with(R"("limits": {
      "connections_max": 1, "header_bytes_max": 1024, "body_bytes_max": 1025,
      "header_timeout_ms": 2, "body_timeout_ms": 3, "idle_timeout_ms": 4, "write_timeout_ms": 5})"))
                                .limits;
  EXPECT_EQ(limits.connections_max, 1U);
  EXPECT_EQ(limits.header_max, 1'024U);
  EXPECT_EQ(limits.bodies_max, 1'025U);
  EXPECT_EQ(limits.header_timeout, 2ms);
  EXPECT_EQ(limits.body_timeout, 3ms);
  EXPECT_EQ(limits.idle_timeout, 4ms);
  EXPECT_EQ(limits.write_timeout, 5ms);
}

TEST(ServiceConfig, APathStartsAtTheFolderAndANameDoesNot) {
  const auto policy = [](const std::string& text) {
    return parsed(function_with(R"("policy": ")" + text + '"')).functions[0].policy;
  };
  EXPECT_EQ(policy("paranoid"), "paranoid");
  EXPECT_EQ(policy("mine.json"), "/etc/fnrun/mine.json");
  EXPECT_EQ(policy("./mine"), "/etc/fnrun/./mine");
  EXPECT_EQ(policy("../mine.json"), "/etc/fnrun/../mine.json");
  EXPECT_EQ(policy("/srv/mine.json"), "/srv/mine.json");

  const auto program = [](const std::string& text) {
    return parsed(R"({"version":1,"functions":{"f":{"handler":[")" + text + R"(", "./a"]}}})")
        .functions[0]
        .handler;
  };
  EXPECT_THAT(program("jq"), ElementsAre("jq", "./a"));
  EXPECT_THAT(program("bin/f"), ElementsAre("/etc/fnrun/bin/f", "./a"));
  EXPECT_THAT(program("/bin/f"), ElementsAre("/bin/f", "./a"));
}

TEST(ServiceConfig, WithoutAFolderAPathStaysAPath) {
  const auto config = parse_service_config(
      R"({"version":1,"functions":{"f":{"handler":["./f"],"policy":"./mine"}}})", "");
  ASSERT_TRUE(config);
  EXPECT_EQ(config->functions[0].policy, "./mine");
  EXPECT_EQ(config->functions[0].handler[0], "./f");
}

TEST(ServiceConfig, FunctionsBindsAndVariablesAreSorted) {
  const ServiceConfig config = parsed(
      R"({"version":1,"functions":{"b":{"handler":["b"]},"B":{"handler":["B"]},
          "a":{"handler":["a"],"binds":{"/z":"/srv","/a":"/srv"},"env":{"Z":"1","A":""}}}})");
  ASSERT_EQ(config.functions.size(), 3U);
  EXPECT_EQ(config.functions[0].name, "B");
  EXPECT_EQ(config.functions[1].name, "a");
  EXPECT_EQ(config.functions[1].binds[0].target, "/a");
  EXPECT_FALSE(config.functions[1].binds[0].why.empty()) << "a policy's paths have a reason";
  EXPECT_THAT(config.functions[1].env,
              ElementsAre(protocol::EnvVar{"A", ""}, protocol::EnvVar{"Z", "1"}));
  EXPECT_EQ(config.functions[2].name, "b");
}

TEST_F(ConfigFile, AnErrorHasFileLineAndPointer) {
  const fs::path path = write("functions.json",
                              "{\n  \"version\": 1,\n  \"functions\": {\n    \"f\": {\n"
                              "      \"handler\": [\"f\"],\n      \"que\": 1}}}\n");
  const auto config = load_service_config(path);
  ASSERT_FALSE(config);
  EXPECT_THAT(
      config.error().to_string(),
      HasSubstr(path.string() + ":6: /functions/f/que: unknown key; did you mean \"queue\"?"));
}

TEST_F(ConfigFile, AKeyGivenTwiceIsAnErrorOfItsSecondLine) {
  const fs::path path = write("functions.json",
                              "{\"version\": 1, \"functions\": {\n\"f\": {\"handler\": [\"f\"]},\n"
                              "\"f\": {\"handler\": [\"g\"]}}}");
  const auto config = load_service_config(path);
  ASSERT_FALSE(config);
  EXPECT_THAT(config.error().to_string(), HasSubstr(":3: /functions/f: this key is given twice"));
}

TEST_F(ConfigFile, WhatIsNoRegularFileOrTooLongIsRefused) {
  const auto missing = load_service_config(folder_ / "none.json");
  ASSERT_FALSE(missing);
  EXPECT_THAT(missing.error().to_string(), HasSubstr("none.json: cannot be read: No such file"));
  EXPECT_FALSE(load_service_config(folder_));
  const auto endless = load_service_config("/dev/zero");
  ASSERT_FALSE(endless);
  EXPECT_THAT(endless.error().message, HasSubstr("no regular file"));

  const std::string least = R"({"version":1,"functions":{"f":{"handler":["f"]}}})";
  const std::string padding(policies::kPolicyTextMax - least.size(), ' ');
  EXPECT_TRUE(load_service_config(write("whole.json", least + padding)));
  const auto longer = load_service_config(write("long.json", least + padding + ' '));
  ASSERT_FALSE(longer);
  EXPECT_THAT(longer.error().message, HasSubstr("a document may hold 1048576 bytes at most"));
}

TEST_F(ConfigFile, ItsPathsAreAbsoluteEvenIfItsOwnIsNot) {
  const fs::path path =
      write("functions.json", R"({"version":1,"functions":{"f":{"handler":["./f"]}}})");
  const auto config = load_service_config(fs::relative(path));
  ASSERT_TRUE(config) << config.error().to_string();
  EXPECT_TRUE(fs::path(config->functions[0].handler[0]).is_absolute());
  EXPECT_EQ(fs::path(config->functions[0].handler[0]).lexically_normal(),
            fs::absolute(folder_ / "f"));
}

struct Mistake {
  std::string json;
  std::string pointer;
  std::string message;
};

const std::vector<Mistake> kMistakes = {
    {"[]", "", "must be an object, not an array"},
    {R"({"version": 1})", "", "the key \"functions\" is missing"},
    {R"({"functions": {"f": {"handler": ["f"]}}})", "", "the key \"version\" is missing"},
    {R"({"version": 2, "functions": {}})", "/version", "must be a whole number from 1 to 1"},
    {R"({"version": 1, "functions": {}})", "/functions", "must name one function at least"},
    {R"({"version": 1, "functions": {"f": {}}})", "/functions/f", "\"handler\" is missing"},
    {R"({"version": 1, "functions": {"f": null}})", "/functions/f", "must be an object"},
    {R"({"version": 1, "functions": {"a/b": {"handler": ["f"]}}})", "/functions/a~1b",
     "a function is named by 1 to 64"},
    {R"({"version": 1, "functions": {"f": {"handler": []}}})", "/functions/f/handler",
     "must hold 1 to 1024 values, not 0"},
    {R"({"version": 1, "functions": {"f": {"handler": ["", "a"]}}})", "/functions/f/handler/0",
     "must name the handler's program"},
    {R"({"version": 1, "functions": {"f": {"handler": "f -a"}}})", "/functions/f/handler",
     "must be an array"},
    {R"({"version": 1, "functions": {"f": {"handler": ["f", 1]}}})", "/functions/f/handler/1",
     "must be a string, not 1"},
    {function_with(R"("policy": "")"), "/functions/f/policy", "the name or the path"},
    {function_with(R"("protocol": "http")"), "/functions/f/protocol",
     R"(must be "fnrun", "lines" or "exec")"},
    {function_with(R"("timeout_ms": 0)"), "/functions/f/timeout_ms", "from 1 to 86400000, not 0"},
    {function_with(R"("timeout_ms": 1.5)"), "/functions/f/timeout_ms", "a whole number"},
    {function_with(R"("binds": {"/tmp/a": "/srv"})"), "/functions/f/binds/~1tmp~1a",
     "the path inside must not be /tmp or below"},
    {function_with(R"("binds": {"/srv": "/"})"), "/functions/f/binds/~1srv",
     "the path on the host must not be \"/\""},
    {function_with(R"("binds": {"/srv": "srv"})"), "/functions/f/binds/~1srv",
     "must be an absolute path"},
    {function_with(R"("env": {"A-B": ""})"), "/functions/f/env/A-B", "a variable is named by"},
    {function_with(R"("env": {"A": null})"), "/functions/f/env/A", "must be a string, not null"},
    {function_with(R"("credentials": ["a/b"])"), "/functions/f/credentials/0",
     "must name a credential of systemd"},
    {function_with(R"("credentials": ["a", "a"])"), "/functions/f/credentials/1",
     "is in this list already"},
    {function_with(R"("protocol": "exec", "ready": 1)"), "/functions/f/ready",
     "nothing can be kept ready"},
    {service_with(R"("listen": [""])"), "/listen/0", "must be an address"},
    {service_with(R"("listen": "127.0.0.1:80")"), "/listen", "must be an array"},
    {service_with(R"("allow_origins": ["https://a", "https://a"])"), "/allow_origins/1",
     "is in this list already"},
    {service_with(R"("limits": {"idle_timeout_ms": 0})"), "/limits/idle_timeout_ms",
     "from 1 to 86400000, not 0"},
    {service_with(R"("limits": {"connections": 9})"), "/limits/connections", "unknown key"},
    {service_with(R"("drain_timeout_ms": -1)"), "/drain_timeout_ms", "not -1"},
};

TEST(ServiceConfig, MistakesAreToldWithTheirPlace) {
  for (const Mistake& mistake : kMistakes) {
    const policies::PolicyError error = error_of(mistake.json);
    EXPECT_EQ(error.pointer, mistake.pointer) << mistake.json;
    EXPECT_THAT(error.message, HasSubstr(mistake.message)) << mistake.json;
    EXPECT_EQ(error.line, 1U) << mistake.json;
  }
}

TEST(ServiceConfig, OnlyExecHasNothingToKeepReady) {
  EXPECT_EQ(complaint_about(function_with(R"("protocol": "exec", "ready": 0)")), "");
  EXPECT_EQ(complaint_about(function_with(R"("protocol": "exec")")), "");
  EXPECT_EQ(complaint_about(function_with(R"("protocol": "lines", "ready": 1)")), "");
}

TEST(ServiceConfig, ListsAndMapsAreBounded) {
  const auto functions = [](int count) {
    nlohmann::json json = {{"version", 1}};
    for (int i = 0; i < count; ++i)
      json["functions"]["f" + std::to_string(i)] = {{"handler", {"f"}}};
    return json.dump();
  };
  EXPECT_EQ(complaint_about(functions(1'024)), "");
  EXPECT_THAT(complaint_about(functions(1'025)), HasSubstr("may hold 1024 entries at most"));

  const auto arguments = [](std::size_t count, std::size_t size) {
    nlohmann::json json = {{"version", 1}};
    json["functions"]["f"]["handler"] = {"f"};
    for (std::size_t i = 1; i < count; ++i)
      json["functions"]["f"]["handler"].push_back(std::string(size, 'a'));
    return json.dump();
  };
  EXPECT_EQ(complaint_about(arguments(1'024, 1)), "");
  EXPECT_THAT(complaint_about(arguments(1'025, 1)), HasSubstr("must hold 1 to 1024 values"));
  EXPECT_EQ(complaint_about(arguments(2, 32 * 1'024)), "");
  EXPECT_THAT(complaint_about(arguments(2, 32 * 1'024 + 1)), HasSubstr("32768 bytes at most"));

  const auto credentials = [](int count) {
    nlohmann::json list = nlohmann::json::array();
    for (int i = 0; i < count; ++i) list.push_back("c" + std::to_string(i));
    return function_with("\"credentials\": " + list.dump());
  };
  EXPECT_EQ(complaint_about(credentials(256)), "");
  EXPECT_THAT(complaint_about(credentials(257)), HasSubstr("must hold 0 to 256 values"));
}

TEST(ServiceCheck, FunctionsAreNamedAsLambdas) {
  for (const std::string name : {"f", "a-B_9", "-", "2015-03-31"})
    EXPECT_EQ(function_name_fault(name), "") << name;
  EXPECT_EQ(function_name_fault(std::string(64, 'a')), "");
  for (const std::string name : {"", "a.b", "a/b", "a b", "é", "a\n", ".", "a:1"})
    EXPECT_NE(function_name_fault(name), "") << name;
  EXPECT_NE(function_name_fault(std::string(65, 'a')), "");
}

TEST(ServiceCheck, CredentialsAreNamesOfFiles) {
  for (const std::string name : {"db-password", ".hidden", "...", "a.b_C-9"})
    EXPECT_EQ(credential_name_fault(name), "") << name;
  EXPECT_EQ(credential_name_fault(std::string(255, 'a')), "");
  for (const std::string name : {"", ".", "..", "a/b", "../a", "a b", "a:b", "a\t"})
    EXPECT_NE(credential_name_fault(name), "") << name;
  EXPECT_NE(credential_name_fault(std::string(256, 'a')), "");
}

TEST(ServiceCheck, OriginsAreThoseThatBrowsersWrite) {
  for (const std::string origin :
       {"https://example.com", "http://localhost:3000", "http://127.0.0.1", "http://[::1]:8080",
        "https://xn--bcher-kva.example", "https://a.b:1", "https://a.b:65535", "https://a.b:80",
        "http://a.b:443", "http://under_score.example"})
    EXPECT_EQ(origin_fault(origin), "") << origin;
  for (const std::string origin : {"",
                                   "*",
                                   "null",
                                   "example.com",
                                   "https://",
                                   "https://*.example.com",
                                   "https://example.com/",
                                   "https://Example.com",
                                   "HTTPS://example.com",
                                   "https://user@example.com",
                                   "ftp://a.b",
                                   "https://a.b:",
                                   "https://a.b:0",
                                   "https://a.b:08080",
                                   "https://a.b:65536",
                                   "https://a.b:-1",
                                   "https://a.b:80a",
                                   "https://a.b:+80",
                                   "https://a.b:1:2",
                                   "https://a b",
                                   "https://a.b?x",
                                   "https://a.b#x",
                                   "https://.a",
                                   "https://a..b",
                                   "https://-a",
                                   "https://[::1",
                                   "https://::1",
                                   "https://[]",
                                   "https://[::1]8080",
                                   "https://[::g]",
                                   "https://b\xc3\xbc"
                                   "cher.example"})
    EXPECT_NE(origin_fault(origin), "") << origin;
  EXPECT_NE(origin_fault("https://" + std::string(512, 'a')), "");
}

TEST(ServiceCheck, WhatWouldMatchEveryPageOrNoneIsExplained) {
  EXPECT_THAT(origin_fault("*"), HasSubstr("every page"));
  EXPECT_THAT(origin_fault("null"), HasSubstr("every page"));
  EXPECT_THAT(origin_fault("https://a.b:443"), HasSubstr("leave it out"));
  EXPECT_THAT(origin_fault("http://a.b:80"), HasSubstr("leave it out"));
}

}  // namespace
}  // namespace fnrun::supervisor
