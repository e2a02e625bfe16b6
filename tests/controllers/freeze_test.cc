// Freezing, and the corner of the cgroup tree: what stays of supervisors that died, and what does
// not. Needs cgroup v2 with its core files only.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "isolation/cgroup/tree.h"
#include "tests/support/sandbox_fixture.h"

namespace fnrun::isolation {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

class Group : public test::SandboxTest {
 protected:
  void SetUp() override {
    SandboxTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    if (host.cgroup.dir.empty()) GTEST_SKIP() << host.cgroup.no_dir_because;
    strict.limits.kill_timeout = 1min;
    strict.limits.start_timeout = 1min;
  }

  // greedy.cc, asked one thing and waited for.
  test::Running greedy(const std::string& event) {
    const char* told = ::secure_getenv("FNRUN_TEST_BIN");
    test::Running running =
        launch(plan({told != nullptr ? std::string(told) + "/handlers/greedy" : FNRUN_GREEDY}));
    ask(running, event);
    return running;
  }
  static void ask(const test::Running& running, const std::string& event) {
    const std::string line = event + "\n";
    EXPECT_EQ(::write(running.ends.to_stdin.get(), line.data(), line.size()), ssize_t(line.size()));
    ASSERT_TRUE(test::wait_readable(running.ends.from_stdout.get()));
    char answer[64];
    EXPECT_GT(::read(running.ends.from_stdout.get(), answer, sizeof answer), 0);
  }
  static std::chrono::microseconds cpu(test::Running& running) {
    return running.sandbox.cpu_time().value().total();
  }
  static void end(test::Running& running) {
    running.sandbox.kill(KillReason::kShutdown);
    ASSERT_TRUE(test::wait_readable(running.sandbox.pidfd()));
    EXPECT_TRUE(running.sandbox.reap());
  }
};

TEST_F(Group, AFrozenSandboxUsesNoCpuAndGoesOnOnceThawed) {
  test::Running frozen = greedy("burn_on");
  test::Running clock = greedy("hello");
  ASSERT_TRUE(frozen.sandbox.freeze(1min));
  const auto before = cpu(frozen);
  ask(clock, "burn 1000");  // A second that somebody else spends.
  EXPECT_EQ(cpu(frozen), before);
  ASSERT_TRUE(frozen.sandbox.thaw());
  // The other side of it: the same second, thawed, is used.
  ask(clock, "burn 1000");
  EXPECT_GT(cpu(frozen), before);
  end(frozen);
  end(clock);
}

TEST_F(Group, AFrozenSandboxIsKilledAsAnyOther) {
  test::Running frozen = greedy("burn_on");
  ASSERT_TRUE(frozen.sandbox.freeze(1min));
  end(frozen);
}

TEST_F(Group, FreezingTwiceAndThawingTwiceIsNoError) {
  test::Running frozen = greedy("hello");
  ASSERT_TRUE(frozen.sandbox.freeze(1min));
  ASSERT_TRUE(frozen.sandbox.freeze(1min));
  ASSERT_TRUE(frozen.sandbox.thaw());
  ASSERT_TRUE(frozen.sandbox.thaw());
  ask(frozen, "hello");
  end(frozen);
}

TEST_F(Group, MemoryIsTakenBackWhileFrozen) {
  if (!host.cgroup.has(policies::Layer::kMemory) ||
      parse_kernel_release(host.kernel_release) < std::pair{5, 19})
    GTEST_SKIP() << "no memory controller here, or a kernel before 5.19";
  test::Running frozen = greedy("hello");
  ASSERT_TRUE(frozen.sandbox.freeze(1min));
  const auto reclaimed = frozen.sandbox.reclaim(policies::mebibytes(1));
  EXPECT_TRUE(reclaimed) << reclaimed.error().to_string();
  ASSERT_TRUE(frozen.sandbox.thaw());
  ask(frozen, "hello");
  end(frozen);
}

// A corner as a supervisor leaves it that was killed together with its janitor.
class Leftover {
 public:
  Leftover(const std::string& base, const std::string& name) : corner_(base + "/" + name) {
    fs::create_directory(corner_);
    fs::create_directory(corner_ + "/sandbox-1");
    inhabitant_ = ::fork();
    if (inhabitant_ == 0) {
      for (;;) ::pause();
    }
    std::ofstream(corner_ + "/sandbox-1/cgroup.procs") << inhabitant_;
  }
  ~Leftover() {
    ::kill(inhabitant_, SIGKILL);
    ::waitpid(inhabitant_, nullptr, 0);
    ::rmdir((corner_ + "/sandbox-1").c_str());
    ::rmdir(corner_.c_str());
  }
  Leftover(const Leftover&) = delete;
  Leftover& operator=(const Leftover&) = delete;
  [[nodiscard]] const std::string& corner() const { return corner_; }
  [[nodiscard]] bool lives() const {
    siginfo_t info{};
    return ::waitid(P_PID, static_cast<id_t>(inhabitant_), &info, WEXITED | WNOHANG | WNOWAIT) ==
               0 &&
           info.si_pid == 0;
  }

 private:
  std::string corner_;
  pid_t inhabitant_;
};

TEST_F(Group, LeftoversOfTheDeadAreSweptAtStartAndThoseOfTheLivingAreNot) {
  const std::string pid = std::to_string(::getpid());
  const Leftover dead(host.cgroup.dir, "fnrun-" + pid + "-0000dead");
  const Leftover living(host.cgroup.dir, "fnrun-" + pid + "-00000000");
  const Leftover foreign(host.cgroup.dir, "fnrun-other-" + pid + "-0000dead");
  const UniqueFd lock(::open(living.corner().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  ASSERT_EQ(::flock(lock.get(), LOCK_EX | LOCK_NB), 0);
  test::Running ours = greedy("hello");  // Of the launcher that lives.
  {
    const test::TempDir temp;
    auto second = Launcher::make(host, {.uid_lock_file = (temp.path() / "lock").string()});
    ASSERT_TRUE(second) << second.error().to_string();
  }
  EXPECT_FALSE(fs::exists(dead.corner()));
  EXPECT_FALSE(dead.lives());
  EXPECT_TRUE(fs::exists(living.corner() + "/sandbox-1"));
  EXPECT_TRUE(living.lives());
  EXPECT_TRUE(foreign.lives()) << "no name of a corner";
  ask(ours, "hello");
  end(ours);
}

TEST_F(Group, AGroupThatCouldNotBeRemovedIsTriedAgainAtTheNextLaunch) {
  test::Running first = greedy("hello");
  const auto groups = test::cgroups_of(::getpid(), host.cgroup.dir);
  std::string group;
  for (const std::string& one : groups)
    if (one.find("/sandbox-") != std::string::npos) group = one;
  ASSERT_FALSE(group.empty());
  const pid_t squatter = ::fork();
  if (squatter == 0) {
    for (;;) ::pause();
  }
  // After the kill, which would take it too.
  first.sandbox.kill(KillReason::kShutdown);
  ASSERT_TRUE(test::wait_readable(first.sandbox.pidfd()));
  const std::string path = group.starts_with("/") ? group : host.cgroup.dir + "/" + group;
  const UniqueFd procs(::open((path + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
  const std::string pid = std::to_string(squatter);
  ASSERT_EQ(::write(procs.get(), pid.data(), pid.size()), ssize_t(pid.size()))
      << path << ": " << ::strerrordesc_np(errno);
  ASSERT_TRUE(first.sandbox.reap());
  { const auto gone = std::move(first); }
  EXPECT_TRUE(fs::exists(path)) << "the squatter keeps it";
  ::kill(squatter, SIGKILL);
  ::waitpid(squatter, nullptr, 0);
  test::Running second = greedy("hello");
  EXPECT_FALSE(fs::exists(path));
  end(second);
}

TEST_F(Group, SandboxesWithoutNumberLeaveNothing) {
  const char* told = ::secure_getenv("FNRUN_TEST_SANDBOXES");
  const int count = told != nullptr ? std::atoi(told) : 200;
  const Plan plan_of_all = plan({FNRUN_GREEDY});
  const auto one = [&] {
    test::Running running = launch(plan_of_all);
    end(running);
  };
  const auto resident_kib = [] {
    std::ifstream file("/proc/self/statm");
    long pages = 0;
    file >> pages >> pages;
    return pages * 4;
  };
  for (int i = 0; i < 100; ++i) one();  // Whatever is made once is made now.
  const test::Ledger before = test::take_ledger(host.cgroup.dir);
  const long resident_before = resident_kib();
  for (int i = 0; i < count; ++i) one();
  EXPECT_EQ(test::take_ledger(host.cgroup.dir), before);
  EXPECT_LE(resident_kib(), resident_before + 1'024);
}

}  // namespace
}  // namespace fnrun::isolation
