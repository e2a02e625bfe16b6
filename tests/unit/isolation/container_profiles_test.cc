// The default profiles of Docker and Podman, where Debian's packages have them: imported, compiled,
// and held against the file itself, read once more and naively by the tests' JSON library.
//
// golang-github-docker-docker-dev and golang-github-containers-common bring the files;
// FNRUN_CONTAINER_PROFILES names a folder in which they were unpacked (tools/setup/packages
// --unpack, which tools/check does) instead of "/".
#include <gmock/gmock.h>
#include <linux/seccomp.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "policies/oci_seccomp.h"
#include "policies/policy_json.h"
#include "policies/seccomp_difference.h"
#include "policies/seccomp_floor.h"
#include "seccomp_model.h"
#include "tests/support/sandbox_fixture.h"

namespace fnrun::test {
namespace {

using isolation::KillBy;
using nlohmann::json;
using testing::Contains;
using testing::HasSubstr;

struct Known {
  const char* name;
  const char* path;
  std::uint32_t by_default;  // errno
};
constexpr Known kProfiles[] = {
    {"Docker", "usr/share/gocode/src/github.com/docker/docker/profiles/seccomp/default.json",
     EPERM},
    {"Podman", "usr/share/containers/seccomp.json", ENOSYS}};

void PrintTo(const Known& known, std::ostream* out) {
  *out << known.name;
}

bool compares(const json& arg, const Args& args) {
  const std::uint64_t at = args.at(arg.at("index").get<std::size_t>());
  const auto value = arg.at("value").get<std::uint64_t>();
  const std::string op = arg.at("op");
  if (op == "SCMP_CMP_EQ") return at == value;
  if (op == "SCMP_CMP_NE") return at != value;
  if (op == "SCMP_CMP_LT") return at < value;
  if (op == "SCMP_CMP_GT") return at > value;
  if (op == "SCMP_CMP_MASKED_EQ") return (at & value) == arg.value("valueTwo", std::uint64_t{0});
  ADD_FAILURE() << op;
  return false;
}

bool applies(const json& entry) {
  const json includes = entry.value("includes", json::object());
  const json excludes = entry.value("excludes", json::object());
  const auto names_us = [](const json& filter) {
    return filter.contains("arches") &&
           filter["arches"].dump().find("\"amd64\"") != std::string::npos;
  };
  return !(includes.contains("caps") && !includes["caps"].empty()) &&
         !(includes.contains("arches") && !includes["arches"].empty() && !names_us(includes)) &&
         !names_us(excludes);
}

class ContainerProfiles : public ::testing::TestWithParam<Known> {
 protected:
  void SetUp() override {
    const char* root = std::getenv("FNRUN_CONTAINER_PROFILES");  // NOLINT(concurrency-mt-unsafe)
    path = std::filesystem::path(root != nullptr ? root : "/") / GetParam().path;
    std::ifstream file(path);
    if (!file) GTEST_SKIP() << path << " is not here: its package is not installed";
    text.assign(std::istreambuf_iterator<char>(file), {});
    auto result = policies::import_oci_seccomp(
        text, path, {.kernel = {6, 1}, .look_up = isolation::look_up_call});
    ASSERT_TRUE(result) << result.error().to_string();
    imported = std::move(*result);
  }

  std::string path;
  std::string text;
  policies::ImportedSeccomp imported;
};
INSTANTIATE_TEST_SUITE_P(, ContainerProfiles, ::testing::ValuesIn(kProfiles),
                         [](const auto& test) { return std::string(test.param.name); });

TEST_P(ContainerProfiles, AllowWhatTheFileAllowsAndTheFloorLets) {
  const json file = json::parse(text);
  const Profile made = compiled(imported.seccomp);
  const Model model(imported.seccomp, KillBy::kKernel);
  std::size_t allowed = 0;
  for (int number = 0; number <= kLastCall; ++number) {
    for (const Args& args : edges(model.rules_of(number))) {
      bool allows = false;
      for (const json& entry : file["syscalls"]) {
        if (!applies(entry) || entry["action"] != "SCMP_ACT_ALLOW") continue;
        bool here = false;
        for (const std::string name : entry["names"]) here = here || number_of(name) == number;
        if (!here) continue;
        bool all = true;
        for (const json& arg : entry.value("args", json::array())) all = all && compares(arg, args);
        allows = allows || all;
      }
      const std::uint32_t verdict = made.ask(number, args);
      // The floor takes away and never gives.
      const bool floor = made.of_floor(number, args) != SECCOMP_RET_ALLOW;
      ASSERT_EQ(verdict == SECCOMP_RET_ALLOW, allows && !floor) << number << ' ' << args[0];
      allowed += verdict == SECCOMP_RET_ALLOW ? 1 : 0;
    }
  }
  EXPECT_GT(allowed, 1'000U);
  EXPECT_EQ(made.ask(kLastCall, {}), SECCOMP_RET_ERRNO | GetParam().by_default);
}

TEST_P(ContainerProfiles, FiltersAreWhatTheImportedRulesSay) {
  for (const KillBy kill_by : {KillBy::kKernel, KillBy::kListener})
    EXPECT_EQ(disagreement(imported.seccomp, kill_by), "");
}

TEST_P(ContainerProfiles, MakePoliciesThatReadBack) {
  policies::Policy policy = shipped_policy("compat");
  policy.seccomp = imported.seccomp;
  const auto again = policies::parse_policy(to_json(policy));
  ASSERT_TRUE(again) << again.error().to_string();
  EXPECT_EQ(*again, policy);
}

TEST_P(ContainerProfiles, SayWhatTheyOpenAndWhatStaysShut) {
  EXPECT_THAT(imported.notes, Contains(HasSubstr("SCMP_ARCH_X32 is not taken over")));
  EXPECT_THAT(imported.notes,
              Contains(testing::ContainsRegex("allowed there, and never by a policy: .*ptrace")));
  const auto opened =
      policies::difference(shipped_policy("strict").seccomp, imported.seccomp).opened;
  EXPECT_THAT(opened, testing::IsSupersetOf({"memfd_create", "execveat", "seccomp", "splice"}));
  for (const std::string& call : opened) EXPECT_FALSE(policies::is_tripwire(call)) << call;
}

TEST_P(ContainerProfiles, AreTheSameAfterExportAndImport) {
  const std::string exported = policies::export_oci_seccomp(imported.seccomp);
  const auto again = policies::import_oci_seccomp(
      exported, "exported", {.kernel = {6, 1}, .look_up = isolation::look_up_call});
  ASSERT_TRUE(again) << again.error().to_string();
  const Profile before = compiled(imported.seccomp);
  const Profile after = compiled(again->seccomp);
  const Model model(imported.seccomp, KillBy::kKernel);
  for (int number = 0; number <= kLastCall; ++number)
    for (const Args& args : edges(model.rules_of(number)))
      ASSERT_EQ(before.ask(number, args), after.ask(number, args)) << number;
}

// The same for the shipped ones, which need no package.
TEST(ExportedPolicies, AreTheSameAfterImport) {
  for (const char* name : {"default", "paranoid", "strict", "compat"}) {
    const auto policy = listening(name, KillBy::kKernel);
    const auto again =
        policies::import_oci_seccomp(policies::export_oci_seccomp(policy), name,
                                     {.kernel = {6, 1}, .look_up = isolation::look_up_call});
    ASSERT_TRUE(again) << again.error().to_string();
    const Profile before = compiled(policy);
    const Profile after = compiled(again->seccomp);
    const Model model(policy, KillBy::kKernel);
    for (int number = 0; number <= kLastCall; ++number)
      for (const Args& args : edges(model.rules_of(number)))
        ASSERT_EQ(before.ask(number, args), after.ask(number, args)) << name << ' ' << number;
  }
}

}  // namespace
}  // namespace fnrun::test
