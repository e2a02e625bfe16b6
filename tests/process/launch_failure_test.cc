// Every step of a launch, made to fail: each failure is told as {step, index, errno}, in words with
// its subject and a hint, and leaves nothing behind.
//
// The failures are of three kinds: real ones (a limit, a vanished folder), system calls that a
// seccomp filter on the launching thread refuses, and processes that die or hang at a chosen call.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <linux/securebits.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <set>
#include <thread>
#include <vector>

#include "tests/support/sandbox_fixture.h"
#include "tests/support/thread_filter.h"

namespace fnrun::test {
namespace {

using isolation::SetupError;
using isolation::SetupStep;
using testing::HasSubstr;

class LaunchFailure : public SandboxTest {
 protected:
  // The launch fails like this, the ledger reads as before, and the next launch works.
  void expect_failure(const isolation::Plan& plan, const SetupError& expected) {
    const Ledger before = take_ledger(host.cgroup.dir);
    const SetupError error = failure(plan);
    EXPECT_EQ(isolation::name_of(error.step), isolation::name_of(expected.step))
        << error.to_string();
    EXPECT_EQ(error.index, expected.index) << error.to_string();
    EXPECT_EQ(error.os_errno, expected.os_errno) << error.to_string();
    EXPECT_THAT(error.to_string(), HasSubstr(expected.subject));
    EXPECT_THAT(error.to_string(), HasSubstr(std::string(isolation::name_of(expected.step))));
    EXPECT_EQ(take_ledger(host.cgroup.dir), before);
  }
  isolation::Plan good() const { return plan(actor({"exit", "0"})); }
  void TearDown() override {
    if (launcher) {
      EXPECT_TRUE(run(good()).exit.wait_status.has_value());
    }
    SandboxTest::TearDown();
  }
};

TEST_F(LaunchFailure, AWorkingDirectoryThatIsNotInside) {
  isolation::Plan bad = good();
  bad.policy.working_directory = "/nonexistent";
  expect_failure(bad, {SetupStep::kWorkingDirectory, 0, ENOENT, "/nonexistent"});
  EXPECT_THAT(failure(bad).to_string(), HasSubstr("hint: working_directory must be a folder"));
}

TEST_F(LaunchFailure, ALimitAboveTheSupervisorsOwn) {
  rlimit ours{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &ours), 0);
  isolation::Plan bad = good();
  ASSERT_EQ(bad.limits.at(0).name, "open_files_max");
  bad.limits[0].value = ours.rlim_max + 1;
  if (ours.rlim_max == RLIM_INFINITY) GTEST_SKIP() << "the hard limit is infinite";
  expect_failure(bad, {SetupStep::kRlimit, 0, EPERM, "open_files_max"});
  bad.limits[0].value = ours.rlim_max;
  EXPECT_TRUE(run(bad).exit.wait_status);  // The control: as much as we have.
}

TEST_F(LaunchFailure, AFileThatIsNoProgram) {
  const TempDir temp;
  // An object file: an ELF of this machine, executable, and no program. Only the kernel says so.
  std::string object(
      "\x7f"
      "ELF\x02\x01\x01",
      7);
  object.resize(64);
  object[16] = 1;   // ET_REL
  object[18] = 62;  // EM_X86_64
  const std::string path = temp.file("object", object, 0755);
  expect_failure(plan({path}), {SetupStep::kExec, 0, ENOEXEC, path});
  EXPECT_THAT(failure(plan({path})).to_string(), HasSubstr("hint: it is neither a program"));
}

TEST_F(LaunchFailure, AMountSourceThatVanishesAfterCompiling) {
  TempDir temp;
  policies::Policy policy = strict;
  const std::string source = temp.folder("source");
  policy.filesystem.read_only.push_back({.target = "/data", .source = source, .why = "a test"});
  const isolation::Plan pinned = plan(actor({"exit", "0"}), policy);
  EXPECT_TRUE(run(pinned).exit.wait_status);
  std::filesystem::remove(source);
  // A plan that holds the folder open can still clone it, but nothing can be mounted from it.
  std::uint16_t index = 0;
  while (pinned.root[index].path != "data" ||
         pinned.root[index].kind != isolation::RootEntry::Kind::kMount)
    ++index;
  expect_failure(pinned, {SetupStep::kFsOp, index, ENOENT, "/data from " + source});
}

TEST_F(LaunchFailure, NoDescriptorsLeftAtEachPlaceThatNeedsOne) {
  const isolation::Plan wanted = good();
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  // Below 17 the kernel has another word for it: what moves to 16 and up is told EINVAL.
  std::vector<isolation::UniqueFd> filler;
  do filler.emplace_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  while (filler.back().get() < 20);
  std::set<SetupStep> steps;
  bool launched = false;
  // One descriptor more each time: every descriptor of a launch is once the one that is not there.
  for (rlim_t spare = 0; spare < 64 && !launched; ++spare) {
    Pipes pipes;
    const int lowest = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    ::close(lowest);
    const rlimit tight{static_cast<rlim_t>(lowest) + spare, before.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
    auto result = launcher->launch(wanted, std::move(pipes.theirs));
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
    launched = result.has_value();
    if (launched) break;
    EXPECT_EQ(result.error().os_errno, EMFILE) << spare << ": " << result.error().to_string();
    steps.insert(result.error().step);
  }
  EXPECT_TRUE(launched);
  EXPECT_TRUE(steps.contains(SetupStep::kControlSocket));
  EXPECT_GE(steps.size(), 2U);
}

TEST_F(LaunchFailure, TheSupervisorsCgroupIsTakenAway) {
  if (host.cgroup.dir.empty()) GTEST_SKIP() << host.cgroup.no_dir_because;
  const auto ours = cgroups_of(::getpid(), host.cgroup.dir);
  ASSERT_EQ(ours.size(), 1U);
  ASSERT_TRUE(std::filesystem::remove(*ours.begin()));
  // Where there are controllers, they are enabled first, in a folder that is still open.
  if (host.cgroup.has(policies::Layer::kMemory))
    expect_failure(good(), {SetupStep::kCgroup, 0, ENOENT, "enabling '"});
  else
    expect_failure(good(), {SetupStep::kCgroup, 0, ENOENT, "making fnrun-"});
  launcher.reset();
}

TEST_F(LaunchFailure, ACommandThatIsTooLong) {
  const std::vector<std::string> extra{"BIG=" + std::string(200'000, 'x')};
  Pipes pipes;
  const auto launched = launcher->launch(good(), std::move(pipes.theirs), extra);
  ASSERT_FALSE(launched);
  EXPECT_EQ(launched.error().step, SetupStep::kCommandTooLong);
}

// One system call of the launch refused, with an errno that nothing else would give.
struct Refusal {
  const char* name;
  CallMatch match;
  SetupStep step;
  std::uint16_t index = 0;
  enum class Needs { kNothing, kPrivilege, kCgroup, kLandlock } needs{};
};

constexpr std::uint32_t kAtCwd = 0xffffff9c;
const Refusal kRefusals[] = {
    // In the supervisor.
    {"Socketpair", {SYS_socketpair}, SetupStep::kControlSocket},
    {"MakeCgroup", {SYS_mkdirat}, SetupStep::kCgroup, 0, Refusal::Needs::kCgroup},
    {"Clone3", {SYS_clone3}, SetupStep::kClone},
    {"OpenTree", {SYS_open_tree}, SetupStep::kOpenTree, 0, Refusal::Needs::kPrivilege},
    {"SendPlan", {SYS_sendmsg}, SetupStep::kSendPlan},
    // Between clone3 and the init.
    {"Capset", {SYS_capset}, SetupStep::kEnterCapabilities},
    {"RaiseAmbient",
     {SYS_prctl, {{0, PR_CAP_AMBIENT}, {1, PR_CAP_AMBIENT_RAISE}}},
     SetupStep::kEnterCapabilities},
    {"PlaceDescriptor", {SYS_dup3}, SetupStep::kEnterFds},
    {"ExecInit", {SYS_execveat}, SetupStep::kEnterExec},
    // In the init.
    {"CloseInherited", {SYS_close_range, {{0, 0}, {1, 2}}}, SetupStep::kReceivePlan, 0},
    {"ReceivePlan", {SYS_recvmsg}, SetupStep::kReceivePlan, 2},
    {"Unshare", {SYS_unshare}, SetupStep::kNamespaces},
    {"NonDumpable", {SYS_prctl, {{0, PR_SET_DUMPABLE}}}, SetupStep::kNonDumpable},
    {"Setgroups", {SYS_setgroups}, SetupStep::kCredentials, 0, Refusal::Needs::kPrivilege},
    {"Setresgid", {SYS_setresgid}, SetupStep::kCredentials, 1},
    {"Setresuid", {SYS_setresuid}, SetupStep::kCredentials, 2},
    {"MountsPrivate", {SYS_mount, {{0, 0}}}, SetupStep::kMountPropagation},
    {"Fsopen", {SYS_fsopen}, SetupStep::kRootMount, 0},
    {"Fsconfig", {SYS_fsconfig}, SetupStep::kRootMount, 1},
    {"Fsmount", {SYS_fsmount}, SetupStep::kRootMount, 4},
    {"AttachRoot", {SYS_move_mount}, SetupStep::kRootMount, 5},
    {"PivotRoot", {SYS_pivot_root}, SetupStep::kPivotRoot},
    {"DetachOldRoot", {SYS_umount2}, SetupStep::kDetachOldRoot, 0},
    {"EnterRoot", {SYS_chdir}, SetupStep::kDetachOldRoot, 1},
    {"ReadOnlyRoot", {SYS_mount_setattr, {{0, kAtCwd}}}, SetupStep::kRootReadOnly},
    {"Sethostname", {SYS_sethostname}, SetupStep::kHostname, 0},
    {"Setdomainname", {SYS_setdomainname}, SetupStep::kHostname, 1},
    {"Setsid", {SYS_setsid}, SetupStep::kSession},
    {"Keyctl", {SYS_keyctl}, SetupStep::kKeyring},
    {"Scheduler", {SYS_sched_setscheduler}, SetupStep::kScheduling},
    {"Sigaction", {SYS_rt_sigaction, {{0, SIGHUP}}}, SetupStep::kSignals, SIGHUP},
    {"Rlimit", {SYS_prlimit64, {{1, RLIMIT_NPROC}}}, SetupStep::kRlimit, 1},
    {"BoundingSet", {SYS_prctl, {{0, PR_CAPBSET_DROP}, {1, 5}}}, SetupStep::kBoundingSet, 5},
    {"Securebits", {SYS_prctl, {{0, PR_SET_SECUREBITS}}}, SetupStep::kSecurebits},
    {"ClearAmbient",
     {SYS_prctl, {{0, PR_CAP_AMBIENT}, {1, PR_CAP_AMBIENT_CLEAR_ALL}}},
     SetupStep::kCapabilities,
     0},
    {"NoNewPrivs", {SYS_prctl, {{0, PR_SET_NO_NEW_PRIVS}}}, SetupStep::kNoNewPrivs},
    {"LandlockRuleset",
     {SYS_landlock_create_ruleset},
     SetupStep::kLandlockRuleset,
     0,
     Refusal::Needs::kLandlock},
    {"LandlockRule",
     {SYS_landlock_add_rule},
     SetupStep::kLandlockRule,
     0,
     Refusal::Needs::kLandlock},
    {"Signalfd", {SYS_signalfd4}, SetupStep::kSignals, 65},
    {"SharedPage", {SYS_mmap, {{3, 0x21}}}, SetupStep::kSpawn, 0},
    {"ForkHandler", {SYS_clone, {{0, CLONE_VFORK | CLONE_FILES | SIGCHLD}}}, SetupStep::kSpawn, 1},
    // In the handler's process.
    {"LandlockRestrict",
     {SYS_landlock_restrict_self},
     SetupStep::kLandlockRestrict,
     0,
     Refusal::Needs::kLandlock},
    {"CloseControl", {SYS_close_range, {{0, 3}}}, SetupStep::kStdio},
    {"LoadSeccomp", {SYS_seccomp}, SetupStep::kSeccomp},
    {"ExecHandler", {SYS_execve}, SetupStep::kExec},
};
std::ostream& operator<<(std::ostream& out, const Refusal& refusal) {
  return out << refusal.name;
}

class LaunchStep : public LaunchFailure, public ::testing::WithParamInterface<Refusal> {
 protected:
  std::string why_not_here() const {
    switch (GetParam().needs) {
      case Refusal::Needs::kPrivilege:
        return host.privileged ? "" : "only a privileged supervisor does this";
      case Refusal::Needs::kCgroup:
        return host.cgroup.dir.empty() ? host.cgroup.no_dir_because : "";
      case Refusal::Needs::kLandlock:
        return host.landlock_abi == 0 ? "this kernel has no Landlock" : "";
      case Refusal::Needs::kNothing:
        break;
    }
    return "";
  }
};
INSTANTIATE_TEST_SUITE_P(, LaunchStep, ::testing::ValuesIn(kRefusals),
                         [](const auto& test) { return std::string(test.param.name); });

TEST_P(LaunchStep, RefusedIsToldByStepIndexAndErrno) {
  if (const std::string why = why_not_here(); !why.empty()) GTEST_SKIP() << why;
  constexpr int kOdd = ENOTNAM;  // Of XENIX: no system call of ours gives it by itself.
  const isolation::Plan wanted = good();
  with_failing_call(GetParam().match, kOdd, [&] {
    expect_failure(wanted, {GetParam().step, GetParam().index, kOdd, ""});
  });
}

// Those that are not the supervisor's own, up to execve, which is where a start is a start.
std::vector<Refusal> deaths() {
  std::vector<Refusal> list;
  for (const Refusal& refusal : kRefusals)
    if (refusal.step >= SetupStep::kEnterFds && refusal.step != SetupStep::kExec)
      list.push_back(refusal);
  return list;
}
class LaunchDeath : public LaunchStep {};
INSTANTIATE_TEST_SUITE_P(, LaunchDeath, ::testing::ValuesIn(deaths()),
                         [](const auto& test) { return std::string(test.param.name); });

TEST_P(LaunchDeath, IsNotTakenForAStart) {
  if (const std::string why = why_not_here(); !why.empty()) GTEST_SKIP() << why;
  const isolation::Plan wanted = good();
  const SetupError killed{SetupStep::kKilledBeforeExec, 0, 0, ""};
  with_deadly_call(GetParam().match, [&] {
    if (GetParam().step > SetupStep::kReceivePlan) return expect_failure(wanted, killed);
    // Dead while the supervisor still prepares it: its own next step may be what fails first.
    const Ledger before = take_ledger(host.cgroup.dir);
    EXPECT_THAT(failure(wanted).step,
                testing::AnyOf(killed.step, SetupStep::kIdMap, SetupStep::kSendPlan));
    EXPECT_EQ(take_ledger(host.cgroup.dir), before);
  });
}

class StuckLaunch : public LaunchFailure {
 protected:
  // Launches on a thread whose init waits in pivot_root for ever; `meanwhile` is told its pid.
  void expect_stuck(const isolation::Plan& wanted, SetupStep step,
                    const std::function<void(pid_t)>& meanwhile) {
    isolation::UniqueFd listener;
    std::thread launching([&] {
      listener = hold_calls({SYS_pivot_root});
      std::thread watching([&] {
        const pid_t init = held_process(listener.get());
        EXPECT_GT(init, 0);
        meanwhile(init);
      });
      const SetupError error = failure(wanted);
      EXPECT_EQ(error.step, step) << error.to_string();
      EXPECT_EQ(error.os_errno, 0);
      watching.join();
    });
    launching.join();
  }
};

TEST_F(StuckLaunch, ThatNeverStartsTimesOut) {
  isolation::Plan wanted = good();
  // Whatever the bound, the init is held for longer.
  wanted.policy.limits.start_timeout = std::chrono::milliseconds(100);
  expect_stuck(wanted, SetupStep::kStartTimeout, [](pid_t) {});
}

TEST_F(StuckLaunch, WhoseInitIsKilledFromOutsideIsToldAsKilled) {
  isolation::Plan wanted = good();
  wanted.policy.limits.start_timeout = std::chrono::hours(1);
  expect_stuck(wanted, SetupStep::kKilledBeforeExec, [](pid_t init) {
    // Not reaped before our kill: it is the launching thread's to reap, and that waits for us.
    EXPECT_EQ(::kill(init, SIGKILL), 0);
  });
}

}  // namespace
}  // namespace fnrun::test
