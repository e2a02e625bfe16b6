// A supervisor killed with SIGKILL leaves nothing: no process, no cgroup, no mount.
//
// The test is a subreaper: whatever outlives the supervisor becomes its child, and the init of a
// sandbox cannot be reaped before everything inside is gone. "No child left" is therefore an event,
// not a guess, and the janitor is waited for by the same means.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <random>

#include "tests/support/sandbox_fixture.h"

extern char** environ;

namespace fnrun::test {
namespace {

class SupervisorDeath : public SandboxTest {
 protected:
  void SetUp() override {
    SandboxTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    launcher.reset();  // Supervisors of their own are what dies here.
    ASSERT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
  }
  void TearDown() override {
    ::prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
    SandboxTest::TearDown();
  }

  struct Supervisor {
    pid_t pid = -1;
    isolation::UniqueFd pidfd;
    isolation::UniqueFd said;
  };

  // Started, and about to launch.
  Supervisor start(const std::string& call = "", bool let_go = false) {
    std::array<int, 2> ready{};
    EXPECT_EQ(::pipe2(ready.data(), O_CLOEXEC), 0);
    const isolation::UniqueFd theirs(ready[1]);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, theirs.get(), 1);
    std::string program = tests_dir() + "/crash_supervisor";
    std::string lock = (temp_.path() / "run/uids.lock").string();
    std::string marker = marker_;
    std::string number = call;
    std::string go = "go";
    std::array<char*, 6> argv{program.data(),
                              marker.data(),
                              lock.data(),
                              call.empty() ? nullptr : number.data(),
                              let_go ? go.data() : nullptr,
                              nullptr};
    Supervisor supervisor;
    EXPECT_EQ(
        ::posix_spawn(&supervisor.pid, program.c_str(), &actions, nullptr, argv.data(), environ),
        0);
    ::posix_spawn_file_actions_destroy(&actions);
    supervisor.pidfd =
        isolation::UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, supervisor.pid, 0)));
    supervisor.said = isolation::UniqueFd(ready[0]);
    return supervisor;
  }

  // Reaps until there is no child any more. Bounded: a child that stays is the failure looked for.
  static bool reap_everything(pid_t supervisor, int& supervisors_status) {
    for (;;) {
      siginfo_t info{};
      if (::waitid(P_ALL, 0, &info, WEXITED | WNOWAIT | WNOHANG) != 0) return errno == ECHILD;
      if (info.si_pid != 0) {
        int status = 0;
        ::waitpid(info.si_pid, &status, 0);
        if (info.si_pid == supervisor) supervisors_status = status;
        continue;
      }
      // Somebody lives: wait for one of them.
      const Ledger now = take_ledger("");
      if (now.children.empty()) continue;
      const auto pid = static_cast<pid_t>(std::stol(*now.children.begin()));
      const isolation::UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
      if (!pidfd || !wait_readable(pidfd.get())) return false;
    }
  }

  void expect_nothing_left(const Supervisor& supervisor) {
    int status = 0;
    ASSERT_TRUE(reap_everything(supervisor.pid, status)) << take_ledger(host.cgroup.dir);
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
    EXPECT_TRUE(processes_marked(marker_).empty());
    EXPECT_TRUE(cgroups_of(supervisor.pid, host.cgroup.dir).empty());
  }

  std::string tests_dir() const { return handlers_dir() + "/.."; }

  // In nobody else's command line, ours included.
  const std::string marker_ = "fnrun-marker-" + std::to_string(std::random_device{}());

 private:
  TempDir temp_;
};

TEST_F(SupervisorDeath, AtARandomMomentLeavesNothing) {
  std::mt19937 random(20261121);  // NOLINT(cert-msc51-cpp): the same moments each time.
  std::size_t seen = 0;
  for (int round = 0; round < 200; ++round) {
    Supervisor supervisor = start();
    const bool from_start = round % 4 == 0;  // Some before its launcher is made, most after.
    if (!from_start) {
      ASSERT_TRUE(wait_readable(supervisor.said.get()));
    }
    // The experiment's input, not a verdict: when the supervisor is to die.
    const timespec moment{0, static_cast<long>(random() % (from_start ? 20'000 : 30'000)) * 1'000};
    pollfd ends{supervisor.pidfd.get(), POLLIN, 0};
    ASSERT_EQ(::ppoll(&ends, 1, &moment, nullptr), 0) << "the supervisor ended by itself";
    if (round % 8 == 1) seen += processes_marked(marker_).size();
    ASSERT_EQ(::kill(supervisor.pid, SIGKILL), 0);
    expect_nothing_left(supervisor);
    if (HasFailure()) FAIL() << "in round " << round;
  }
  EXPECT_GT(seen, 0U);  // The control: there were handlers to be left.
}

struct Moment {
  const char* name;
  long call;
  bool let_go = false;  // See held_process().
};
class SupervisorDeathIn : public SupervisorDeath, public ::testing::WithParamInterface<Moment> {};
INSTANTIATE_TEST_SUITE_P(
    , SupervisorDeathIn,
    ::testing::Values(Moment{"MakingACgroup", SYS_mkdirat}, Moment{"Socketpair", SYS_socketpair},
                      Moment{"Clone3", SYS_clone3}, Moment{"EnteringCapset", SYS_capset, true},
                      Moment{"ExecOfTheInit", SYS_execveat, true},
                      Moment{"SendingThePlan", SYS_sendmsg},
                      Moment{"ReceivingThePlan", SYS_recvmsg}, Moment{"Unshare", SYS_unshare},
                      Moment{"BuildingTheRoot", SYS_fsopen}, Moment{"PivotRoot", SYS_pivot_root},
                      Moment{"Setsid", SYS_setsid}, Moment{"Signalfd", SYS_signalfd4},
                      Moment{"LoadingSeccomp", SYS_seccomp},
                      Moment{"ExecOfTheHandler", SYS_execve}),
    [](const auto& test) { return std::string(test.param.name); });

TEST_P(SupervisorDeathIn, ThisCallLeavesNothing) {
  const Supervisor supervisor = start(std::to_string(GetParam().call), GetParam().let_go);
  expect_nothing_left(supervisor);
}

}  // namespace
}  // namespace fnrun::test
