// Programs of six languages as handlers, doing what such programs do: under the policy that
// README.md names for each, and outside; what strict alone would refuse; and what no policy lets
// them do.
//
// A runtime that is not installed skips its tests, with the package's name; FNRUN_REQUIRE=runtimes
// makes that a failure.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "protocol/message.h"
#include "tests/e2e/fixture.h"
#include "tests/e2e/runtimes.h"

namespace fnrun::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;
using Strings = std::vector<std::string>;

Strings names_of(const Runtime& runtime) {
  Strings names;
  for (const auto& [job, answer] : runtime.jobs) names.push_back(job);
  return names;
}

class RuntimeTest : public CommandTest {
 protected:
  // False, and the test is skipped or failed, where the runtime is not installed.
  static bool is_here(const Runtime& runtime) {
    need(runtime);
    return !IsSkipped() && !HasFatalFailure();
  }
  static void need(const Runtime& runtime) {
    for (const std::string& file : runtime.files) {
      if (std::filesystem::exists(file)) continue;
      const char* required = ::secure_getenv("FNRUN_REQUIRE");
      const std::string why = runtime.package + " is not installed, or was not when this was built";
      ASSERT_TRUE(required == nullptr ||
                  std::string(required).find("runtimes") == std::string::npos)
          << why << ": there is no " << file;
      GTEST_SKIP() << why;
    }
  }

  // The answers to these events, of one process without a sandbox.
  static Strings outside(const Runtime& runtime, const Strings& events) {
    protocol::ExecutionContext context;
    context.stop_time = std::chrono::system_clock::now() + std::chrono::hours(1);
    std::string requests;
    for (const std::string& event : events)
      requests += protocol::encode_event({event}).value() +
                  protocol::encode_execution_context(context).value();
    const Finished ran = run(runtime.outside, requests);
    EXPECT_EQ(ran.code, 0) << ran.err;
    Strings answers;
    std::string_view left = ran.out;
    while (left.size() >= 4) {
      std::size_t size = 0;
      for (const char byte : left.substr(0, 4)) size = size << 8 | static_cast<unsigned char>(byte);
      const auto result = protocol::parse_result(left.substr(4, size));
      if (!result) break;
      answers.push_back(result->data);
      left.remove_prefix(std::min(left.size(), 4 + size));
    }
    return answers;
  }

  // The run under a policy; each event a line, and each answer, of a failed call a line of JSON.
  static Finished inside(const Runtime& runtime, const std::string& policy, const Strings& events,
                         const Strings& more_options = {}) {
    // The deadline is not what is looked at here, and the machine may be busy.
    Strings options{"--quiet", "--lines", "--on-error", "result", "--timeout", "55s"};
    options.insert(options.end(), {"--policy", policy});
    options.insert(options.end(), runtime.options.begin(), runtime.options.end());
    options.insert(options.end(), more_options.begin(), more_options.end());
    std::string lines;
    for (const std::string& event : events) lines += event + "\n";
    return run(supervise(options, runtime.inside), lines);
  }
  static Strings answers_inside(const Runtime& runtime, const std::string& policy,
                                const Strings& events, const Strings& more_options = {}) {
    const Finished ran = inside(runtime, policy, events, more_options);
    EXPECT_EQ(ran.code, 0) << ran.err;
    Strings answers;
    std::istringstream text(ran.out);
    for (std::string line; std::getline(text, line);) answers.push_back(line);
    EXPECT_EQ(answers.size(), events.size()) << ran.out << ran.err;
    answers.resize(events.size());
    return answers;
  }
  static std::string answer_inside(const Runtime& runtime, const std::string& policy,
                                   const std::string& event, const Strings& more_options = {}) {
    return answers_inside(runtime, policy, {event}, more_options)[0];
  }

  std::string write_policy(const json& policy) {
    return temp.file("policy.json", policy.dump(), 0644);
  }
};

class Runtimes : public RuntimeTest, public testing::WithParamInterface<Runtime> {
 protected:
  void SetUp() override {
    RuntimeTest::SetUp();
    if (!IsSkipped() && !HasFatalFailure()) (void)is_here(GetParam());
  }
};
INSTANTIATE_TEST_SUITE_P(, Runtimes, testing::ValuesIn(runtimes()),
                         [](const auto& instance) { return instance.param.name; });

TEST_P(Runtimes, DoTheirJobsUnderTheirPolicyAsWithoutASandbox) {
  const Runtime& runtime = GetParam();
  const Strings jobs = names_of(runtime);
  const Strings in = answers_inside(runtime, runtime.policy, jobs);
  const Strings out = outside(runtime, jobs);
  ASSERT_EQ(out.size(), jobs.size());
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    EXPECT_EQ(in[i], runtime.jobs[i].second) << jobs[i] << " under " << runtime.policy;
    EXPECT_EQ(out[i], runtime.jobs[i].second) << jobs[i] << " outside";
  }
}

// And nothing else is in need of the preset.
TEST_P(Runtimes, StrictAloneRefusesWhatThePresetIsFor) {
  const Runtime& runtime = GetParam();
  Strings jobs = names_of(runtime);
  // How much garbage Java lets lie depends on the memory of the host; HeapsFitTheLimit looks at it.
  if (runtime.name == "Java") std::erase(jobs, "gc");
  const Strings answers = answers_inside(runtime, "strict", jobs);
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    const auto& beyond = runtime.beyond_strict;
    const bool refused = std::find(beyond.begin(), beyond.end(), jobs[i]) != beyond.end();
    const auto expected =
        std::find_if(runtime.jobs.begin(), runtime.jobs.end(), [&](const auto& job) {
          return job.first == jobs[i];
        })->second;
    if (refused)
      EXPECT_NE(answers[i], expected) << jobs[i];
    else
      EXPECT_EQ(answers[i], expected) << jobs[i];
  }
}

TEST_P(Runtimes, ReadWriteAndReachNothingOfTheHost) {
  const Runtime& runtime = GetParam();
  ASSERT_EQ(::chmod(temp.path().c_str(), 0777), 0);
  const std::string secret = temp.file("secret", "of the host", 0644);
  const std::string target = (temp.path() / "written").string();
  const isolation::UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), size), 0);
  ASSERT_EQ(::listen(listener.get(), 8), 0);
  ASSERT_EQ(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);

  const Strings events{"read /etc/passwd", "read " + secret, "write " + target,
                       "connect " + std::to_string(ntohs(address.sin_port))};
  const Strings in = answers_inside(runtime, runtime.policy, events);
  for (std::size_t i = 0; i < events.size(); ++i)
    EXPECT_THAT(in[i], StartsWith("failed: ")) << events[i];
  EXPECT_THAT(answer_inside(runtime, runtime.policy, "write /usr/fnrun-test"),
              StartsWith("failed: "));
  EXPECT_FALSE(std::filesystem::exists(target));

  const Strings out = outside(runtime, events);
  ASSERT_EQ(out.size(), events.size());
  EXPECT_THAT(out[0], StartsWith("root:"));
  EXPECT_EQ(out[1], "of the host");
  EXPECT_EQ(out[2], "7");
  EXPECT_TRUE(std::filesystem::exists(target));
  EXPECT_EQ(out[3], "connected");
}

TEST_P(Runtimes, AreKilledForAnAttack) {
  const Runtime& runtime = GetParam();
  const Strings out = outside(runtime, {runtime.attack});
  ASSERT_EQ(out.size(), 1U);
  EXPECT_THAT(out[0], Not(StartsWith("failed")));
  const std::string in = answer_inside(runtime, runtime.policy, runtime.attack);
  if (runtime.call.empty()) {  // The program that made it is; the handler is told.
    EXPECT_THAT(in, StartsWith("failed: "));
    return;
  }
  const json told = json::parse(in);
  EXPECT_EQ(told["outcome"], "policy_violation");
  EXPECT_THAT(told["message"].get<std::string>(), HasSubstr(runtime.call));
}

// Which is why no preset says exec_once: a handler that starts nothing may.
TEST_P(Runtimes, NeedMoreThanOneExecveForChildrenOnly) {
  const auto host = isolation::probe_host();
  ASSERT_TRUE(host) << host.error().to_string();
  if (!host->seccomp_listener)
    GTEST_SKIP() << "no seccomp user notification here: a policy with exec_once is refused";
  const Runtime& runtime = GetParam();
  const std::string once = write_policy(
      {{"version", 1}, {"extends", runtime.policy}, {"seccomp", {{"exec_once", true}}}});
  const Strings answers = answers_inside(runtime, once, {"subprocess", "recursion"});
  for (const auto& [job, answer] : runtime.jobs) {
    EXPECT_FALSE(job == "subprocess" && answers[0] == answer);
    EXPECT_TRUE(job != "recursion" || answers[1] == answer) << answers[1];
  }
}

// ---- The profiles that containers have ----

// Flat policies: what the runtime's own has of files, limits and variables, and another's filter.
class ContainerProfile : public RuntimeTest, public testing::WithParamInterface<const char*> {
 protected:
  std::string imported(const std::string& policy) {
    const Finished ran =
        run({bin_dir() + "/fnrun-supervise", "--import-seccomp", profile, "--policy", policy});
    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_THAT(ran.err, HasSubstr("allowed there, and never by a policy: "));
    EXPECT_THAT(ran.err, testing::ContainsRegex("opens [0-9]+ calls: ")) << "the difference";
    return temp.file(policy + ".json", ran.out, 0644);
  }
  std::string profile;
};
INSTANTIATE_TEST_SUITE_P(
    , ContainerProfile,
    testing::Values("usr/share/gocode/src/github.com/docker/docker/profiles/seccomp/default.json",
                    "usr/share/containers/seccomp.json"),
    [](const auto& instance) { return instance.index == 0 ? "Docker" : "Podman"; });

TEST_P(ContainerProfile, RunsTheRuntimes) {
  const char* root = ::secure_getenv("FNRUN_CONTAINER_PROFILES");
  profile = std::string(root != nullptr ? root : "") + "/" + GetParam();
  if (!std::filesystem::exists(profile))
    GTEST_SKIP() << profile << " is not here: see tools/setup/packages --unpack";
  std::size_t ran = 0;
  for (const Runtime& one : runtimes()) {
    if (!std::all_of(one.files.begin(), one.files.end(),
                     [](const auto& file) { return std::filesystem::exists(file); }))
      continue;
    const Strings jobs = names_of(one);
    const Strings answers = answers_inside(one, imported(one.policy), jobs);
    for (std::size_t i = 0; i < jobs.size(); ++i)
      EXPECT_EQ(answers[i], one.jobs[i].second) << one.name << ' ' << jobs[i];
    ++ran;
  }
  if (ran == 0) GTEST_SKIP() << "no runtime is installed";
}

// ---- What each preset adds, taken away again ----

class Presets : public RuntimeTest {};

struct Addition {
  std::string runtime;
  json without;     // The preset, but for this.
  std::string job;  // What then fails.
};
void PrintTo(const Addition& addition, std::ostream* out) {
  *out << addition.runtime << " without " << addition.without.dump();
}
class Additions : public RuntimeTest, public testing::WithParamInterface<Addition> {};
const json kNoWriteExecute{{"seccomp", {{"write_execute", nullptr}}}};
INSTANTIATE_TEST_SUITE_P(
    , Additions,
    testing::Values(
        Addition{"Cpp", {{"seccomp", {{"rules", {{"native-fchmod", nullptr}}}}}}, "copy"},
        Addition{"Go", {{"environment", {{"set", {{"GOMEMLIMIT", nullptr}}}}}}, "gc"},
        Addition{"Python", {{"filesystem", {{"dev_shm", nullptr}}}}, "pool"},
        Addition{"Python", {{"filesystem", {{"dev_shm", nullptr}}}}, "shared_memory"},
        Addition{"Python", {{"seccomp", {{"rules", {{"python-chmod", nullptr}}}}}}, "copy"},
        Addition{"Python", {{"seccomp", {{"rules", {{"python-no-attributes", nullptr}}}}}}, "copy"},
        Addition{"Node", {{"seccomp", {{"rules", {{"node-fchmod", nullptr}}}}}}, "copy"},
        Addition{"Python", kNoWriteExecute, "callback"},
        Addition{"Node", kNoWriteExecute, "crypto"}, Addition{"Java", kNoWriteExecute, "zone"},
        Addition{"Java",
                 {{"filesystem", {{"read_only", {{"/etc/java-17-openjdk/security", nullptr}}}}}},
                 "crypto"},
        Addition{"Java",
                 {{"filesystem",
                   {{"read_only", {{"/etc/java-17-openjdk/logging.properties", nullptr}}}}}},
                 "logging"}),
    [](const auto& instance) {
      return instance.param.runtime + std::to_string(instance.index) + instance.param.job;
    });

TEST_P(Additions, IsNeeded) {
  const Runtime& one = runtime(GetParam().runtime);
  if (!is_here(one)) return;
  json policy{{"version", 1}, {"extends", one.policy}};
  policy.update(GetParam().without);
  const std::string& job = GetParam().job;
  const auto expected = std::find_if(one.jobs.begin(), one.jobs.end(),
                                     [&](const auto& other) { return other.first == job; });
  ASSERT_NE(expected, one.jobs.end());
  EXPECT_NE(answer_inside(one, write_policy(policy), job), expected->second);
  EXPECT_EQ(answer_inside(one, one.policy, job), expected->second);
}

// chmod and fchmod are back, but not for the bits that would make a file somebody else's power.
TEST_F(Presets, NoFileBecomesSetUserId) {
  for (const char* name : {"Python", "Node"}) {
    const Runtime& one = runtime(name);
    if (!is_here(one)) return;
    EXPECT_THAT(answer_inside(one, one.policy, "set_user_id"), StartsWith("failed: ")) << name;
    EXPECT_EQ(outside(one, {"set_user_id"}), Strings{"4755"}) << name;
  }
}

// The runtimes size their heaps by the memory of the host, unless they are told.
TEST_F(Presets, HeapsFitTheLimit) {
  const auto host = static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) *
                    static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  for (const auto& [name, variable] :
       {std::pair{"Node", "NODE_OPTIONS"}, std::pair{"Java", "JAVA_TOOL_OPTIONS"}}) {
    const Runtime& one = runtime(name);
    if (!is_here(one)) return;
    const std::uint64_t limit = shipped_policy(one.policy).limits.memory_max.bytes >> 20;
    EXPECT_LT(std::stoull(answer_inside(one, one.policy, "heap")), limit) << name;
    if (host >> 30 < 4) continue;  // A quarter of this host's memory would fit as well.
    const std::string without = write_policy({{"version", 1},
                                              {"extends", one.policy},
                                              {"environment", {{"set", {{variable, nullptr}}}}}});
    EXPECT_GT(std::stoull(answer_inside(one, without, "heap")), limit) << name;
  }
}

// A thread for each processor is a thread too many on a host that has more than processes_max. What
// the JVM has to say of it goes to the log, and not among the answers.
TEST_F(Presets, ProcessorsAreThoseOfThePolicyNotOfTheHost) {
  for (const char* name : {"Go", "Java"}) {
    const Runtime& one = runtime(name);
    if (!is_here(one)) return;
    EXPECT_EQ(answer_inside(one, one.policy, "processors"), "1") << name;
  }
  const Runtime& go = runtime("Go");
  EXPECT_THAT(answer_inside(go, "strict", "processors", {"--env", "GOMAXPROCS=200"}),
              HasSubstr("\"outcome\""));
  Runtime java = runtime("Java");
  java.inside.insert(java.inside.begin() + 1, "-XX:ActiveProcessorCount=200");
  EXPECT_THAT(answer_inside(java, java.policy, "processors"),
              StartsWith("failed: java.lang.OutOfMemoryError: unable to create native thread"));
}

}  // namespace
}  // namespace fnrun::test
