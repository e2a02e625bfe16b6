// Files: looking up, merging, removing, circles, and errors that name the right file.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <cstdlib>

#include "policy_test_support.h"

namespace fnrun::policies {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class PolicyExtends : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "fnrun-policies-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { fs::remove_all(folder_); }

  // Writes a policy whose version stands on line 1 and `members` from line 2.
  fs::path write(const std::string& name, const std::string& members) const {
    fs::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name) << "{\"version\": 1" << (members.empty() ? "" : ",\n") << members
                                  << "}";
    return folder_ / name;
  }
  Result<Policy> load(const fs::path& path) const { return load_policy(path.string(), {}); }
  Policy loaded(const fs::path& path) const {
    const auto policy = load(path);
    EXPECT_TRUE(policy) << policy.error().to_string();
    return policy ? *policy : Policy{};
  }
  PolicyError fault(const fs::path& path) const {
    const auto policy = load(path);
    EXPECT_FALSE(policy) << path;
    return policy ? PolicyError{} : policy.error();
  }

  fs::path folder_;
};

constexpr char kBase[] = R"(
  "description": "the base",
  "limits": {"processes_max": 7, "open_files_max": 8},
  "filesystem": {"read_only": {"/usr": {"why": "base"}, "/opt": {"why": "base"}},
                 "dangerously_exec_from_tmp": "base", "dev_shm": "base"},
  "environment": {"set": {"A": "base", "B": "base"}, "pass": {"C": "base"}},
  "seccomp": {"default": "errno:ENOSYS", "rules": {
    "io": {"action": "allow", "calls": ["read", "write"], "why": "base"},
    "clone": {"action": "allow", "calls": ["clone"],
              "when": [{"arg": 0, "op": "masked_eq", "mask": 1, "value": 0}], "why": "base"}}},
  "prefer": {"cgroup": "base"})";

TEST_F(PolicyExtends, WhatIsNotSaidComesFromTheBaseButItsDescription) {
  write("base.json", kBase);
  Policy base = loaded(folder_ / "base.json");
  EXPECT_EQ(base.description, "the base");
  base.description.clear();
  EXPECT_EQ(loaded(write("top.json", R"("extends": "base")")), base);
}

TEST_F(PolicyExtends, TheFilesOfAChainAreToldFromTheOneNamedToTheLast) {
  write("base.json", kBase);
  write("middle.json", R"("extends": "base.json")");
  const fs::path top = write("top.json", R"("extends": "middle.json")");
  const auto files = policy_files(top.string(), {});
  ASSERT_TRUE(files) << files.error().to_string();
  ASSERT_EQ(files->size(), 3U);
  EXPECT_EQ((*files)[0].stem(), "top");
  EXPECT_EQ((*files)[1].stem(), "middle");
  EXPECT_EQ((*files)[2].stem(), "base");
  EXPECT_FALSE(policy_files((folder_ / "nothing.json").string(), {}));
}

TEST_F(PolicyExtends, ObjectsMergeKeyByKeyAndTheRestReplaces) {
  write("base.json", kBase);
  const Policy policy = loaded(write("top.json", R"("extends": "base.json",
    "limits": {"processes_max": 9},
    "filesystem": {"read_only": {"/usr": {"executable": false}}},
    "seccomp": {"rules": {"io": {"calls": ["close"]}}})"));
  EXPECT_EQ(policy.limits.processes_max, 9U);
  EXPECT_EQ(policy.limits.open_files_max, 8U);
  EXPECT_EQ(policy.filesystem.read_only.at(1).target, "/usr");
  EXPECT_FALSE(policy.filesystem.read_only.at(1).executable);
  EXPECT_EQ(policy.filesystem.read_only.at(1).why, "base");
  EXPECT_EQ(policy.seccomp.rules.at(1).calls, std::vector<std::string>{"close"});
}

TEST_F(PolicyExtends, NullRemovesRulesPathsVariablesAndPreferences) {
  write("base.json", kBase);
  const Policy policy = loaded(write("top.json", R"("extends": "base",
    "filesystem": {"read_only": {"/opt": null}, "dangerously_exec_from_tmp": null, "dev_shm": null},
    "environment": {"set": {"A": null}, "pass": {"C": null}},
    "seccomp": {"rules": {"clone": null}},
    "prefer": {"cgroup": null})"));
  ASSERT_EQ(policy.filesystem.read_only.size(), 1U);
  EXPECT_EQ(policy.filesystem.read_only[0].target, "/usr");
  EXPECT_EQ(policy.filesystem.dangerously_exec_from_tmp, "");
  EXPECT_EQ(policy.filesystem.dev_shm, "");
  EXPECT_EQ(policy.environment.set, (std::map<std::string, std::string>{{"B", "base"}}));
  EXPECT_TRUE(policy.environment.pass.empty());
  ASSERT_EQ(policy.seccomp.rules.size(), 1U);
  EXPECT_EQ(policy.seccomp.rules[0].name, "io");
  EXPECT_TRUE(policy.preferred.empty());
}

TEST_F(PolicyExtends, NullThatRemovesNothingIsAMisspelling) {
  write("base.json", kBase);
  const PolicyError error =
      fault(write("top.json", "\"extends\": \"base\",\n\"seccomp\": {\"rules\": {\"oi\": null}}"));
  EXPECT_EQ(error.pointer, "/seccomp/rules/oi");
  EXPECT_EQ(error.line, 3U);
  EXPECT_THAT(error.message, HasSubstr("check the spelling"));
}

TEST_F(PolicyExtends, NullElsewhereIsAWrongType) {
  write("base.json", kBase);
  EXPECT_EQ(
      fault(write("a.json", R"("extends": "base", "limits": {"processes_max": null})")).pointer,
      "/limits/processes_max");
  EXPECT_EQ(fault(write("b.json", R"("extends": "base", "seccomp": null)")).pointer, "/seccomp");
}

TEST_F(PolicyExtends, ErrorNamesTheFileInWhichTheOffendingValueStands) {
  write("base.json", "\"limits\": {\"open_files_max\": 8,\n\"processes_max\": 0}");
  const fs::path top =
      write("top.json", "\"extends\": \"base\",\n\n\"limits\": {\"tmp_max_bytes\": 1}");
  const PolicyError in_base = fault(top);  // Limits are read in the order of README.md.
  EXPECT_EQ(in_base.pointer, "/limits/tmp_max_bytes");
  EXPECT_EQ(fs::path(in_base.file).filename(), "top.json");
  EXPECT_EQ(in_base.line, 4U);
  const PolicyError error = fault(write("other.json", R"("extends": "base")"));
  EXPECT_EQ(error.pointer, "/limits/processes_max");
  EXPECT_EQ(fs::path(error.file).filename(), "base.json");
  EXPECT_EQ(error.line, 3U);
}

TEST_F(PolicyExtends, ConflictAcrossFilesNamesBoth) {
  write("base.json", kBase);
  const PolicyError error = fault(write("top.json", R"("extends": "base", "seccomp": {"rules": {
    "zz": {"action": "kill_process", "calls": ["read"], "why": "w"}}})"));
  EXPECT_EQ(error.pointer, "/seccomp/rules/zz/calls/0");
  EXPECT_EQ(fs::path(error.file).filename(), "top.json");
  EXPECT_THAT(error.message, HasSubstr("base.json:9)"));
}

TEST_F(PolicyExtends, UnknownKeyInTheBaseIsReported) {
  write("base.json", R"("limit": {})");
  const PolicyError error = fault(write("top.json", R"("extends": "base")"));
  EXPECT_EQ(error.pointer, "/limit");
  EXPECT_EQ(fs::path(error.file).filename(), "base.json");
}

TEST_F(PolicyExtends, EveryFileOfTheChainNeedsItsVersion) {
  std::ofstream(folder_ / "base.json") << "{}";
  const PolicyError error = fault(write("top.json", R"("extends": "base")"));
  EXPECT_EQ(fs::path(error.file).filename(), "base.json");
  EXPECT_THAT(error.message, HasSubstr("version"));
}

TEST_F(PolicyExtends, ACircleIsRefused) {
  write("a.json", R"("extends": "b")");
  write("b.json", R"("extends": "a")");
  const PolicyError error = fault(folder_ / "a.json");
  EXPECT_EQ(error.pointer, "/extends");
  EXPECT_EQ(fs::path(error.file).filename(), "b.json");
  EXPECT_EQ(error.line, 2U);
  EXPECT_THAT(error.message, HasSubstr("extends itself"));
}

TEST_F(PolicyExtends, ACircleThroughALinkIsRefused) {
  write("a.json", R"("extends": "link")");
  fs::create_symlink("a.json", folder_ / "link.json");
  EXPECT_THAT(fault(folder_ / "a.json").message, HasSubstr("extends itself"));
}

TEST_F(PolicyExtends, TheChainIsBoundedAtItsLastStep) {
  write("p0.json", "");
  for (int i = 1; i <= kPolicyExtendsMax + 1; ++i)
    write("p" + std::to_string(i) + ".json", "\"extends\": \"p" + std::to_string(i - 1) + '"');
  loaded(folder_ / "p8.json");
  const PolicyError error = fault(folder_ / "p9.json");
  EXPECT_THAT(error.message, HasSubstr("more than 8 steps"));
  EXPECT_EQ(error.pointer, "/extends");
}

TEST_F(PolicyExtends, TheFileBesideComesBeforeTheSearchFolders) {
  write("search/base.json", R"("limits": {"processes_max": 2})");
  write("search/far.json", R"("limits": {"processes_max": 3})");
  write("here/base.json", R"("limits": {"processes_max": 4})");
  const std::vector<fs::path> search = {folder_ / "search"};
  const auto count = [&](const std::string& extends) {
    const auto path = write("here/top.json", "\"extends\": \"" + extends + '"');
    const auto policy = load_policy(path.string(), search);
    EXPECT_TRUE(policy) << policy.error().to_string();
    return policy ? policy->limits.processes_max : 0;
  };
  EXPECT_EQ(count("base"), 4U);
  EXPECT_EQ(count("base.json"), 4U);
  EXPECT_EQ(count("far"), 3U);
  EXPECT_EQ(count("../search/base.json"), 2U);
  EXPECT_EQ(count((folder_ / "search/far.json").string()), 3U);
}

TEST_F(PolicyExtends, ANameIsLookedUpInTheSearchFoldersInOrder) {
  write("a/p.json", R"("limits": {"processes_max": 2})");
  write("b/p.json", R"("limits": {"processes_max": 3})");
  write("b/q.json", R"("limits": {"processes_max": 4})");
  const std::vector<fs::path> search = {folder_ / "a", folder_ / "b"};
  EXPECT_EQ(load_policy("p", search)->limits.processes_max, 2U);
  EXPECT_EQ(load_policy("q", search)->limits.processes_max, 4U);
  const auto missing = load_policy("nope", search);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().file, "nope");
  EXPECT_EQ(missing.error().line, 0U);
  EXPECT_THAT(missing.error().message, HasSubstr((folder_ / "b").string()));
}

TEST_F(PolicyExtends, AMissingBaseIsBlamedOnTheFileThatWantsIt) {
  const PolicyError error = fault(write("top.json", R"("extends": "gone")"));
  EXPECT_EQ(fs::path(error.file).filename(), "top.json");
  EXPECT_EQ(error.pointer, "/extends");
  EXPECT_EQ(error.line, 2U);
  EXPECT_THAT(error.message, HasSubstr("gone"));
}

TEST_F(PolicyExtends, TheExampleOfTheReadmeLoads) {
  const std::string readme = read_text(kShipped / "README.md");
  constexpr std::string_view kFence = "```json\n";
  const std::size_t begin = readme.find(kFence) + kFence.size();
  std::ofstream(folder_ / "example.json")
      << readme.substr(begin, readme.find("```", begin) - begin);
  const auto policy = load_policy((folder_ / "example.json").string(), {kShipped});
  ASSERT_TRUE(policy) << policy.error().to_string();
  EXPECT_EQ(policy->seccomp, shipped("strict").seccomp);
}

TEST_F(PolicyExtends, WhatIsNoFileIsRefusedWithoutBlocking) {
  ASSERT_EQ(::mkfifo((folder_ / "fifo.json").c_str(), 0600), 0);
  fs::create_directory(folder_ / "folder.json");
  for (const char* name : {"fifo.json", "folder.json", "missing.json"})
    EXPECT_THAT(fault(folder_ / name).message, HasSubstr("no policy file")) << name;
  EXPECT_FALSE(load_policy("", {}));
  EXPECT_FALSE(load_policy("name", {}));
}

TEST_F(PolicyExtends, AFileBeyondTheTextBoundIsRefused) {
  std::ofstream(folder_ / "big.json") << R"({"version": 1})" << std::string(kPolicyTextMax, ' ');
  EXPECT_THAT(fault(folder_ / "big.json").message, HasSubstr("1048576 bytes at most"));
}

}  // namespace
}  // namespace fnrun::policies
