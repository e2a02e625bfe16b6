// Which layer stops what. Each layer switched off: fnrun-probe must see it, by the attempts that
// are written down in golden/mutations and by no others; all layers but seccomp; and seccomp's
// answers told apart from the others'.
//
// Where another layer stops the same attempts, both are off, and what shows is compared with what
// shows without the other alone. tests/security/mutation_test.cc does the same with attempts of its
// own, which say more; these are the ones that users have. As root.
#include <gmock/gmock.h>
#include <linux/mount.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <set>

#include "isolation/child/launch_plan.h"
#include "tests/probe/golden.h"
#include "tests/support/sandbox_fixture.h"
#include "tools/fnrun-probe/judge.h"

namespace fnrun::test {
namespace {

using namespace child;  // The switches.
using isolation::RootEntry;
using nlohmann::json;
using Ids = std::set<std::string>;
using Change = std::function<void(isolation::Plan&)>;

struct Mutation {
  const char* name;
  std::uint32_t off;
  std::uint32_t others = 0;  // Off on both sides of the comparison.
  Change change = {};
};
void PrintTo(const Mutation& mutation, std::ostream* out) {
  *out << mutation.name;
}

Change at(const char* path, std::function<void(RootEntry&)> change) {
  return [path, change = std::move(change)](isolation::Plan& plan) {
    for (RootEntry& entry : plan.root)
      if (entry.path == path && entry.kind != RootEntry::Kind::kDirectory) change(entry);
  };
}

// Not one of the sandbox's own switches: what is written into the files of its group.
constexpr std::uint32_t kSwitchCgroupLimits = 1U << 31;

// A word of golden/mutations: "ID", "ID?" where hosts differ, "ID(6.8)" from that kernel on.
struct Notice {
  std::string id;
  bool certain = true;
};
Notice parse_notice(const std::string& word, std::pair<int, int> kernel) {
  if (word.ends_with('?')) return {word.substr(0, word.size() - 1), false};
  const std::size_t since = word.find('(');
  if (since == std::string::npos) return {word};
  return {word.substr(0, since), isolation::parse_kernel_release(word.substr(since + 1)) <= kernel};
}

class OfMutants : public SandboxTest {
 protected:
  void SetUp() override {
    // Ours, which a sandbox without one of its own would have.
    ::syscall(SYS_keyctl, /*KEYCTL_JOIN_SESSION_KEYRING=*/1, nullptr);
    SandboxTest::SetUp();
  }
  // We may be in a container: what the sandbox shares with us is as bad as what it shares with the
  // host.
  static std::string own_namespaces() {
    std::string numbers;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/ns")) {
      struct stat info {};
      EXPECT_EQ(::stat(entry.path().c_str(), &info), 0) << entry.path();
      numbers += (numbers.empty() ? "" : ",") + std::to_string(info.st_ino);
    }
    return numbers;
  }
  // The rows of a whole run, judged by strict.
  json rows(const policies::Policy& policy, std::uint32_t off, const Change& change = {}) {
    isolation::Plan mutant = plan(
        {FNRUN_PROBE, "--expect", "strict", "--json", "--namespaces-outside", own_namespaces()},
        policy);
    mutant.switched_off = off & ~kSwitchCgroupLimits;
    if ((off & kSwitchCgroupLimits) != 0) mutant.cgroup_settings.clear();
    if (change) change(mutant);
    const Ran ran = run(mutant);
    const json report = json::parse(ran.out, nullptr, /*allow_exceptions=*/false);
    EXPECT_FALSE(report.is_discarded()) << ran.out << ran.err;
    return report.is_discarded() ? json::array() : report["probes"];
  }
  // "ID broken" of what strict promises and does not hold then, "ID open" of what is.
  Ids seen(std::uint32_t off, const Change& change = {}) {
    Ids ids;
    for (const json& row : rows(strict, off, change))
      for (const char* key : {"verdict", "result"})
        if (row[key] == "broken" || row[key] == "open")
          ids.insert(row["id"].get<std::string>() + " " + row[key].get<std::string>());
    return ids;
  }
};

class ProbeUnder : public OfMutants, public testing::WithParamInterface<Mutation> {};

TEST_P(ProbeUnder, TurnsItsProbesRedAndOnlyThem) {
  if (!host.privileged) GTEST_SKIP() << "needs root: unprivileged, other layers are in force";
  const Mutation& mutation = GetParam();
  if ((mutation.off & kSwitchCgroupLimits) != 0 && !host.cgroup.has(policies::Layer::kPids))
    GTEST_SKIP() << "no controllers here; run in the VM";
  const Ids before = seen(mutation.others);
  Ids red;
  for (const std::string& one : seen(mutation.off | mutation.others, mutation.change))
    if (!before.contains(one)) red.insert(one.substr(0, one.find(' ')));
  EXPECT_FALSE(red.empty()) << "nobody would notice";
  std::string all = mutation.name;
  for (const std::string& id : red) all += " " + id;
  Golden written = golden("mutations");
  for (const std::string& word : written[mutation.name]) {
    const Notice notice = parse_notice(word, isolation::parse_kernel_release(host.kernel_release));
    const bool found = red.erase(notice.id) != 0;
    EXPECT_TRUE(found || !notice.certain) << word << " notices no more";
  }
  EXPECT_TRUE(red.empty()) << "written down is not what was seen:\n" << all;
}

constexpr std::uint32_t kFilters = kSwitchSeccomp | kSwitchLandlock;

const Mutation kMutations[] = {
    {"seccomp", kSwitchSeccomp},
    {"capabilities", kSwitchCapabilities},
    {"no_new_privs", kSwitchNoNewPrivs, kFilters},  // Without it no filter can be loaded.
    {"landlock", kSwitchLandlock, kSwitchReadOnlyRoot},
    {"read_only_root", kSwitchReadOnlyRoot, kSwitchLandlock},
    {"rlimits", kSwitchRlimits, kSwitchCgroupLimits},
    {"cgroup_limits", kSwitchCgroupLimits, kSwitchRlimits},
    {"keyring", kSwitchKeyring, kSwitchSeccomp},
    {"init_not_dumpable", kSwitchNonDumpable, kSwitchLandlock},
    {"descriptors_closed", kSwitchCloseFds},
    {"network_namespace", kSwitchNetworkNamespace, kFilters},
    {"ipc_namespace", kSwitchIpcNamespace, kFilters},
    {"uts_namespace", kSwitchUtsNamespace},
    {"cgroup_namespace", kSwitchCgroupNamespace},
    {"user_namespace", kSwitchUserNamespace},
    {"pid_namespace", kSwitchPidNamespace, kFilters | kSwitchUserNamespace},
    {"pivot_root", kSwitchPivotRoot, kSwitchLandlock},
    {"uid_map", kSwitchUidMap, kSwitchCgroupLimits},
    {"time_namespace", kSwitchTimeNamespace},
    {"proc_subset", 0, 0, at("proc", [](RootEntry& entry) { entry.source = ""; })},
    {"noexec_tmp", 0, kSwitchLandlock,
     at("tmp", [](RootEntry& entry) { entry.flags &= ~unsigned{MS_NOEXEC}; })},
    {"bounded_tmp", 0, 0, at("tmp", [](RootEntry& entry) { entry.source = "mode=1777"; })},
    {"nosuid_mounts", 0, 0,
     at("usr", [](RootEntry& entry) { entry.attributes &= ~std::uint64_t{MOUNT_ATTR_NOSUID}; })},
};
// Nothing to notice: whoever is in a user namespace of its own may not touch a mount namespace that
// is not, so there is no sandbox without one.
TEST_F(OfMutants, WithoutAMountNamespaceNothingStarts) {
  isolation::Plan mutant = plan({FNRUN_PROBE});
  mutant.switched_off = kSwitchMountNamespace;
  const isolation::SetupError error = failure(mutant);
  EXPECT_EQ(error.step, isolation::SetupStep::kMountPropagation) << error.to_string();
  EXPECT_EQ(error.os_errno, EPERM) << error.to_string();
}

// The run without seccomp: what the other layers stop alone.
TEST_F(OfMutants, WithoutSeccompTheOtherLayersAnswerAsWrittenDown) {
  if (!host.privileged) GTEST_SKIP() << "needs root: unprivileged, other layers are in force";
  Golden written = golden("without-seccomp");
  const json all = rows(strict, kSwitchSeccomp);
  EXPECT_EQ(written.size(), all.size());
  for (const json& row : all)
    EXPECT_THAT(written[row["id"]], testing::Contains(answer_of(row)))
        << row["id"].get<std::string>() << ' ' << answer_of(row);
}

// The attribution run: each refusal of the filter by errno is a number that nobody else returns.
TEST_F(OfMutants, TaggedAnswersTellTheLayerAsWrittenDown) {
  if (!host.privileged) GTEST_SKIP() << "needs root: unprivileged, other layers are in force";
  using Kind = policies::SyscallAction::Kind;
  policies::Policy tagged = strict;
  ASSERT_EQ(tagged.seccomp.default_action.kind, Kind::kErrno);
  tagged.seccomp.default_action.os_errno = probe::kTagDefault;
  for (policies::SyscallRule& rule : tagged.seccomp.rules)
    if (rule.action.kind == Kind::kErrno) rule.action.os_errno = probe::kTagRule;
  Golden written = golden("attribution");
  const json all = rows(tagged, 0);
  EXPECT_EQ(written.size(), all.size());
  for (const json& row : all) {
    const std::string answer =
        row["layer"].is_null() ? answer_of(row) : row["layer"].get<std::string>();
    EXPECT_THAT(written[row["id"]], testing::Contains(answer))
        << row["id"].get<std::string>() << ' ' << answer;
  }
}

INSTANTIATE_TEST_SUITE_P(Without, ProbeUnder, testing::ValuesIn(kMutations),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace fnrun::test
