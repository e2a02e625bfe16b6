// A call that the policy kills for, from wherever in a sandbox it is made: it never returns, never
// happens, ends the process that made it and no other, and is told by name and arguments.
//
// Each beside its twin, the same with a call that is allowed. Where the kernel alone kills
// (host.seccomp_listener), nothing can be told; the tests of the telling are skipped.
#include <gmock/gmock.h>
#include <linux/audit.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "tests/security/attempts.h"

namespace fnrun::test {
namespace {

using isolation::ForbiddenCall;
using policies::SyscallAction;
using testing::HasSubstr;

const Words kForbidden = call(SYS_ptrace, {"16", "1", "0x123456789abcdef0", "b:"});
const Words kAllowed = call(SYS_getpid);

Words with(Words prefix, const Words& words) {
  prefix.insert(prefix.end(), words.begin(), words.end());
  return prefix;
}

// Strict, where making a folder kills: a call that leaves something to be seen.
policies::Policy no_folders(policies::Policy policy) {
  for (auto& rule : policy.seccomp.rules)
    std::erase_if(rule.calls, [](const auto& name) { return name.starts_with("mkdir"); });
  policy.seccomp.rules.push_back({"no-folders", {}, {"mkdir", "mkdirat"}, {}, "a test"});
  return policy;
}
const Words kMakeFolder{"/bin/sh", "-c", "read go; mkdir /tmp/made; echo $?; ls -d /tmp/*"};

class Forbidden : public Attempts {
 protected:
  void SetUp() override {
    Attempts::SetUp();
    if (!IsSkipped() && !HasFatalFailure() && !host.seccomp_listener)
      GTEST_SKIP() << "no seccomp user notification here: the kernel kills and says nothing";
  }
  Ran attempted(const Words& words) { return run(plan(attempt(words))); }
  // The handler goes on, and says so.
  void expect_child(const Words& words, const std::string& said) {
    const Ran ran = attempted(words);
    EXPECT_EQ(verdict(ran), said) << words[0];
    ASSERT_TRUE(ran.exit.forbidden) << words[0];
    EXPECT_EQ(ran.exit.forbidden->by, ForbiddenCall::By::kChild);
    EXPECT_EQ(ran.exit.forbidden->name(), "ptrace");
    EXPECT_EQ(ran.exit.forbidden->count, 1U);
  }
};

TEST_F(Forbidden, OfTheHandlerIsToldWithItsArguments) {
  const Ran ran = attempted(kForbidden);
  EXPECT_EQ(verdict(ran), "forbidden ptrace");
  EXPECT_EQ(ran.out, "");
  ASSERT_TRUE(ran.exit.forbidden);
  const ForbiddenCall& told = *ran.exit.forbidden;
  EXPECT_EQ(told.number, SYS_ptrace);
  EXPECT_EQ(told.arch, std::uint32_t{AUDIT_ARCH_X86_64});
  EXPECT_EQ(told.arch_name(), "x86_64");
  EXPECT_EQ(told.args[0], 16U);
  EXPECT_EQ(told.args[1], 1U);
  EXPECT_EQ(told.args[2], 0x123456789abcdef0U);
  EXPECT_NE(told.args[3], 0U);
  EXPECT_EQ(told.args[4], 0U);
  EXPECT_NE(told.instruction_pointer, 0U);
  EXPECT_EQ(told.count, 1U);
  EXPECT_THAT(told.to_string(), testing::StartsWith("ptrace(0x10, 0x1, 0x123456789abcdef0, 0x"));
  EXPECT_EQ(isolation::forbidding_rule(strict.seccomp, told), "tripwire-other-processes");
  const Ran twin = attempted(kAllowed);
  EXPECT_THAT(verdict(twin), testing::StartsWith("ok"));
  EXPECT_FALSE(twin.exit.forbidden);
}

TEST_F(Forbidden, OfAnyThreadEndsTheWholeHandler) {
  for (const char* where : {"in-thread", "in-last-thread"}) {
    const Ran ran = attempted(with({where}, kForbidden));
    EXPECT_EQ(verdict(ran), "forbidden ptrace") << where;
    EXPECT_EQ(ran.out, "") << where;
    EXPECT_THAT(verdict(attempted(with({where}, kAllowed))), HasSubstr("ok")) << where;
  }
}

TEST_F(Forbidden, OfAChildEndsTheChildAlone) {
  expect_child(with({"in-child"}, kForbidden), "child signal KILL");
  expect_child(with({"in-vfork-child"}, kForbidden), "child signal KILL");
  expect_child(with({"in-grandchild"}, kForbidden), "child exit 0, grandchild gone");
  expect_child(with({"in-child", "in-thread"}, kForbidden), "child signal KILL");
  for (const char* where : {"in-child", "in-vfork-child", "in-grandchild"}) {
    const Ran twin = attempted(with({where}, kAllowed));
    EXPECT_THAT(verdict(twin), testing::MatchesRegex("ok [0-9]+\nchild exit 0.*")) << where;
    EXPECT_FALSE(twin.exit.forbidden) << where;
  }
}

TEST_F(Forbidden, OfTheHandlerIsToldRatherThanAChilds) {
  const std::string chroot = "/usr/sbin/chroot / true";
  const Ran ran = run(plan({"/bin/sh", "-c", chroot + "; echo $?; exec " + chroot}));
  EXPECT_EQ(ran.out, "137\n");
  EXPECT_EQ(verdict(ran), "forbidden chroot");
  EXPECT_EQ(ran.exit.forbidden->by, ForbiddenCall::By::kHandler);
  EXPECT_EQ(ran.exit.forbidden->count, 1U);
}

TEST_F(Forbidden, HearingNoSignalHelpsNobody) {
  EXPECT_EQ(verdict(attempted(with({"hearing-no-signal"}, kForbidden))), "forbidden ptrace");
  expect_child(with({"in-child", "hearing-no-signal"}, kForbidden), "child signal KILL");
  EXPECT_THAT(verdict(attempted(with({"hearing-no-signal"}, kAllowed))), HasSubstr("ok"));
}

TEST_F(Forbidden, SignalsPutItOffAndNothingElse) {
  EXPECT_EQ(inside({"interrupted", std::to_string(SYS_ptrace)}), "forbidden ptrace");
  EXPECT_THAT(inside({"interrupted", std::to_string(SYS_getpid)}), testing::StartsWith("ok"));
}

TEST_F(Forbidden, OfAHundredThreadsAtOnceEndsOneHandlerOnce) {
  policies::Policy crowded = strict;
  crowded.limits.processes_max = 128;
  const auto of_crowd = [&](const Words& words) {
    return run(plan(attempt(with({"in-threads", "100"}, words)), crowded));
  };
  const Ran ran = of_crowd(kForbidden);
  EXPECT_EQ(verdict(ran), "forbidden ptrace");
  EXPECT_EQ(ran.out, "");
  EXPECT_LE(ran.exit.forbidden->count, 100U);
  EXPECT_EQ(split(of_crowd(kAllowed).out, '\n').size(), 100U);
}

TEST_F(Forbidden, OfManyChildrenIsCountedAndTheFirstIsKept) {
  Words many{"calls", std::to_string(SYS_mount)};
  many.insert(many.end(), 99, std::to_string(SYS_ptrace));
  const Ran ran = attempted(many);
  for (const std::string& line : split(ran.out, '\n')) EXPECT_THAT(line, HasSubstr("signal KILL"));
  ASSERT_TRUE(ran.exit.forbidden);
  EXPECT_EQ(ran.exit.forbidden->name(), "mount");
  EXPECT_EQ(ran.exit.forbidden->count, 100U);
}

TEST_F(Forbidden, WhoDiesMeanwhileLeavesTheInitAtWork) {
  EXPECT_EQ(inside({"racing", "300", std::to_string(SYS_ptrace)}), "ok 300");
  EXPECT_THAT(inside({"racing", "20", std::to_string(SYS_getpid)}), HasSubstr("ok 20"));
}

TEST_F(Forbidden, OfAChildIsKnownThoughTheSandboxWasKilled) {
  Running running = launch(plan({"/bin/sh", "-c", "/usr/sbin/chroot / true; echo $?; read stay"}));
  std::string said;
  for (char byte = 0; byte != '\n';) {
    ASSERT_TRUE(wait_readable(running.ends.from_stdout.get()));
    ASSERT_EQ(::read(running.ends.from_stdout.get(), &byte, 1), 1);
    said += byte;
  }
  EXPECT_EQ(said, "137\n");
  EXPECT_FALSE(running.sandbox.handler_ended()) << "what the init told is not the handler's end";
  running.sandbox.kill(isolation::KillReason::kDeadline);
  ASSERT_TRUE(wait_readable(running.sandbox.pidfd()));
  EXPECT_TRUE(running.sandbox.handler_ended());
  const auto exit = running.sandbox.reap();
  ASSERT_TRUE(exit && exit->forbidden);
  EXPECT_FALSE(exit->wait_status);
  EXPECT_EQ(exit->forbidden->name(), "chroot");
  EXPECT_EQ(exit->forbidden->by, ForbiddenCall::By::kChild);
}

TEST_F(Forbidden, NeverHappens) {
  const std::string said = run(plan(kMakeFolder, no_folders(strict)), "go\n").out;
  EXPECT_EQ(said.substr(0, 4), "137\n");
  EXPECT_THAT(said, testing::Not(HasSubstr("/tmp/made")));
  const Ran twin = run(plan(kMakeFolder), "go\n");
  EXPECT_EQ(twin.out.substr(0, 2), "0\n");
  EXPECT_THAT(twin.out, HasSubstr("/tmp/made"));
}

// The init needs nobody: it kills while the supervisor cannot do anything.
TEST_F(Forbidden, NeverHappensWhileTheSupervisorIsStopped) {
  const isolation::Plan wanted = plan(kMakeFolder, no_folders(strict));
  Pipes pipes;
  const pid_t supervisor = ::fork();
  ASSERT_GE(supervisor, 0);
  if (supervisor == 0) {
    auto sandbox = launcher->launch(wanted, std::move(pipes.theirs));
    if (!sandbox) ::_exit(1);
    ::raise(SIGSTOP);
    if (!wait_readable(sandbox->pidfd())) ::_exit(2);
    const auto exit = sandbox->reap();
    ::_exit(exit && exit->forbidden && exit->forbidden->name().starts_with("mkdir") ? 0 : 3);
  }
  pipes.theirs = {};
  int status = 0;
  ASSERT_EQ(::waitpid(supervisor, &status, WUNTRACED), supervisor);
  EXPECT_TRUE(WIFSTOPPED(status));
  EXPECT_EQ(::write(pipes.ours.to_stdin.get(), "go\n", 3), 3);
  const std::string said = read_to_end(pipes.ours.from_stdout.get());
  EXPECT_EQ(said.substr(0, 4), "137\n");
  EXPECT_THAT(said, testing::Not(HasSubstr("/tmp/made")));
  EXPECT_EQ(::kill(supervisor, SIGCONT), 0);
  ASSERT_EQ(::waitpid(supervisor, &status, 0), supervisor);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

TEST_F(Forbidden, WithoutAListenerTheKernelKillsAndNamesNothing) {
  host.seccomp_listener = false;
  const Ran ran = attempted(kForbidden);
  EXPECT_EQ(verdict(ran), "signal SYS");
  EXPECT_FALSE(ran.exit.forbidden);
  EXPECT_THAT(verdict(attempted(kAllowed)), testing::StartsWith("ok"));
}

TEST_F(Forbidden, TheListenerTakesNoDescriptorThatSettingUpDidNot) {
  policies::Policy narrow = strict;
  // The init's: stdio, the lifeline, Landlock's ruleset and in it a path.
  narrow.limits.open_files_max = 6;
  const Ran ran = run(plan(attempt(kForbidden), narrow));
  EXPECT_EQ(verdict(ran), "forbidden ptrace");
  EXPECT_EQ(verdict(run(plan(attempt({"descriptors"}), narrow))), "ok 0 1 2");
}

// Its own end could be what is forbidden, when nobody listens yet.
TEST_F(Forbidden, ExitGroupIsTheKernelsToKillFor) {
  policies::Policy endless = strict;
  for (auto& rule : endless.seccomp.rules) std::erase(rule.calls, std::string("exit_group"));
  endless.seccomp.default_action = {};
  const isolation::Plan wanted = plan(attempt(kAllowed), endless);
  EXPECT_EQ(wanted.forbidden_calls, isolation::KillBy::kKernel);
  EXPECT_EQ(wanted.degraded.count("forbidden_calls"), 1U);
  EXPECT_EQ(verdict(run(wanted)), "signal SYS");
  isolation::Plan unstartable = plan(attempt(kAllowed), endless);
  unstartable.handler.path = "/nowhere";
  EXPECT_EQ(failure(unstartable).step, isolation::SetupStep::kExec);
  isolation::Plan listening = plan(attempt(kAllowed));
  listening.handler.path = "/nowhere";
  EXPECT_EQ(failure(listening).step, isolation::SetupStep::kExec);
}

}  // namespace
}  // namespace fnrun::test
