// What a launch does to the program that launches, and what others can do to a supervisor: nothing.
#include <gmock/gmock.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>

#include "tests/support/sandbox_fixture.h"

namespace fnrun::test {
namespace {

std::string line_of(const std::filesystem::path& file) {
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  return line;
}

class LaunchingProgram : public SandboxTest {
 protected:
  // Our child that was started in this role, or 0.
  static pid_t child_named(const std::string& role) {
    std::ifstream children("/proc/self/task/" + std::to_string(::gettid()) + "/children");
    for (pid_t pid = 0; children >> pid;)
      if (line_of("/proc/" + std::to_string(pid) + "/cmdline").starts_with(role)) return pid;
    return 0;
  }
  // A child's words appear a moment after its exec has let us go on, and nothing tells when.
  static pid_t await_child_named(const std::string& role) {
    const auto bound = std::chrono::steady_clock::now() + std::chrono::milliseconds(kBoundMs);
    for (;;) {
      if (const pid_t pid = child_named(role); pid != 0) return pid;
      if (std::chrono::steady_clock::now() > bound) return 0;
      ::sched_yield();
    }
  }
};

// The kernel gives the OOM score to every process that shares the memory, and the child of a launch
// does so for a moment.
TEST_F(LaunchingProgram, LaunchesLeaveTheSupervisorsOomScoreAlone) {
  const std::string before = line_of("/proc/self/oom_score_adj");
  const isolation::Plan of_actor = plan(actor({"pause"}));
  for (int i = 0; i < 5; ++i) {
    const Running running = launch(of_actor);
    EXPECT_EQ(line_of("/proc/self/oom_score_adj"), before);
    const auto init = "/proc/" + std::to_string(running.sandbox.pid()) + "/oom_score_adj";
    EXPECT_GE(std::stoi(line_of(init)), 500);
  }
}

TEST_F(LaunchingProgram, KilledJanitorIsReplacedWithTheNextSandbox) {
  if (host.cgroup.dir.empty())
    GTEST_SKIP() << "no janitor without a cgroup: " << host.cgroup.no_dir_because;
  const pid_t janitor = await_child_named("janitor");
  ASSERT_NE(janitor, 0);
  const isolation::UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, janitor, 0)));
  ASSERT_EQ(::kill(janitor, SIGKILL), 0);
  ASSERT_TRUE(wait_readable(pidfd.get()));
  EXPECT_EQ(run(actor({"echo"})).out, "");
  const pid_t next = await_child_named("janitor");
  EXPECT_NE(next, 0);
  EXPECT_NE(next, janitor);
}

// It would wait for ever for one that cannot run; so it kills it.
TEST_F(LaunchingProgram, StoppedJanitorDoesNotHoldUpTheEnd) {
  if (host.cgroup.dir.empty())
    GTEST_SKIP() << "no janitor without a cgroup: " << host.cgroup.no_dir_because;
  const pid_t janitor = await_child_named("janitor");
  ASSERT_NE(janitor, 0);
  ASSERT_EQ(::kill(janitor, SIGSTOP), 0);
  launcher.reset();
  EXPECT_EQ(child_named("janitor"), 0);
}

}  // namespace
}  // namespace fnrun::test
