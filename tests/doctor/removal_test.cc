// The doctor's verdict is proved: each layer is taken away, and exactly its row turns red.
//
// A case is one row and the system calls without which its layer is not there. Red are then, beside
// what this host lacks anyway: that row, and `launch` where a sandbox cannot do without the layer;
// untested: what the doctor's own table says to hang on it. CoverEveryRow keeps the list whole.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <ostream>
#include <set>
#include <sstream>
#include <string>

#include "tests/doctor/doctor_run.h"
#include "tests/support/sandbox_fixture.h"
#include "tests/support/temp_dir.h"
#include "tools/fnrun-doctor/locked_group.h"

namespace fnrun::test {
namespace {

struct Removal {
  std::string row;
  bool launch_red = true;
  Gate gate{};
  std::function<int()> prepare{};
  bool needs_cgroup = false;  // Nothing to take away where groups cannot be made.
};
void PrintTo(const Removal& removal, std::ostream* out) {
  *out << removal.row;
}

GateAnswer refuse_if(bool matches, int os_errno) {
  return {.os_errno = matches ? os_errno : 0};
}

Gate without_call(long number, int os_errno) {
  return [=](const GatedCall& call) { return refuse_if(call.number == number, os_errno); };
}

// By unshare(2) or clone3(2), whichever; clone3's flags come first in its struct.
Gate without_namespace(std::uint64_t flag) {
  return [=](const GatedCall& call) {
    const bool asks = (call.number == SYS_unshare && (call.args[0] & flag) != 0) ||
                      (call.number == SYS_clone3 && (call.word(0) & flag) != 0);
    return refuse_if(asks, EPERM);
  };
}

Gate without_file(const std::string& ending, int os_errno = ENOENT) {
  return [=](const GatedCall& call) {
    return refuse_if(call.number == SYS_openat && call.text(1).ends_with(ending), os_errno);
  };
}

Gate without_filesystem(const std::string& type) {
  return [=](const GatedCall& call) {
    return refuse_if(call.number == SYS_mount && call.text(2) == type, ENODEV);
  };
}

Gate without_seccomp_action(std::uint32_t action) {
  return [=](const GatedCall& call) {
    return refuse_if(call.number == SYS_seccomp && call.args[0] == SECCOMP_GET_ACTION_AVAIL &&
                         call.word(2, 4) == action,
                     EOPNOTSUPP);
  };
}

// The kernel is built without: the file by which a supervisor sees that is gone, too.
GateAnswer without_time_namespace(const GatedCall& call) {
  const bool asks = (call.number == SYS_unshare && (call.args[0] & CLONE_NEWTIME) != 0) ||
                    (call.number == SYS_access && call.text(0).ends_with("time_for_children"));
  return refuse_if(asks, EINVAL);
}

// As on a read-only mount of the hierarchy.
GateAnswer without_delegation(const GatedCall& call) {
  const bool makes =
      (call.number == SYS_mkdir && call.text(0).find("/fnrun-") != std::string::npos);
  const bool asks = (call.number == SYS_faccessat || call.number == SYS_faccessat2) &&
                    call.text(1).find("cgroup") != std::string::npos;
  return refuse_if(makes || asks, EROFS);
}

const std::vector<Removal>& removals() {
  static const std::vector<Removal> kRemovals{
      {.row = "host", .prepare = [] { return ::personality(UNAME26) < 0 ? 99 : 0; }},
      {.row = "proc",
       .gate =
           [](const GatedCall& call) {
             const std::string path = call.number == SYS_openat ? call.text(1) : "";
             return refuse_if(path.ends_with("uid_map") && path != "/proc/self/uid_map", ENOENT);
           }},
      {.row = "user_namespace", .gate = without_namespace(CLONE_NEWUSER)},
      {.row = "pid_namespace", .gate = without_namespace(CLONE_NEWPID)},
      {.row = "mount_namespace", .gate = without_namespace(CLONE_NEWNS)},
      {.row = "network_namespace", .gate = without_namespace(CLONE_NEWNET)},
      {.row = "ipc_namespace", .gate = without_namespace(CLONE_NEWIPC)},
      {.row = "uts_namespace", .gate = without_namespace(CLONE_NEWUTS)},
      {.row = "cgroup_namespace", .gate = without_namespace(CLONE_NEWCGROUP)},
      {.row = "time_namespace", .launch_red = false, .gate = without_time_namespace},
      {.row = "mount_api", .gate = without_call(SYS_fsopen, ENOSYS)},
      {.row = "pivot_root", .gate = without_call(SYS_pivot_root, EINVAL)},
      {.row = "proc_mount", .gate = without_filesystem("proc")},
      {.row = "overlay", .launch_red = false, .gate = without_filesystem("overlay")},
      {.row = "memfd_exec", .gate = without_call(SYS_memfd_create, EACCES)},
      {.row = "no_new_privs",
       .gate =
           [](const GatedCall& call) {
             return refuse_if(call.number == SYS_prctl && call.args[0] == PR_SET_NO_NEW_PRIVS,
                              EINVAL);
           }},
      // Policies are compiled for what the kernel has, and libseccomp asks as well.
      {.row = "seccomp_kill_process", .gate = without_seccomp_action(SECCOMP_RET_KILL_PROCESS)},
      {.row = "seccomp_errno",
       .launch_red = false,
       .gate = without_seccomp_action(SECCOMP_RET_ERRNO)},
      {.row = "seccomp_trap",
       .launch_red = false,
       .gate = without_seccomp_action(SECCOMP_RET_TRAP)},
      {.row = "seccomp_log", .launch_red = false, .gate = without_seccomp_action(SECCOMP_RET_LOG)},
      {.row = "seccomp_user_notif",
       .launch_red = false,
       .gate = without_seccomp_action(SECCOMP_RET_USER_NOTIF)},
      {.row = "landlock",
       .launch_red = false,
       .gate = without_call(SYS_landlock_create_ruleset, EOPNOTSUPP)},
      {.row = "cgroup_delegation",
       .launch_red = false,
       .gate = without_delegation,
       .needs_cgroup = true},
      {.row = "cgroup_kill",
       .launch_red = false,
       .gate = without_file("cgroup.kill"),
       .needs_cgroup = true},
      {.row = "cgroup_freeze",
       .launch_red = false,
       .gate = without_file("cgroup.freeze"),
       .needs_cgroup = true},
      {.row = "clone_into_cgroup",
       .gate = without_namespace(CLONE_INTO_CGROUP),
       .needs_cgroup = true},
      {.row = "launch",
       .gate =
           [](const GatedCall& call) {
             return refuse_if(call.number == SYS_execve && call.text(0).ends_with("/nothing"),
                              EACCES);
           }},
  };
  return kRemovals;
}

const Rows kControllers{"memory", "pids", "cpu", "io", "cpuset"};

// Rows whose cases need more than refused calls; they are tests of their own below.
const std::set<std::string> kOwnTests{"uid_range",  "cgroup_mount", "memory", "pids",
                                      "cpu",        "io",           "cpuset", "apparmor_userns",
                                      "core_dumps", "io_uring"};

class RemovalTest : public ::testing::TestWithParam<Removal> {};

TEST_P(RemovalTest, MakesExactlyThatRowRed) {
  const Removal& removal = GetParam();
  const Diagnosis before = diagnose();
  if (removal.needs_cgroup && before.missing.contains("cgroup_delegation"))
    GTEST_SKIP() << "no groups can be made here";
  ASSERT_FALSE(before.missing.contains(removal.row)) << before.why.at(removal.row);
  const Diagnosis after = diagnose(removal.gate, removal.prepare);

  Rows red = before.missing;
  red.insert(removal.row);
  if (removal.launch_red) red.insert("launch");
  Rows untested = before.untested;
  for (const auto& row : hanging_on(after.json, {removal.row})) {
    // What a controller lacks is told even where it cannot be tried.
    if (kControllers.contains(row) && before.missing.contains(row)) continue;
    red.erase(row);
    untested.insert(row);
  }
  EXPECT_EQ(after.missing, red) << after.json.dump(1);
  EXPECT_EQ(after.untested, untested) << after.json.dump(1);
  EXPECT_THAT(groups_left_by(after.program), ::testing::IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Rows, RemovalTest, ::testing::ValuesIn(removals()),
                         [](const auto& param) { return param.param.row; });

TEST(Removals, CoverEveryRow) {
  Rows covered(kOwnTests.begin(), kOwnTests.end());
  for (const Removal& removal : removals()) covered.insert(removal.row);
  Rows rows;
  const Diagnosis found = diagnose();
  for (const auto& row : found.json.at("rows")) rows.insert(row.at("id"));
  EXPECT_EQ(covered, rows);
}

// What changed against a run without the gate.
Rows newly_red(const Diagnosis& before, const Diagnosis& after) {
  Rows fresh;
  std::set_difference(after.missing.begin(), after.missing.end(), before.missing.begin(),
                      before.missing.end(), std::inserter(fresh, fresh.end()));
  return fresh;
}

TEST(Removal, OfUids) {
  if (::geteuid() != 0) GTEST_SKIP() << "without privilege there is no uid of its own to lose";
  const Diagnosis after = diagnose(without_call(SYS_setresuid, EPERM));
  EXPECT_EQ(newly_red(diagnose(), after), (Rows{"uid_range", "launch"}));
}

// Files of the kernel with another content.
class FakedFiles : public ::testing::Test {
 protected:
  // Whoever opens a path that ends so, opens a file with this text instead.
  void fake(const std::string& ending, const std::string& text) {
    const std::string path = (temp_.path() / std::to_string(faked_.size())).string();
    std::ofstream(path) << text;
    faked_[ending] = path;
  }
  [[nodiscard]] Gate gate() const {
    return [faked = faked_](const GatedCall& call) {
      if (call.number != SYS_openat) return GateAnswer{};
      const std::string path = call.text(1);
      for (const auto& [ending, other] : faked)
        if (path.ends_with(ending)) return GateAnswer{.other_path = other};
      return GateAnswer{};
    };
  }

 private:
  TempDir temp_;
  std::map<std::string, std::string> faked_;
};

std::string own_text(const char* path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST_F(FakedFiles, AHostWithoutCgroup2) {
  std::string mounts;
  std::istringstream all(own_text("/proc/self/mountinfo"));
  for (std::string line; std::getline(all, line);)
    if (line.find(" - cgroup2 ") == std::string::npos) mounts += line + "\n";
  fake("/proc/self/mountinfo", mounts);
  const Diagnosis before = diagnose();
  if (before.missing.contains("cgroup_mount")) GTEST_SKIP() << "no cgroup v2 here";
  const Diagnosis after = diagnose(gate());
  Rows red = newly_red(before, after);
  for (const auto& row : kControllers) red.erase(row);
  EXPECT_EQ(red, Rows{"cgroup_mount"});
  for (const char* row : {"cgroup_delegation", "cgroup_kill", "cgroup_freeze", "clone_into_cgroup"})
    EXPECT_TRUE(after.untested.contains(row)) << row;
}

std::string cgroup_dir() {
  return isolation::find_cgroup_dir(own_text("/proc/self/mountinfo"),
                                    own_text("/proc/self/cgroup"));
}

// A host that passes every controller down to us; the files that a group would have are fakes that
// take what is written.
// What a kernel does with them is for a machine that has them.
class FakedControllers : public FakedFiles {
 protected:
  void SetUp() override {
    if (diagnose().missing.contains("cgroup_delegation"))
      GTEST_SKIP() << "no groups can be made here";
    fake("/cgroup.controllers", "cpuset cpu io memory pids\n");
    fake("/cgroup.subtree_control", "cpuset cpu io memory pids\n");
    fake("/cpuset.cpus.effective", "0-1\n");
    for (const auto& [controller, limit] : kLimits) fake("/" + limit, "");
  }
  const std::map<std::string, std::string> kLimits{{"memory", "memory.max"},
                                                   {"pids", "pids.max"},
                                                   {"cpu", "cpu.max"},
                                                   {"io", "io.max"},
                                                   {"cpuset", "cpuset.cpus"}};
};

TEST_F(FakedControllers, EachIsRedAloneWithoutItsLimit) {
  const Diagnosis with_all = diagnose(gate());
  for (const auto& [controller, limit] : kLimits)
    EXPECT_FALSE(with_all.missing.contains(controller)) << with_all.why.at(controller);
  for (const auto& [controller, limit] : kLimits) {
    const Gate without = without_file("/" + limit);
    const Diagnosis after = diagnose([&](const GatedCall& call) {
      const GateAnswer refused = without(call);
      return refused.os_errno != 0 ? refused : gate()(call);
    });
    EXPECT_EQ(newly_red(with_all, after), Rows{controller});
    EXPECT_NE(after.why.at(controller).find(limit + ": ENOENT"), std::string::npos)
        << after.why.at(controller);
  }
}

TEST_F(FakedControllers, EachIsRedAloneWhenItIsNotListed) {
  const Diagnosis with_all = diagnose(gate());
  for (const auto& [controller, limit] : kLimits) {
    std::string rest;
    for (const auto& [other, ignored] : kLimits)
      if (other != controller) rest += other + " ";
    fake("/cgroup.controllers", rest);
    EXPECT_EQ(newly_red(with_all, diagnose(gate())), Rows{controller});
  }
}

TEST_F(FakedControllers, OnTheHostsRootNothingIsChangedToTry) {
  if (::access((cgroup_dir() + "/cgroup.type").c_str(), F_OK) == 0)
    GTEST_SKIP() << "our own cgroup is not the root";
  fake("/cgroup.subtree_control", "");
  const Diagnosis after = diagnose(gate());
  for (const auto& [controller, limit] : kLimits) {
    EXPECT_TRUE(after.untested.contains(controller)) << after.why.at(controller);
    EXPECT_NE(after.why.at(controller).find("writing +" + controller), std::string::npos)
        << after.why.at(controller);
  }
}

// The doctor in a cgroup of its own, below ours.
class OwnCgroup : public FakedControllers {
 protected:
  void SetUp() override {
    FakedControllers::SetUp();
    if (IsSkipped()) return;
    dir_ = cgroup_dir() + "/fnrun-test-doctor-" + std::to_string(::getpid());
    lock_ = doctor::make_locked_group(dir_);
    ASSERT_TRUE(lock_);
    fake("/cgroup.subtree_control", "");
  }
  void TearDown() override {
    if (dir_.empty()) return;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(dir_, error)) {
      if (!entry.is_directory()) continue;
      ADD_FAILURE() << "left: " << entry.path();
      ::rmdir(entry.path().c_str());
    }
    EXPECT_EQ(::rmdir(dir_.c_str()), 0) << dir_;
  }
  [[nodiscard]] std::function<int()> enter() const {
    return [this] {
      std::ofstream procs(dir_ + "/cgroup.procs");
      procs << ::getpid() << std::flush;
      return procs.good() ? 0 : 99;
    };
  }
  [[nodiscard]] const std::string& dir() const { return dir_; }

 private:
  std::string dir_;
  isolation::UniqueFd lock_;
};

TEST_F(OwnCgroup, TheDoctorStepsAsideTriesAndComesBack) {
  std::set<std::string> entered;
  const Diagnosis found = diagnose(
      [&](const GatedCall& call) {
        if (call.number == SYS_openat && call.text(1).ends_with("-self/cgroup.procs"))
          entered.insert(call.text(1));
        return gate()(call);
      },
      enter());
  for (const auto& [controller, limit] : kLimits)
    EXPECT_THAT(found.why.at(controller), ::testing::HasSubstr("took the limit " + limit));
  EXPECT_EQ(entered.size(), 1U);
}

TEST_F(OwnCgroup, NobodyIsMovedWhereOthersAre) {
  // The test itself is one.
  const std::string back = cgroup_dir();
  std::ofstream(dir() + "/cgroup.procs") << ::getpid() << std::flush;
  const Diagnosis found = diagnose(gate(), enter());
  EXPECT_EQ(cgroup_dir(), dir());
  std::ofstream(back + "/cgroup.procs") << ::getpid() << std::flush;
  for (const auto& [controller, limit] : kLimits) {
    EXPECT_TRUE(found.untested.contains(controller)) << found.why.at(controller);
    EXPECT_THAT(found.why.at(controller), ::testing::HasSubstr("1 other processes would have"));
  }
}

TEST_F(OwnCgroup, TheDoctorComesBackAlsoWhenItsProbeIsKilled) {
  const Diagnosis found = diagnose(
      [&](const GatedCall& call) {
        if (call.number == SYS_openat && call.text(1).ends_with("/memory.max"))
          ::kill(call.caller, SIGKILL);
        return gate()(call);
      },
      enter());
  EXPECT_THAT(found.why.at("memory"), ::testing::HasSubstr("killed by SIGKILL"));
  EXPECT_THAT(found.why.at("pids"), ::testing::HasSubstr("took the limit"));
}

TEST_F(FakedFiles, CoreDumpsGoToAProgramThatALimitOfNothingDoesNotStop) {
  fake("/core_pattern", "|/bin/false\n");
  const auto no_core = [] {
    const rlimit none{0, 0};
    return ::setrlimit(RLIMIT_CORE, &none) == 0 ? 0 : 99;
  };
  const Diagnosis before = diagnose();
  EXPECT_EQ(newly_red(before, diagnose(gate(), no_core)), Rows{"core_dumps"});
  fake("/core_pattern", "core\n");
  EXPECT_EQ(newly_red(before, diagnose(gate(), no_core)), Rows{});
}

TEST(Removal, OfIoUringIsWhatThatRowWants) {
  EXPECT_FALSE(diagnose(without_call(SYS_io_uring_setup, EPERM)).missing.contains("io_uring"));
  // One that answers is open, whoever runs this.
  FILE* setting = std::fopen("/proc/sys/kernel/io_uring_disabled", "re");
  const int value = setting != nullptr ? std::fgetc(setting) : '0';
  if (setting != nullptr) std::fclose(setting);
  EXPECT_EQ(diagnose().missing.contains("io_uring"), value == '0');
}

// Uid 65534 of a user namespace whose ids are ours: the files stay readable, the privilege goes
// with the exec.
int become_unprivileged() {
  const std::string uid = "65534 " + std::to_string(::geteuid()) + " 1\n";
  const std::string gid = "65534 " + std::to_string(::getegid()) + " 1\n";
  if (::unshare(CLONE_NEWUSER) != 0) return 99;
  std::ofstream("/proc/self/setgroups") << "deny" << std::flush;
  std::ofstream("/proc/self/uid_map") << uid << std::flush;
  std::ofstream("/proc/self/gid_map") << gid << std::flush;
  return ::getuid() == 65534 ? 0 : 98;
}

TEST_F(FakedFiles, AppArmorRestrictsWhoIsNotPrivileged) {
  const Diagnosis before = diagnose({}, become_unprivileged);
  ASSERT_FALSE(before.missing.contains("user_namespace")) << before.why.at("user_namespace");
  fake("/apparmor_restrict_unprivileged_userns", "1\n");
  EXPECT_EQ(newly_red(before, diagnose(gate(), become_unprivileged)), Rows{"apparmor_userns"});
  fake("/apparmor_restrict_unprivileged_userns", "0\n");
  EXPECT_EQ(newly_red(before, diagnose(gate(), become_unprivileged)), Rows{});
}

// What AppArmor does: the namespace is made, its capabilities are refused.
TEST(Removal, OfCapabilitiesInTheUserNamespace) {
  const Diagnosis after = diagnose([](const GatedCall& call) {
    return refuse_if(call.number == SYS_prctl && call.args[0] == PR_CAPBSET_DROP, EPERM);
  });
  EXPECT_EQ(newly_red(diagnose(), after), (Rows{"user_namespace", "launch"}));
  EXPECT_NE(after.why.at("user_namespace").find("AppArmor"), std::string::npos);
}

}  // namespace
}  // namespace fnrun::test
