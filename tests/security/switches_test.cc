// The floor and the switches of a policy against the kernel that enforces them: each beside its
// twin, the same without.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "tests/security/attempts.h"

namespace fnrun::test {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

const Words kPtrace = call(SYS_ptrace, {"16", "1", "0", "0"});
const Words kMapBoth = call(SYS_mmap, {"0", "4096", "7", "34", "-1", "0"});
const Words kMapWritable = call(SYS_mmap, {"0", "4096", "3", "34", "-1", "0"});
const Words kRunTrue{"/bin/sh", "-c", "/bin/true; echo $?"};

class Floor : public Attempts {
 protected:
  // As if the policy's own filter were the worst there could be: it lets everything through.
  std::string bare(const Words& words) {
    isolation::Plan wanted = plan(attempt(words));
    wanted.seccomp = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    return verdict(run(wanted));
  }
};

TEST_F(Floor, HoldsAloneWhereThePolicysFilterLetsEverythingThrough) {
  // The twin: without the policy's filter its refusals are gone.
  const Words personality = call(SYS_personality, {"0xffffffff"});
  EXPECT_EQ(inside(personality), "errno EPERM");
  EXPECT_EQ(bare(personality), "ok 0");
  // Whom it would ask is not there: then the kernel says ENOSYS.
  const std::string refused = host.seccomp_listener ? "errno ENOSYS" : "signal SYS";
  EXPECT_EQ(bare(kPtrace), refused);
  EXPECT_EQ(bare(call(SYS_unshare, {std::to_string(CLONE_NEWUSER)})), refused);
  EXPECT_EQ(bare(call(SYS_mount, {"0", "0", "0", "0", "0"})), refused);
  EXPECT_EQ(bare(call(SYS_clone, {std::to_string(CLONE_NEWUSER | 17)})), "errno ENOSYS");
  EXPECT_EQ(bare(call(SYS_clone3, {"b:", "88"})), "errno ENOSYS");
  EXPECT_EQ(bare({"int80"}), "signal SYS");
  EXPECT_EQ(bare(call(0x40000000L + SYS_getpid)), "signal SYS");
}

TEST_F(Floor, WithoutAListenerItKills) {
  host.seccomp_listener = false;
  EXPECT_EQ(bare(kPtrace), "signal SYS");
  EXPECT_EQ(bare(call(SYS_clone3, {"b:", "88"})), "errno ENOSYS");
  EXPECT_THAT(bare(call(SYS_getpid)), StartsWith("ok"));
}

TEST_F(Floor, WhatAPolicyDoesNotNameIsKilledForAndTold) {
  policies::Policy lax = strict;
  std::erase_if(lax.seccomp.rules,
                [](const auto& rule) { return rule.name.starts_with("tripwire"); });
  const Ran ran = run(plan(attempt(kPtrace), lax));
  EXPECT_EQ(verdict(ran), killed_for("ptrace"));
  if (ran.exit.forbidden) {
    EXPECT_EQ(isolation::forbidding_rule(lax.seccomp, *ran.exit.forbidden),
              "tripwire-other-processes");
  }
}

// Made idle, an init whose uid is the handler's would not end while others want the CPU.
TEST_F(Floor, NobodySchedulesTheInit) {
  policies::Policy lax = strict;
  for (policies::SyscallRule& rule : lax.seccomp.rules)
    if (rule.name == "eperm-scheduling") rule.action = {policies::SyscallAction::Kind::kAllow, 0};
  const auto under = [&](const Words& words) { return verdict(run(plan(attempt(words), lax))); };
  const auto idle = [](const char* pid) {
    return call(SYS_sched_setscheduler, {pid, std::to_string(SCHED_IDLE), "b:"});
  };
  EXPECT_EQ(under(idle("1")), "errno ENOSYS");
  EXPECT_EQ(under(idle("0")), "ok 0");
  EXPECT_EQ(under(call(SYS_setpriority, {"0", "1", "19"})), "errno ENOSYS");
  EXPECT_EQ(under(call(SYS_setpriority, {"2", "0", "19"})), "errno ENOSYS") << "of the user";
  EXPECT_EQ(under(call(SYS_setpriority, {"0", "0", "19"})), "ok 0");
}

class WriteExecute : public Attempts {};

TEST_F(WriteExecute, IsRefusedWithoutAReasonAndAllowedWithOne) {
  policies::Policy shut = strict;
  shut.seccomp.write_execute.clear();
  const auto under = [&](const Words& words) { return verdict(run(plan(attempt(words), shut))); };
  for (const Words& both : {kMapBoth, call(SYS_mprotect, {"0", "0", "7"}),
                            call(SYS_pkey_mprotect, {"0", "0", "6", "-1"}),
                            call(SYS_mmap, {"0", "4096", "0xdeadbeef00000007", "34", "-1", "0"})}) {
    EXPECT_EQ(under(both), "errno ENOSYS") << both.back();
    EXPECT_NE(inside(both), "errno ENOSYS") << both.back();
  }
  EXPECT_THAT(inside(kMapBoth), StartsWith("ok"));
  EXPECT_THAT(under(kMapWritable), StartsWith("ok"));
  EXPECT_EQ(under(call(SYS_mprotect, {"0", "0", "5"})), "ok 0");
  // Programs of libraries, and a script: they do without.
  EXPECT_EQ(verdict(run(plan({"/bin/sh", "-c", "echo $(echo of a child)"}, shut))), "of a child");
}

// By READ_IMPLIES_EXEC the kernel makes executable what was asked for to be read and written.
TEST_F(WriteExecute, NotByAPersonalityEither) {
  policies::Policy policy = strict;
  std::erase_if(policy.seccomp.rules,
                [](const auto& rule) { return rule.name == "eperm-personality"; });
  policy.seccomp.rules.push_back({.name = "personality",
                                  .action = {policies::SyscallAction::Kind::kAllow, 0},
                                  .calls = {"personality"},
                                  .when = {},
                                  .why = "a test"});
  const Words implied = call(SYS_personality, {"0x400000"});
  EXPECT_EQ(verdict(run(plan(attempt(implied), policy))), "ok 0");
  policy.seccomp.write_execute.clear();
  EXPECT_EQ(verdict(run(plan(attempt(implied), policy))), "errno ENOSYS");
  EXPECT_EQ(verdict(run(plan(attempt(call(SYS_personality, {"0"})), policy))), "ok 0");
}

TEST_F(WriteExecute, KillsWhereTheDefaultDoesAndIsTold) {
  policies::Policy shut = strict;
  shut.seccomp.write_execute.clear();
  shut.seccomp.default_action = {};
  const Ran ran = run(plan(attempt(kMapBoth), shut));
  EXPECT_EQ(verdict(ran), killed_for("mmap"));
  if (ran.exit.forbidden) {
    EXPECT_EQ(isolation::forbidding_rule(shut.seccomp, *ran.exit.forbidden), "write_execute");
  }
  EXPECT_THAT(verdict(run(plan(attempt(kMapWritable), shut))), StartsWith("ok"));
}

class ExecOnce : public Attempts {
 protected:
  void SetUp() override {
    Attempts::SetUp();
    if (!IsSkipped() && !HasFatalFailure() && !host.seccomp_listener)
      GTEST_SKIP() << "no seccomp user notification here: a policy with exec_once is refused";
    once = strict;
    once.seccomp.exec_once = true;
  }
  std::string under_once(const Words& words) { return verdict(run(plan(attempt(words), once))); }
  policies::Policy once;
};

TEST_F(ExecOnce, TheHandlerStartsAndNothingAfterIt) {
  EXPECT_EQ(run(plan(kRunTrue)).out, "0\n");
  const Ran ran = run(plan(kRunTrue, once));
  EXPECT_EQ(ran.out, "126\n") << "what a shell says when it may not execute";
  EXPECT_THAT(ran.err, HasSubstr("Operation not permitted"));
  EXPECT_FALSE(ran.exit.forbidden) << "refused, not killed for";
}

TEST_F(ExecOnce, FromWhereverItIsTried) {
  const Words exec = call(SYS_execve, {"s:/bin/true", "0", "0"});
  EXPECT_EQ(under_once(exec), "errno EPERM");
  EXPECT_EQ(inside(exec), "");  // It became /bin/true, which says nothing.
  for (const char* where : {"in-child", "in-vfork-child", "in-thread", "in-last-thread"}) {
    Words words{where};
    words.insert(words.end(), exec.begin(), exec.end());
    EXPECT_THAT(under_once(words), HasSubstr("errno EPERM")) << where;
    EXPECT_THAT(inside(words), Not(HasSubstr("errno"))) << where;
  }
  EXPECT_EQ(under_once({"interrupted", std::to_string(SYS_execve)}), "errno EPERM");
  Words crowd{"in-threads", "10"};
  crowd.insert(crowd.end(), exec.begin(), exec.end());
  EXPECT_EQ(split(under_once(crowd), '\n'), Words(10, "errno EPERM"));
}

TEST_F(ExecOnce, ByExecveatNeither) {
  policies::Policy compat = shipped_policy("compat");
  const Words exec = call(SYS_execveat, {std::to_string(AT_FDCWD), "s:/bin/true", "0", "0", "0"});
  EXPECT_EQ(verdict(run(plan(attempt(exec), compat))), "");
  compat.seccomp.exec_once = true;
  EXPECT_EQ(verdict(run(plan(attempt(exec), compat))), "errno EPERM");
  EXPECT_EQ(under_once(exec), "errno ENOSYS") << "strict has not allowed it before";
}

TEST_F(ExecOnce, AScriptAndItsInterpreterAreOne) {
  const TempDir dir;
  ASSERT_EQ(::chmod(dir.path().c_str(), 0755), 0);
  const std::string script = dir.file(
      "script", "#!/bin/sh\necho the script ran\n/bin/true || echo and nothing else\n", 0755);
  EXPECT_EQ(run(plan({script}, once)).out, "the script ran\nand nothing else\n");
  EXPECT_EQ(run(plan({script})).out, "the script ran\n");
}

TEST_F(ExecOnce, ForbiddenCallsAreHeardOfAsBefore) {
  EXPECT_EQ(under_once(kPtrace), "forbidden ptrace");
  EXPECT_THAT(under_once(call(SYS_getpid)), StartsWith("ok"));
}

TEST_F(ExecOnce, AHandlerThatCannotBeExecutedIsAnErrorOfThatStep) {
  isolation::Plan unstartable = plan(attempt(kPtrace), once);
  unstartable.handler.path = "/nowhere";
  const auto error = failure(unstartable);
  EXPECT_EQ(error.step, isolation::SetupStep::kExec);
  EXPECT_EQ(error.os_errno, ENOENT);
  isolation::Plan unloadable = plan(attempt(kPtrace), once);
  unloadable.seccomp = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 4096)};
  EXPECT_EQ(failure(unloadable).step, isolation::SetupStep::kSeccomp);
}

TEST_F(ExecOnce, UnderParanoid) {
  policies::Policy paranoid = shipped_policy("paranoid");
  for (const policies::Layer layer : policies::kLayers) paranoid.preferred[layer] = "a test";
  const auto under = [&](const Words& words) {
    return verdict(run(plan(attempt(words), paranoid)));
  };
  EXPECT_EQ(under(call(SYS_execve, {"s:/proc/self/exe", "0", "0"})), "errno EPERM");
  EXPECT_EQ(under(kMapBoth), killed_for("mmap"));
  EXPECT_THAT(under(kMapWritable), StartsWith("ok"));
}

// Two hundred launches, so that a wake-up that is lost now and then is seen.
TEST_F(ExecOnce, StartsEachTime) {
  const isolation::Plan wanted = plan(attempt({"say", "ran"}), once);
  for (int i = 0; i < (emulated() ? 10 : 200); ++i) ASSERT_EQ(verdict(run(wanted)), "ok\nran") << i;
}

}  // namespace
}  // namespace fnrun::test
