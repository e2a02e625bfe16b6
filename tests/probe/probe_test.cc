// fnrun-probe in real sandboxes of the shipped policies, and without one; and that it turns red.
//
// As whoever runs the tests; `unprivileged` does it once more as nobody.
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>

#include "tests/e2e/fixture.h"
#include "tests/probe/golden.h"

namespace fnrun::test {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using Strings = std::vector<std::string>;

std::string probe_program() {
  return bin_dir() + "/fnrun-probe";
}

class ProbeTest : public CommandTest {
 protected:
  std::string write_policy(const std::string& name, const json& policy) {
    const std::string path = (temp.path() / name).string();
    std::ofstream(path) << policy.dump();
    return path;
  }
  // With the time that a slow machine may need; and paranoid requires what not every host has: here
  // it is held to its other promises.
  std::string runnable(const std::string& policy) {
    json lenient{{"version", 1},
                 {"extends", policy},
                 {"limits", {{"cpu_time_max_ms", 600'000}, {"invoke_timeout_ms", 600'000}}}};
    if (policy == "paranoid")
      for (const char* layer : {"cgroup", "landlock", "time_namespace", "memory", "pids", "cpu"})
        lenient["prefer"][layer] = "the test's host may lack it";
    return write_policy("lenient.json", lenient);
  }
  // Whose promises it is held to: a preset that makes none of its own, to those of strict.
  static std::string promises_of(const std::string& policy) {
    return policy == "jvm" ? "strict" : policy;
  }
  static Finished run_probe(const std::string& policy) {
    return run({bin_dir() + "/fnrun-supervise", "--quiet", "--policy", policy, "--probe"});
  }
  Finished run_json(const std::string& policy) {
    return run(supervise(
        {"--quiet", "--policy", runnable(policy), "--protocol", "exec", "--timeout", "5m"},
        {probe_program(), "--expect", promises_of(policy), "--json"}));
  }
};

class Shipped : public ProbeTest, public testing::WithParamInterface<const char*> {};

TEST_P(Shipped, KeepsEveryPromise) {
  const Finished ran = run_probe(runnable(GetParam()));
  EXPECT_EQ(ran.code, 0) << ran.out << ran.err;
  EXPECT_THAT(ran.out, HasSubstr(promises_of(GetParam()) + ": every promise held."));
}

TEST_P(Shipped, AnswersAsWrittenDown) {
  const Finished ran = run_json(GetParam());
  ASSERT_EQ(ran.code, 0) << ran.out << ran.err;
  const json report = json::parse(ran.out);
  auto expected = golden(GetParam());
  EXPECT_EQ(expected.size(), report["probes"].size());
  for (const json& row : report["probes"])
    EXPECT_THAT(expected[row["id"]], testing::Contains(answer_of(row)))
        << row["id"].get<std::string>() << ' ' << row["title"];
  EXPECT_EQ(report["counts"]["inconclusive"], 0);
  EXPECT_LE(report["counts"]["skipped"], 1);
}

INSTANTIATE_TEST_SUITE_P(Probe, Shipped,
                         testing::Values("paranoid", "strict", "compat", "native", "go", "python",
                                         "node", "jvm"),
                         [](const auto& instance) { return std::string(instance.param); });

TEST_F(ProbeTest, JsonKeepsItsShape) {
  const Finished ran = run_json("strict");
  ASSERT_EQ(ran.code, 0) << ran.err;
  const json report = json::parse(ran.out);
  Strings keys;
  for (const auto& [key, value] : report.items()) keys.push_back(key);
  EXPECT_THAT(keys, ElementsAre("counts", "expect", "holds", "kernel", "probes", "schema", "uid"));
  EXPECT_EQ(report["schema"], 1);
  EXPECT_EQ(report["expect"], "strict");
  EXPECT_EQ(report["holds"], true);
  for (const json& row : report["probes"]) {
    keys.clear();
    for (const auto& [key, value] : row.items()) keys.push_back(key);
    EXPECT_THAT(keys, ElementsAre("detail", "errno", "family", "id", "layer", "promised",
                                  "reference", "result", "signal", "title", "value", "verdict"));
  }
}

TEST_F(ProbeTest, ARuleTurnedToAllowBreaksItsPromiseAndOnlyThat) {
  const std::string weak = write_policy(
      "weak.json",
      {{"version", 1},
       {"extends", "strict"},
       {"seccomp",
        {{"rules",
          {{"eperm-keyring", nullptr},
           {"keys", {{"action", "allow"}, {"calls", {"keyctl"}}, {"why", "a weak policy"}}}}}}}});
  const Finished ran = run_probe(weak);
  EXPECT_EQ(ran.code, 1) << ran.out << ran.err;
  // add_key and request_key have no rule any more: another answer than was promised.
  EXPECT_THAT(ran.out, HasSubstr("NOT held; broken: K05, K05d, K05b, K05c"));
  EXPECT_THAT(ran.out, HasSubstr("BROKEN    K05   open"));
}

TEST_F(ProbeTest, AFolderOfTheHostBreaksItsPromises) {
  const std::string weak = write_policy("weak.json", {{"version", 1},
                                                      {"extends", "strict"},
                                                      {"filesystem",
                                                       {{"read_only",
                                                         {{"/etc", {{"why", "a weak policy"}}},
                                                          {"/etc/ld.so.cache", nullptr},
                                                          {"/etc/alternatives", nullptr},
                                                          {"/etc/localtime", nullptr}}}}}});
  const Finished ran = run_probe(weak);
  EXPECT_EQ(ran.code, 1) << ran.out << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("BROKEN    F20   open"));
}

TEST_F(ProbeTest, AFolderOfTheHostUnderAnotherNameBreaksOneToo) {
  const json shown{{"source", "/etc"}, {"why", "a weak policy"}};
  const Finished ran =
      run_probe(write_policy("weak.json", {{"version", 1},
                                           {"extends", "strict"},
                                           {"filesystem", {{"read_only", {{"/data", shown}}}}}}));
  EXPECT_EQ(ran.code, 1) << ran.out << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("NOT held; broken: F23."));
}

TEST_F(ProbeTest, ProgramsInTmpBreakThePromiseOfStrict) {
  const std::string weak =
      write_policy("weak.json", {{"version", 1},
                                 {"extends", "strict"},
                                 {"filesystem", {{"dangerously_exec_from_tmp", "a weak policy"}}}});
  const Finished ran = run_probe(weak);
  EXPECT_EQ(ran.code, 1) << ran.out << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("NOT held; broken: F12, F12b."));
}

TEST_F(ProbeTest, ATightenedPolicyKeepsThePromisesOfWhatItExtends) {
  const std::string tight = write_policy(
      "tight.json", {{"version", 1}, {"extends", "strict"}, {"limits", {{"processes_max", 32}}}});
  const Finished ran = run_probe(tight);
  EXPECT_EQ(ran.code, 0) << ran.out << ran.err;
}

// The names of presets are names that people give to policies of their own.
TEST_F(ProbeTest, APolicyOfAPresetsNameIsHeldToWhatItExtends) {
  const json open{{"version", 1},
                  {"extends", "strict"},
                  {"filesystem", {{"dev_shm", "a policy that only looks like the preset"}}}};
  const Finished ran = run_probe(write_policy("python.json", open));
  EXPECT_EQ(ran.code, 1) << ran.out << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("strict: NOT held; broken: F11e, F10c."));
  const std::string own = write_policy("own.json", {{"version", 1}, {"extends", "python"}});
  std::filesystem::remove(temp.path() / "python.json");  // The nearest of that name would be meant.
  const Finished held = run_probe(own);
  EXPECT_EQ(held.code, 0) << held.out << held.err;
  EXPECT_THAT(held.out, HasSubstr("python: every promise held."));
}

TEST_F(ProbeTest, APolicyWithoutAShippedBaseIsRefusedInWords) {
  const Finished ran = run_probe(write_policy("own.json", {{"version", 1}}));
  EXPECT_EQ(ran.code, 2);
  EXPECT_THAT(ran.err, HasSubstr("extends none of them"));
  EXPECT_EQ(run_probe("nothing.json").code, 78);
}

// Below folders that the probe would take for the host's: its own way there is shown to it.
TEST_F(ProbeTest, WhereItIsInstalledIsNoFolderOfTheHosts) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root: only it may write to /opt";
  std::string place = "/opt/fnrun-test-XXXXXX";
  ASSERT_NE(::mkdtemp(place.data()), nullptr);
  ASSERT_EQ(::chmod(place.c_str(), 0755), 0);
  for (const char* program : {"fnrun-supervise", "fnrun-probe"})
    std::filesystem::copy_file(bin_dir() + "/" + program, place + "/" + program);
  const Finished ran = run({place + "/fnrun-supervise", "--quiet", "--policy",
                            runnable(policies_dir() + "/strict.json"), "--probe"});
  std::filesystem::remove_all(place);
  EXPECT_EQ(ran.code, 0) << ran.out << ran.err;
}

TEST_F(ProbeTest, AMissingProgramIsNamed) {
  const std::string alone = (temp.path() / "fnrun-supervise").string();
  std::filesystem::copy_file(bin_dir() + "/fnrun-supervise", alone);
  const Finished ran =
      run({alone, "--policy", bin_dir() + "/../share/fnrun/policies/strict.json", "--probe"});
  EXPECT_EQ(ran.code, 127);
  EXPECT_THAT(ran.err, HasSubstr("--probe needs the program fnrun-probe"));
}

TEST_F(ProbeTest, UsageIsChecked) {
  EXPECT_EQ(run(supervise({"--probe"}, {"true"})).code, 2);
  EXPECT_EQ(run({bin_dir() + "/fnrun-supervise", "--probe", "--lines"}).code, 2);
  EXPECT_EQ(run({probe_program(), "--only", "X99"}).code, 2);
  EXPECT_EQ(run({probe_program(), "--family", "nothing"}).code, 2);
  EXPECT_EQ(run({probe_program(), "--expect", "nothing"}).code, 2);
  const Finished list = run({probe_program(), "--list", "--family", "canaries"});
  EXPECT_EQ(list.code, 0);
  EXPECT_THAT(list.out, HasSubstr("Z01"));
}

TEST_F(ProbeTest, WithoutASandboxAnswersAreAsWrittenDown) {
  if (::geteuid() == 0) GTEST_SKIP() << "probe.unprivileged does this as nobody";
  if (!emulated()) GTEST_SKIP() << "what an ordinary user may do is each host's to say: in the VM";
  const Finished ran = run({probe_program(), "--json"});
  ASSERT_EQ(ran.code, 0) << ran.err;
  Golden expected = golden("bare");
  const json rows = json::parse(ran.out)["probes"];
  EXPECT_EQ(expected.size(), rows.size());
  for (const json& row : rows)
    EXPECT_THAT(expected[row["id"]], testing::Contains(answer_of(row)))
        << row["id"].get<std::string>() << ' ' << row["title"];
}

// Harmless, but the control is what an ordinary user can do: root's is another question.
TEST_F(ProbeTest, WithoutASandboxMostIsOpen) {
  if (::geteuid() == 0) GTEST_SKIP() << "probe.unprivileged does this as nobody";
  const Finished ran = run({probe_program(), "--expect", "bare", "--json"});
  EXPECT_EQ(ran.code, 0) << ran.out << ran.err;
  const json counts = json::parse(ran.out)["counts"];
  EXPECT_EQ(counts["inconclusive"], 0) << ran.out;
  // And not a promise of strict would hold.
  const Finished judged = run({probe_program(), "--expect", "strict"});
  EXPECT_EQ(judged.code, 1);
  EXPECT_THAT(judged.out, HasSubstr("strict: NOT held"));
}

TEST_F(ProbeTest, NothingStaysOnTheHost) {
  if (::geteuid() == 0) GTEST_SKIP() << "probe.unprivileged does this as nobody";
  (void)run({probe_program()});
  const std::regex ours("fnrun-probe-([0-9]+)(-.*)?");
  for (const char* folder : {"/tmp", "/var/tmp", "/dev/shm"})
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      const std::string name = entry.path().filename().string();
      std::smatch parts;
      // Of a process that lives: somebody else's run.
      if (std::regex_match(name, parts, ours) && ::kill(std::stoi(parts[1]), 0) != 0 &&
          errno == ESRCH)
        ADD_FAILURE() << entry.path();
    }
}

}  // namespace
}  // namespace fnrun::test
