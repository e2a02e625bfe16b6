// Layers taken away by the kernel itself, not by a gate: what a host without them answers.
//
// Namespaces by the limits of a user namespace that the test makes, each of which counts for its
// own; seccomp by filters around the doctor that outrank the ones it tries; cgroups by mounts and
// by what a group of the test's passes down. What a host cannot take away is skipped there, with
// the reason, and is for another machine.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/doctor/doctor_run.h"
#include "tests/support/sandbox_fixture.h"
#include "tools/fnrun-doctor/locked_group.h"

namespace fnrun::test {
namespace {

class RealRemoval : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_user_namespace(); !why.empty()) GTEST_SKIP() << why;
  }
};

bool write_text(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text << std::flush;
  return file.good();
}

// A user namespace of ours in which `kind` of namespace cannot be made; "" for none.
int enter_limited(const std::string& kind) {
  const std::string uid = "65534 " + std::to_string(::geteuid()) + " 1\n";
  const std::string gid = "65534 " + std::to_string(::getegid()) + " 1\n";
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return 99;
  if (!write_text("/proc/self/setgroups", "deny") || !write_text("/proc/self/uid_map", uid) ||
      !write_text("/proc/self/gid_map", gid))
    return 98;
  if (!kind.empty() && !write_text("/proc/sys/user/max_" + kind + "_namespaces", "0\n")) return 97;
  return 0;
}

TEST_F(RealRemoval, OfEachNamespaceByItsLimit) {
  const Diagnosis before = diagnose({}, [] { return enter_limited(""); });
  ASSERT_FALSE(before.missing.contains("launch")) << before.why.at("launch");
  const std::map<std::string, std::string> row_of{
      {"user", "user_namespace"},     {"pid", "pid_namespace"},   {"mnt", "mount_namespace"},
      {"net", "network_namespace"},   {"ipc", "ipc_namespace"},   {"uts", "uts_namespace"},
      {"cgroup", "cgroup_namespace"}, {"time", "time_namespace"},
  };
  for (const auto& [kind, row] : row_of) {
    const Diagnosis after = diagnose({}, [&kind = kind] { return enter_limited(kind); });
    Rows red = before.missing;
    red.insert(row);
    // The kernel has time namespaces, so launching counts on them, and cannot.
    red.insert("launch");
    EXPECT_EQ(after.missing, red) << row;
    EXPECT_NE(after.why.at(row).find("ENOSPC"), std::string::npos) << after.why.at(row);
    EXPECT_EQ(after.code, 125);
  }
}

// Around the doctor: the call that its filters are about is answered already.
int answer_victim_by(std::uint32_t action) {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, action),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{std::size(program), program};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return 99;
  return ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) == 0 ? 0 : 98;
}

// An action that is known and does not act is missing: each row sees its filter act. Whichever
// outranks the one that is tried wins (seccomp(2)); between equals, the newer.
TEST_F(RealRemoval, OfSeccompActionsByOneThatOutranksThem) {
  const Diagnosis before = diagnose();
  const auto red_under = [&](std::uint32_t action) {
    Rows red = diagnose({}, [=] { return answer_victim_by(action); }).missing;
    for (const auto& row : before.missing) red.erase(row);
    return red;
  };
  EXPECT_EQ(red_under(SECCOMP_RET_ALLOW), Rows{});
  EXPECT_EQ(red_under(SECCOMP_RET_ERRNO | 1), (Rows{"seccomp_log", "seccomp_user_notif"}));
  EXPECT_EQ(red_under(SECCOMP_RET_TRAP),
            (Rows{"seccomp_errno", "seccomp_log", "seccomp_user_notif"}));
  EXPECT_EQ(red_under(SECCOMP_RET_KILL_THREAD),
            (Rows{"seccomp_errno", "seccomp_log", "seccomp_trap", "seccomp_user_notif"}));
}

TEST_F(RealRemoval, OfTheCgroupMount) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root may unmount";
  const auto found = isolation::probe_host();
  ASSERT_TRUE(found);
  const std::string dir = found->cgroup.dir;
  if (dir.empty()) GTEST_SKIP() << found->cgroup.no_dir_because;
  // Of our own mount namespace, and only as long as the doctor runs.
  const auto unmount = [&] {
    if (::unshare(CLONE_NEWNS) != 0) return 99;
    if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return 98;
    return ::umount2(dir.c_str(), MNT_DETACH) == 0 ? 0 : 97;
  };
  const Diagnosis before = diagnose();
  const Diagnosis after = diagnose({}, unmount);
  Rows red = after.missing;
  for (const auto& row : before.missing) red.erase(row);
  for (const char* row : {"memory", "pids", "cpu", "io", "cpuset"}) red.erase(row);
  EXPECT_EQ(red, Rows{"cgroup_mount"});
}

TEST_F(RealRemoval, OfDelegationByAReadOnlyMount) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root may remount";
  const auto found = isolation::probe_host();
  ASSERT_TRUE(found);
  const std::string dir = found->cgroup.dir;
  if (dir.empty()) GTEST_SKIP() << found->cgroup.no_dir_because;
  const auto make_read_only = [&] {
    if (::unshare(CLONE_NEWNS) != 0) return 99;
    if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return 98;
    return ::mount(nullptr, dir.c_str(), nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY, nullptr) == 0
               ? 0
               : 97;
  };
  const Diagnosis before = diagnose();
  const Diagnosis after = diagnose({}, make_read_only);
  Rows red = after.missing;
  for (const auto& row : before.missing) red.erase(row);
  EXPECT_EQ(red, Rows{"cgroup_delegation"});
  EXPECT_NE(after.why.at("cgroup_delegation").find("EROFS"), std::string::npos)
      << after.why.at("cgroup_delegation");
}

// A group of the test's below our own cgroup, and one in it for the doctor; gone with this object.
class TwoGroups {
 public:
  explicit TwoGroups(const std::string& own)
      : outer(own + "/fnrun-test-doctor-" + std::to_string(::getpid())), inner(outer + "/doctor") {
    lock_ = doctor::make_locked_group(outer);
    made_ = lock_ && ::mkdir(inner.c_str(), 0755) == 0;
  }
  TwoGroups(const TwoGroups&) = delete;
  TwoGroups& operator=(const TwoGroups&) = delete;
  ~TwoGroups() {
    EXPECT_EQ(::rmdir(inner.c_str()), 0) << "something is left in " << inner;
    EXPECT_EQ(::rmdir(outer.c_str()), 0);
  }
  [[nodiscard]] bool made() const { return made_; }
  [[nodiscard]] int enter() const {
    return write_text(inner + "/cgroup.procs", std::to_string(::getpid())) ? 0 : 99;
  }
  const std::string outer;
  const std::string inner;

 private:
  isolation::UniqueFd lock_;
  bool made_ = false;
};

std::vector<std::string> controllers_passed_down(const std::string& dir) {
  std::ifstream file(dir + "/cgroup.subtree_control");
  const std::set<std::string> known{"memory", "pids", "cpu", "io", "cpuset"};
  std::vector<std::string> found;
  for (std::string name; file >> name;)
    if (known.contains(name)) found.push_back(name);
  return found;
}

TEST_F(RealRemoval, OfEachControllerByNotPassingItDown) {
  const auto host = isolation::probe_host();
  ASSERT_TRUE(host);
  if (host->cgroup.dir.empty()) GTEST_SKIP() << host->cgroup.no_dir_because;
  // The test machine is ours to change: its root passes down what it has.
  if (emulated() && ::geteuid() == 0)
    for (const auto controller : policies::kControllers)
      (void)write_text(host->cgroup.dir + "/cgroup.subtree_control",
                       std::string("+") + policies::name_of(controller));
  const auto controllers = controllers_passed_down(host->cgroup.dir);
  if (controllers.empty())
    GTEST_SKIP() << "our own cgroup passes down no controller: they are bound to cgroup v1, or not "
                    "delegated to us";
  const TwoGroups groups(host->cgroup.dir);
  ASSERT_TRUE(groups.made());
  const auto enter = [&] { return groups.enter(); };
  const auto pass = [&](const std::string& word) {
    return write_text(groups.outer + "/cgroup.subtree_control", word);
  };
  for (const auto& name : controllers) ASSERT_TRUE(pass("+" + name)) << name;
  const Diagnosis before = diagnose({}, enter);
  for (const auto& name : controllers) {
    EXPECT_THAT(before.why.at(name), ::testing::HasSubstr("took the limit"));
    ASSERT_TRUE(pass("-" + name));
    const Diagnosis after = diagnose({}, enter);
    ASSERT_TRUE(pass("+" + name));
    Rows red = after.missing;
    for (const auto& row : before.missing) red.erase(row);
    red.erase("launch");  // Red or not, as the policy asks for the controller.
    EXPECT_EQ(red, Rows{name});
    EXPECT_THAT(after.why.at(name), ::testing::HasSubstr("not passed down to"));
  }
}

}  // namespace
}  // namespace fnrun::test
