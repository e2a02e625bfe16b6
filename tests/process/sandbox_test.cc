// A sandbox from launch to end: what the handler is given, how its end is told, how it is killed.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <optional>
#include <set>

#include "tests/support/sandbox_fixture.h"

namespace fnrun::test {
namespace {

using isolation::KillReason;

class Sandbox : public SandboxTest {
 protected:
  // Reads exactly `count` bytes of what the handler says.
  static std::string hear(const Running& running, std::size_t count) {
    std::string said(count, '\0');
    for (std::size_t got = 0; got < count;) {
      if (!wait_readable(running.ends.from_stdout.get())) return "silence";
      const ssize_t n =
          ::read(running.ends.from_stdout.get(), said.data() + got, said.size() - got);
      if (n <= 0) return "end after " + said.substr(0, got);
      got += static_cast<std::size_t>(n);
    }
    return said;
  }
};

TEST_F(Sandbox, PassesStdioArgumentsAndExitStatus) {
  const Ran echoed = run(plan(actor({"echo"})), "a request\n");
  EXPECT_EQ(echoed.out, "a request\n");
  EXPECT_EQ(echoed.err, "");
  EXPECT_EQ(run(actor({"say", "one", "two words"})).err, "one\ntwo words\n");
  for (const int code : {0, 1, 7, 125, 255}) {
    const Ran ran = run(actor({"exit", std::to_string(code)}));
    ASSERT_TRUE(ran.exit.wait_status && WIFEXITED(*ran.exit.wait_status)) << code;
    EXPECT_EQ(WEXITSTATUS(*ran.exit.wait_status), code);
    EXPECT_EQ(ran.exit.killed_for, KillReason::kNone);
  }
}

TEST_F(Sandbox, TellsBySignalFromExitCode) {
  for (const int signal : {SIGKILL, SIGSEGV, SIGTERM, SIGSYS}) {
    const Ran ran = run(actor({"signal", std::to_string(signal)}));
    ASSERT_TRUE(ran.exit.wait_status && WIFSIGNALED(*ran.exit.wait_status)) << signal;
    EXPECT_EQ(WTERMSIG(*ran.exit.wait_status), signal);
  }
  const Ran ran = run(actor({"exit", std::to_string(128 + SIGKILL)}));
  EXPECT_TRUE(WIFEXITED(ran.exit.wait_status.value()));
}

TEST_F(Sandbox, HandlerHasOnlyStdioOpen) {
  const isolation::UniqueFd inheritable(::dup(0));  // Not close-on-exec: a careless host program.
  ASSERT_TRUE(inheritable);
  EXPECT_EQ(run(actor({"descriptors"})).out, "0 1 2 ");
}

TEST_F(Sandbox, EnvironmentIsThePlansWithTheLaunchsOwnInPlaceOfIt) {
  ASSERT_EQ(::setenv("FNRUN_TEST_SECRET", "of the supervisor", 1), 0);
  const isolation::Plan of_actor = plan(actor({"environment"}));
  Pipes pipes;
  const std::vector<std::string> extra{"HOME=/elsewhere", "NAME=value=with="};
  auto sandbox = launcher->launch(of_actor, std::move(pipes.theirs), extra);
  ASSERT_TRUE(sandbox) << sandbox.error().to_string();
  const std::string said = read_to_end(pipes.ours.from_stdout.get());
  ::unsetenv("FNRUN_TEST_SECRET");
  EXPECT_THAT(said, testing::HasSubstr("HOME=/elsewhere\n"));
  EXPECT_THAT(said, testing::HasSubstr("NAME=value=with=\n"));
  EXPECT_THAT(said, testing::HasSubstr("TMPDIR=/tmp\n"));
  EXPECT_THAT(said, testing::Not(testing::HasSubstr("HOME=/tmp")));
  EXPECT_THAT(said, testing::Not(testing::HasSubstr("SECRET")));
}

TEST_F(Sandbox, StdoutEndsWithTheHandlerAndNotWithTheInit) {
  Running running = launch(plan(actor({"exit", "0"})));
  // End of file arrives though nobody has reaped, and the lifeline is still held.
  EXPECT_EQ(read_to_end(running.ends.from_stdout.get()), "");
  ASSERT_TRUE(wait_readable(running.sandbox.ended_fd()));
  ASSERT_TRUE(wait_readable(running.sandbox.pidfd()));
  EXPECT_TRUE(running.sandbox.reap());
}

TEST_F(Sandbox, KillEndsStoppedDetachedAndSignalIgnoringDescendants) {
  policies::Policy detaching = shipped_policy("compat");  // setsid() and setpgid() are allowed.
  for (const policies::Policy& policy : {strict, detaching}) {
    Running running = launch(plan(actor({"tree"}), policy));
    // All are alive before: the control. The order of the letters is that of the tree's growing.
    ASSERT_EQ(hear(running, 6), "sigod.");
    running.sandbox.kill(KillReason::kDeadline);
    running.sandbox.kill(
        KillReason::kCancelled);  // Again: nothing changes, the first reason stays.
    ASSERT_TRUE(wait_readable(running.sandbox.pidfd()));
    // All ends of the pipe are gone with the last of them.
    EXPECT_EQ(read_to_end(running.ends.from_stdout.get()), "");
    const auto exit = running.sandbox.reap();
    ASSERT_TRUE(exit) << exit.error().to_string();
    EXPECT_EQ(exit->killed_for, KillReason::kDeadline);
    EXPECT_FALSE(exit->wait_status);
    EXPECT_EQ(exit->use.cpu.has_value(), !host.cgroup.dir.empty());
  }
}

TEST_F(Sandbox, HandlersEndTakesWhatItLeftBehind) {
  // A child of the handler holds stdout and is stopped; the handler leaves.
  Running orphaning = launch(plan({"/bin/sh", "-c", "sh -c 'kill -STOP $$' & exit 3"}));
  EXPECT_EQ(read_to_end(orphaning.ends.from_stdout.get()), "");
  ASSERT_TRUE(wait_readable(orphaning.sandbox.pidfd()));
  const auto exit = orphaning.sandbox.reap();
  ASSERT_TRUE(exit && exit->wait_status);
  EXPECT_EQ(WEXITSTATUS(*exit->wait_status), 3);
}

TEST_F(Sandbox, DestroyingItKillsWhatRunsInside) {
  isolation::UniqueFd heard;
  {
    Running running = launch(plan(actor({"tree"})));
    ASSERT_EQ(hear(running, 6), "sigod.");
    heard = std::move(running.ends.from_stdout);
  }
  EXPECT_EQ(read_to_end(heard.get()), "");  // TearDown's ledger sees the rest.
}

// Nothing here can be made unkillable; but no time at all is too little for anybody to end in.
TEST_F(Sandbox, WhatWasStillThereWhenItsOwnerWentIsReapedAtALaterLaunch) {
  strict.limits.kill_timeout = std::chrono::milliseconds(0);
  id_t pid = 0;
  siginfo_t info{};
  const auto is_zombie = [&] {
    return ::waitid(P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
  };
  // On a busy host one may be gone all the same.
  for (int i = 0; i < 100 && (pid == 0 || !is_zombie()); ++i) {
    std::optional<Running> running = launch(plan(actor({"pause"})));
    pid = static_cast<id_t>(running->sandbox.pid());
    const isolation::UniqueFd pidfd(::fcntl(running->sandbox.pidfd(), F_DUPFD_CLOEXEC, 0));
    running.reset();
    EXPECT_TRUE(wait_readable(pidfd.get()));
  }
  ASSERT_TRUE(is_zombie()) << "the control";
  strict.limits.kill_timeout = std::chrono::seconds(10);
  for (std::uint32_t i = 0; i < 2 * kTestUids; ++i)
    EXPECT_TRUE(run(plan(actor({"exit", "0"}))).exit.wait_status);
  EXPECT_EQ(::waitid(P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT), -1);
  EXPECT_EQ(errno, ECHILD);
}

TEST_F(Sandbox, ClosingTheLifelineEndsTheSandbox) {
  Running running = launch(plan(actor({"tree"})));
  ASSERT_EQ(hear(running, 6), "sigod.");
  // As the kernel does when the supervisor dies: the other end of the init's socket goes.
  ::close(::dup(running.sandbox.ended_fd()));  // Closing a copy is not hanging up: the control.
  EXPECT_FALSE(wait_readable(running.sandbox.pidfd(), 0));
  const isolation::UniqueFd empty(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  ASSERT_EQ(::dup3(empty.get(), running.sandbox.ended_fd(), O_CLOEXEC), running.sandbox.ended_fd());
  EXPECT_TRUE(wait_readable(running.sandbox.pidfd()));
  EXPECT_EQ(running.sandbox.killed_for(), KillReason::kNone);
  EXPECT_TRUE(running.sandbox.reap());
}

TEST_F(Sandbox, EachPrivilegedSandboxHasAUidOfItsOwn) {
  if (!host.privileged) GTEST_SKIP() << "an unprivileged supervisor has one uid for all";
  const isolation::Plan waiting = plan(actor({"pause"}));
  std::vector<Running> all;
  std::set<std::uint32_t> uids;
  for (std::uint32_t i = 0; i < kTestUids; ++i) {
    all.push_back(launch(waiting));
    uids.insert(all.back().sandbox.slot_uid().value());
  }
  EXPECT_EQ(uids.size(), kTestUids);
  EXPECT_FALSE(uids.contains(0));
  const isolation::SetupError none_left = failure(waiting);
  EXPECT_EQ(none_left.step, isolation::SetupStep::kUidLease);
  all.pop_back();  // One given back is one to have.
  EXPECT_TRUE(launch(waiting).sandbox.slot_uid().has_value());
}

TEST_F(Sandbox, TwoHundredLaunchesLeaveNothing) {
  const isolation::Plan good = plan(actor({"exit", "0"}));
  const isolation::Plan killed = plan(actor({"pause"}));
  isolation::Plan broken = plan(actor({"exit", "0"}));
  broken.policy.working_directory = "/nonexistent";
  const Ledger before = take_ledger(host.cgroup.dir);
  for (int i = 0; i < 200; ++i) {
    if (i % 3 == 0) {
      EXPECT_TRUE(run(good).exit.wait_status.has_value());
    } else if (i % 3 == 1) {
      Running running = launch(killed);
      running.sandbox.kill(KillReason::kCancelled);  // Before or after it said anything.
    } else {
      EXPECT_EQ(failure(broken).step, isolation::SetupStep::kWorkingDirectory);
    }
  }
  // With kTestUids leases in all, one that stayed would have been missed by now.
  EXPECT_EQ(take_ledger(host.cgroup.dir), before);
}

}  // namespace
}  // namespace fnrun::test
