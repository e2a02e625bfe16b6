// Other processes: seeing, signalling and outnumbering them.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>

#include "tests/security/attempts.h"

namespace fnrun::test {
namespace {

using testing::AnyOf;
using testing::Each;
using testing::HasSubstr;
using testing::StartsWith;

class Processes : public Attempts {};

TEST_F(Processes, OnlyOnesOwnAreVisible) {
  const Words inside_proc = split(inside({"list", "/proc"}), ' ');
  Words pids;
  Words others;
  for (std::size_t i = 1; i < inside_proc.size(); ++i)
    (inside_proc[i].find_first_not_of("0123456789") == std::string::npos ? pids : others)
        .push_back(inside_proc[i]);
  EXPECT_THAT(pids, testing::ElementsAre("1", "2"));
  EXPECT_THAT(others, Each(AnyOf("self", "thread-self", "mounts")));
  EXPECT_THAT(outside({"list", "/proc"}), HasSubstr(" " + std::to_string(::getpid()) + " "));
}

TEST_F(Processes, HostPidsAreNobody) {
  const Words at_us = call(SYS_kill, {std::to_string(::getpid()), "0"});
  EXPECT_EQ(outside(at_us), "ok 0");
  EXPECT_EQ(inside(at_us), "errno ESRCH");
  EXPECT_EQ(inside(call(SYS_kill, {"2", "0"})), "ok 0") << "itself";
}

TEST_F(Processes, TheInitSurvivesSignals) {
  // Landlock refuses, where it knows of signals; otherwise the kernel takes the signal and drops
  // it. That the attempt then says something is the proof.
  for (const int signal : {SIGKILL, SIGTERM, SIGSTOP, SIGSEGV})
    EXPECT_EQ(inside(call(SYS_kill, {"1", std::to_string(signal)})),
              host.landlock_abi >= 6 ? "errno EPERM" : "ok 0")
        << signal;
  EXPECT_THAT(inside(call(SYS_kill, {"-1", "9"})), AnyOf("ok 0", "errno ESRCH"));
  EXPECT_EQ(inside(call(SYS_kill, {"2", "9"})), "signal KILL") << "the same signal to itself";
}

TEST_F(Processes, TheInitShowsNothingOfItself) {
  for (const char* file : {"mem", "environ", "maps", "auxv", "io", "syscall", "stack"}) {
    EXPECT_THAT(inside({"read", std::string("/proc/1/") + file}), StartsWith("errno E")) << file;
    EXPECT_THAT(inside(open_file(std::string("/proc/1/") + file, O_RDWR)), StartsWith("errno E"));
  }
  for (const char* file : {"root", "cwd", "exe", "ns/user", "ns/mnt", "ns/pid"}) {
    EXPECT_EQ(inside(call(SYS_readlink, {std::string("s:/proc/1/") + file, "b:", "4096"})),
              "errno EACCES")
        << file;
    EXPECT_THAT(inside(call(SYS_readlink, {std::string("s:/proc/self/") + file, "b:", "4096"})),
                StartsWith("ok"))
        << file;
  }
  for (const char* folder : {"fd", "fdinfo", "map_files", "root", "root/proc", "cwd"})
    EXPECT_THAT(inside({"list", std::string("/proc/1/") + folder}), StartsWith("errno E"))
        << folder;
  EXPECT_THAT(inside({"read", "/proc/self/environ"}), StartsWith("ok"));
  EXPECT_THAT(inside({"read", "/proc/self/maps"}), StartsWith("ok"));
}

TEST_F(Processes, TheInitIsNamedConfinedAndPowerless) {
  const Staying staying = stay();
  const std::string init =
      read_text("/proc/" + std::to_string(staying.running.sandbox.pid()) + "/status");
  EXPECT_EQ(field(init, "Name"), "fnrun-init");
  EXPECT_EQ(field(init, "Seccomp"), "2");
  EXPECT_EQ(field(init, "NoNewPrivs"), "1");
  for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"})
    EXPECT_EQ(field(init, set), "0000000000000000") << set;
  EXPECT_EQ(field(read_text("/proc/self/status"), "Seccomp"), "0") << "not just everywhere";
}

TEST_F(Processes, AnInitThatCannotConfineItselfStartsNothing) {
  isolation::Plan broken = plan(attempt({"stay"}));
  broken.init_seccomp.clear();
  const isolation::SetupError error = failure(broken);
  EXPECT_EQ(error.step, isolation::SetupStep::kSeccomp);
  EXPECT_EQ(error.index, 1);
}

TEST_F(Processes, AForkBombMeetsTheLimit) {
  policies::Policy few = strict;
  few.limits.processes_max = 20;
  for (const char* bomb : {"fork-bomb", "thread-bomb"}) {
    // Itself is one of the twenty.
    EXPECT_EQ(verdict(run(plan(attempt({bomb, "100"}), few))), "errno EAGAIN 19") << bomb;
    EXPECT_EQ(verdict(run(plan(attempt({bomb, "19"}), few))), "ok 19") << bomb;
    EXPECT_EQ(outside({bomb, "100"}), "ok 100") << bomb;
    const Words shipped = split(inside({bomb, "2000"}), ' ');
    ASSERT_EQ(shipped.size(), 3U);
    EXPECT_EQ(shipped[1], "EAGAIN");
    EXPECT_EQ(std::stoul(shipped[2]), strict.limits.processes_max - 1) << bomb;
  }
}

TEST_F(Processes, TwoSandboxesDoNotShareTheLimitOfProcesses) {
  policies::Policy few = strict;
  few.limits.processes_max = 2;
  const Staying one = stay(plan(attempt({"stay"}), few));
  EXPECT_EQ(verdict(run(plan(attempt({"fork-bomb", "5"}), few))), "errno EAGAIN 1");
}

TEST_F(Processes, NamespacesAreItsOwn) {
  for (const char* name : {"cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"}) {
    if (name == std::string("time") && !host.time_namespace) continue;
    const std::string path = std::string("/proc/self/ns/") + name;
    const Staying staying = stay();
    char theirs[64] = {}, ours[64] = {};
    const std::string seen =
        "/proc/" + std::to_string(staying.handler_pid) + "/ns/" + std::string(name);
    ASSERT_GT(::readlink(path.c_str(), ours, sizeof ours - 1), 0);
    // Without privilege its /proc entries are not ours to read: other user namespace.
    if (::readlink(seen.c_str(), theirs, sizeof theirs - 1) < 0) {
      EXPECT_FALSE(host.privileged) << name;
      continue;
    }
    EXPECT_STRNE(theirs, ours) << name;
  }
}

TEST_F(Processes, UptimeIsItsOwn) {
  if (!host.time_namespace) GTEST_SKIP() << "this kernel has no time namespaces";
  const Words ours = split(outside({"clocks"}), ' ');
  const Words theirs = split(inside({"clocks"}), ' ');
  ASSERT_EQ(theirs.size(), 3U);
  // Not a measure of time: the host has been up for as long as it took to build this.
  if (std::stol(ours[1]) < 120) GTEST_SKIP() << "this host has only just started";
  EXPECT_LT(std::stol(theirs[1]), 60);
  EXPECT_LT(std::stol(theirs[2]), 60);
}

}  // namespace
}  // namespace fnrun::test
