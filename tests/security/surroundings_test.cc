// What a handler finds when it starts: the same whatever the supervisor was started with.
//
// Each is set to something else in the supervisor first, where that can be taken back.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sched.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <set>
#include <thread>

#include "tests/security/attempts.h"

namespace fnrun::test {
namespace {

using testing::HasSubstr;
using testing::Not;

class Surroundings : public Attempts {
 protected:
  // The line of `settings` that starts so.
  static std::string setting(const std::string& said, const std::string& name) {
    for (const std::string& line : split(said, '\n'))
      if (line.starts_with(name + " ")) return line.substr(name.size() + 1);
    return "no " + name;
  }
};

TEST_F(Surroundings, DescriptorsAreTheThree) {
  std::vector<isolation::UniqueFd> many;  // A careless host program: none is close-on-exec.
  for (int i = 0; i < 200; ++i) many.emplace_back(::open("/", O_RDONLY | O_DIRECTORY));
  EXPECT_EQ(inside({"descriptors"}), "ok 0 1 2");
  EXPECT_THAT(outside({"descriptors"}), HasSubstr(" 100 "));
  const Staying staying = stay();
  const std::string path = "/proc/" + std::to_string(staying.running.sandbox.pid()) + "/fd";
  if (host.privileged) {
    // The init keeps the lifeline, its signals and the listener, none a folder of the host.
    EXPECT_EQ(split(outside({"list", path}), ' ').size(), host.seccomp_listener ? 4U : 3U);
  }
}

TEST_F(Surroundings, EnvironmentIsThePolicysAlone) {
  ASSERT_EQ(::setenv("FNRUN_TEST_SECRET", "of the supervisor", 1), 0);
  std::string expected = "ok";
  for (const auto& [name, value] : strict.environment.set) expected += "\n" + name + "=" + value;
  EXPECT_EQ(inside({"environment"}), expected);
  EXPECT_THAT(outside({"environment"}), HasSubstr("FNRUN_TEST_SECRET"));
  ::unsetenv("FNRUN_TEST_SECRET");
}

TEST_F(Surroundings, ArgumentsAreAsGiven) {
  const Words words{"say", "", " two words ", "-x", "\xff\x01", "$HOME"};
  EXPECT_EQ(inside(words), "ok\n\n two words \n-x\n\xff\x01\n$HOME");
  EXPECT_EQ(outside(words), inside(words));
  const std::string line = inside({"read", "/proc/self/cmdline"});
  const std::string program = handlers_dir() + "/attempt";
  EXPECT_EQ(line,
            std::string("ok\n") + program + '\0' + "read" + '\0' + "/proc/self/cmdline" + '\0');
}

TEST_F(Surroundings, SignalsAreByDefaultAndNoneIsBlocked) {
  const auto before = std::signal(SIGPIPE, SIG_IGN);
  const auto hangup = std::signal(SIGHUP, SIG_IGN);
  sigset_t some, old;
  sigemptyset(&some);
  sigaddset(&some, SIGUSR1);
  ASSERT_EQ(::pthread_sigmask(SIG_BLOCK, &some, &old), 0);
  const std::string status = inside({"read", "/proc/self/status"});
  const std::string control = outside({"read", "/proc/self/status"});
  ::pthread_sigmask(SIG_SETMASK, &old, nullptr);
  std::signal(SIGPIPE, before);
  std::signal(SIGHUP, hangup);
  for (const char* set : {"SigBlk", "SigIgn", "SigCgt", "SigPnd", "ShdPnd"})
    EXPECT_EQ(field(status, set), "0000000000000000") << set;
  EXPECT_NE(field(control, "SigBlk"), "0000000000000000");
  EXPECT_NE(field(control, "SigIgn"), "0000000000000000");
}

TEST_F(Surroundings, SettingsAreCanonical) {
  const mode_t umask = ::umask(0);
  const std::string said = inside({"settings"});
  const std::string control = outside({"settings"});
  ::umask(umask);
  EXPECT_EQ(setting(said, "umask"), "18");  // 022
  EXPECT_EQ(setting(control, "umask"), "0");
  // A supervisor nicer than that stays so: going back takes privilege. One that is less nice, no.
  EXPECT_EQ(setting(said, "nice"),
            std::to_string(std::max(0, std::stoi(setting(control, "nice")))));
  EXPECT_EQ(setting(said, "cwd"), strict.working_directory);
  EXPECT_NE(setting(control, "cwd"), strict.working_directory);
  EXPECT_EQ(setting(said, "hostname"), strict.identity.hostname);
  EXPECT_NE(setting(control, "hostname"), strict.identity.hostname);
  EXPECT_EQ(setting(said, "domainname"), "(none)");
  EXPECT_EQ(setting(said, "scheduler"), "0");
  EXPECT_EQ(setting(said, "session"), "1");
  const isolation::Plan planned = plan(attempt({"settings"}));
  std::set<int> seen;
  for (const auto& limit : planned.limits) {
    const std::string value = std::to_string(limit.value);
    EXPECT_EQ(setting(said, "limit " + std::to_string(limit.resource)), value + " " + value)
        << limit.name;
  }
}

TEST_F(Surroundings, APrivilegedNiceValueIsNotHandedOn) {
  if (!host.privileged) GTEST_SKIP() << "only root can have one";
  std::string said, control;
  std::thread([&] {  // The setting is a thread's, and goes with it.
    ASSERT_EQ(::setpriority(PRIO_PROCESS, 0, -5), 0);
    said = inside({"settings"});
    control = outside({"settings"});
  })
      .join();
  EXPECT_EQ(setting(control, "nice"), "-5");
  EXPECT_EQ(setting(said, "nice"), "0");
}

TEST_F(Surroundings, ARealTimeClassIsNotHandedOn) {
  if (!host.privileged) GTEST_SKIP() << "only root can have one";
  constexpr int kRealTime = 1 << 13;  // IOPRIO_CLASS_RT; the thread is process 0 to the call.
  std::thread([&] {
    const sched_param fifo{.sched_priority = 1};
    ASSERT_EQ(::syscall(SYS_ioprio_set, 1, 0, kRealTime), 0);
    ASSERT_EQ(::sched_setscheduler(0, SCHED_FIFO, &fifo), 0);
    const Staying staying = stay();
    for (const long pid : {staying.handler_pid, long{staying.running.sandbox.pid()}}) {
      EXPECT_NE(::syscall(SYS_ioprio_get, 1, pid, 0) >> 13, 1) << "input and output";
      EXPECT_EQ(::sched_getscheduler(static_cast<pid_t>(pid)), SCHED_OTHER);
    }
    EXPECT_EQ(::syscall(SYS_ioprio_get, 1, 0, 0) >> 13, 1);
  }).join();
}

TEST_F(Surroundings, TimerSlackIsTheDefault) {
  std::string said, control;
  std::thread([&] {  // The setting is a thread's, and goes with it.
    ASSERT_EQ(::prctl(PR_SET_TIMERSLACK, 777'000'000UL), 0);
    said = inside({"read", "/proc/self/timerslack_ns"});
    control = outside({"read", "/proc/self/timerslack_ns"});
  })
      .join();
  EXPECT_EQ(control, "ok\n777000000\n");
  EXPECT_EQ(said, "ok\n50000\n");
}

TEST_F(Surroundings, PersonalityIsTheDefault) {
  const int before = ::personality(0xffffffff);
  ASSERT_NE(::personality(ADDR_NO_RANDOMIZE), -1);
  const std::string said = inside({"read", "/proc/self/personality"});
  const std::string control = outside({"read", "/proc/self/personality"});
  ::personality(static_cast<unsigned long>(before));
  EXPECT_EQ(control, "ok\n00040000\n");
  EXPECT_EQ(said, "ok\n00000000\n");
}

TEST_F(Surroundings, ACrashLeavesNoCore) {
  // Outside it does, unless the host pipes cores to a helper.
  EXPECT_EQ(inside({"dump", "/tmp"}), "ok not-dumped" + held_by_tmp());
  const TempDir dir;
  ASSERT_EQ(::chmod(dir.path().c_str(), 0777), 0);
  const std::string pattern = read_text("/proc/sys/kernel/core_pattern");
  if (pattern.starts_with("|") || pattern.starts_with("/"))
    GTEST_SKIP() << "without a control: this host's core_pattern is " << pattern;
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_CORE, &limit), 0);
  if (limit.rlim_max != RLIM_INFINITY && !host.privileged)
    GTEST_SKIP() << "without a control: cores are limited here already";
  EXPECT_THAT(outside({"dump", dir.path().string()}, {.limits = {{RLIMIT_CORE, RLIM_INFINITY}}}),
              testing::StartsWith("ok dumped core"));
}

}  // namespace
}  // namespace fnrun::test
