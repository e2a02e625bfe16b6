// Each layer switched off: fnrun-probe must see it, by the attempts that are written down in
// golden/mutations and by no others.
//
// Where another layer stops the same attempts, both are off, and what shows is compared with what
// shows without the other alone. tests/security/mutation_test.cc does the same with attempts of its
// own, which say more; these are the ones that users have. As root, on the host's kernel.
#include <gmock/gmock.h>
#include <linux/mount.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "isolation/child/launch_plan.h"
#include "tests/support/sandbox_fixture.h"

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

// "NAME ID ID …"; "ID?" where hosts differ.
std::map<std::string, std::vector<std::string>> golden() {
  std::ifstream file(FNRUN_GOLDEN_DIR "/mutations");
  std::map<std::string, std::vector<std::string>> all;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line.substr(0, line.find('#')));
    std::string name;
    if (!(words >> name)) continue;
    for (std::string word; words >> word;) all[name].push_back(word);
  }
  return all;
}

class OfMutants : public SandboxTest {
 protected:
  void SetUp() override {
    // Ours, which a sandbox without one of its own would have.
    ::syscall(SYS_keyctl, /*KEYCTL_JOIN_SESSION_KEYRING=*/1, nullptr);
    SandboxTest::SetUp();
  }
  // "ID broken" of what strict promises and does not hold then, "ID open" of what is.
  Ids seen(std::uint32_t off, const Change& change = {}) {
    isolation::Plan mutant = plan({FNRUN_PROBE, "--expect", "strict", "--json"});
    mutant.switched_off = off;
    if (change) change(mutant);
    const Ran ran = run(mutant);
    const json report = json::parse(ran.out, nullptr, /*allow_exceptions=*/false);
    EXPECT_FALSE(report.is_discarded()) << ran.out << ran.err;
    Ids ids;
    if (report.is_discarded()) return ids;
    for (const json& row : report["probes"])
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
  const Ids before = seen(mutation.others);
  Ids red;
  for (const std::string& one : seen(mutation.off | mutation.others, mutation.change))
    if (!before.contains(one)) red.insert(one.substr(0, one.find(' ')));
  EXPECT_FALSE(red.empty()) << "nobody would notice";
  std::string all = mutation.name;
  for (const std::string& id : red) all += " " + id;
  auto written = golden();
  for (const std::string& word : written[mutation.name]) {
    const bool optional = word.ends_with('?');
    const bool found = red.erase(optional ? word.substr(0, word.size() - 1) : word) != 0;
    EXPECT_TRUE(found || optional) << word << " notices no more";
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
    {"rlimits", kSwitchRlimits},
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
    {"uid_map", kSwitchUidMap},
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

INSTANTIATE_TEST_SUITE_P(Without, ProbeUnder, testing::ValuesIn(kMutations),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace fnrun::test
