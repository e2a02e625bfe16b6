#include "tests/support/sandbox_fixture.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include "isolation/handler_file.h"
#include "policies/policy_json.h"

namespace fnrun::test {
namespace {

using isolation::UniqueFd;

std::string from_environment(const char* name, const char* otherwise) {
  const char* value = ::secure_getenv(name);
  return value != nullptr ? value : otherwise;
}

// A different few for each test program: tests may run beside each other and beside a supervisor.
// Few are the last of the range, many come from its first half.
std::optional<isolation::UidRange> part_of(const std::optional<isolation::UidRange>& all,
                                           std::uint32_t wanted) {
  if (!all) return all;
  const bool few = wanted <= kTestUids;
  const std::uint32_t places = few ? 128 : std::max(1U, all->count / 2 / wanted);
  const auto place = static_cast<std::uint32_t>(::getpid()) % places;
  const std::uint32_t offset = few ? all->count - (place + 1) * wanted : place * wanted;
  return isolation::UidRange{all->first + offset, wanted};
}

}  // namespace

std::string policies_dir() {
  return from_environment("FNRUN_TEST_POLICIES", FNRUN_POLICIES_DIR);
}
std::string handlers_dir() {
  return from_environment("FNRUN_TEST_HANDLERS", FNRUN_HANDLERS_DIR);
}

bool emulated() {
  return !from_environment("FNRUN_IN_VM", "").empty();
}

policies::Policy shipped_policy(const std::string& name) {
  auto policy = policies::load_policy(name, {policies_dir()}).value();
  // Where the host is busy as well, a start takes seconds. Tests of this bound set their own.
  if (emulated()) policy.limits.start_timeout *= 12;
  return policy;
}

std::string why_no_user_namespace() {
  // By the raw call: fork(2) under ThreadSanitizer gives the child a second thread, and then
  // unshare(2) would refuse.
  const auto child = static_cast<pid_t>(::syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0));
  if (child == 0) ::syscall(SYS_exit_group, 0);
  if (child < 0)
    return std::string("this host makes no user namespace: clone says ") + ::strerrorname_np(errno);
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  return "";
}

bool wait_readable(int fd, int bound_ms) {
  pollfd waited{fd, POLLIN, 0};
  int ready;
  do {
    ready = ::poll(&waited, 1, bound_ms);
  } while (ready < 0 && errno == EINTR);
  return ready == 1;
}

std::string read_to_end(int fd) {
  std::string text;
  std::array<char, 4096> buffer{};
  while (wait_readable(fd)) {
    const ssize_t n = ::read(fd, buffer.data(), buffer.size());
    if (n <= 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(n));
  }
  return text;
}

Pipes::Pipes() {
  const auto make = [](UniqueFd& read_end, UniqueFd& write_end) {
    std::array<int, 2> pair{};
    if (::pipe2(pair.data(), O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
    read_end = UniqueFd(pair[0]);
    write_end = UniqueFd(pair[1]);
  };
  make(theirs.in, ours.to_stdin);
  make(ours.from_stdout, theirs.out);
  make(ours.from_stderr, theirs.err);
}

void SandboxTest::SetUp() {
  if (const std::string why = why_no_user_namespace(); !why.empty()) {
    const std::string required = from_environment("FNRUN_REQUIRE", "");
    ASSERT_EQ(required.find("userns"), std::string::npos) << why;
    GTEST_SKIP() << why;
  }
  strict = shipped_policy("strict");
  auto probed = isolation::probe_host();
  ASSERT_TRUE(probed) << probed.error().to_string();
  probed = isolation::probe_host(part_of(probed->slot_uids, uids()));
  ASSERT_TRUE(probed) << probed.error().to_string();
  host = *probed;
  before_ = take_ledger(host.cgroup.dir);
  auto made = isolation::Launcher::make(host, {.uid_lock_file = uid_lock_file()});
  ASSERT_TRUE(made) << made.error().to_string();
  launcher.emplace(std::move(*made));
}

std::string SandboxTest::uid_lock_file() const {
  return (temp_.path() / "run/uids.lock").string();
}

void SandboxTest::TearDown() {
  launcher.reset();
  if (before_) {
    EXPECT_EQ(take_ledger(host.cgroup.dir), *before_);
  }
}

std::vector<std::string> SandboxTest::actor(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), handlers_dir() + "/actor");
  return arguments;
}

isolation::Plan SandboxTest::plan(std::vector<std::string> argv) const {
  return plan(std::move(argv), strict);
}

isolation::Plan SandboxTest::plan(std::vector<std::string> argv,
                                  const policies::Policy& policy) const {
  return isolation::compile(
             policy, host,
             isolation::find_handler(std::move(argv), policy, "/usr/bin:/bin", host).value())
      .value();
}

Running SandboxTest::launch(const isolation::Plan& plan) {
  Pipes pipes;
  return {launcher->launch(plan, std::move(pipes.theirs)).value(), std::move(pipes.ours)};
}

Ran SandboxTest::run(const isolation::Plan& plan, const std::string& input) {
  Running running = launch(plan);
  Ran ran;
  // Inputs of these tests fit a pipe; a handler that does not read them is no reason to hang.
  if (!input.empty() && ::write(running.ends.to_stdin.get(), input.data(), input.size()) < 0)
    throw std::runtime_error("writing to the handler");
  running.ends.to_stdin.reset();
  ran.out = read_to_end(running.ends.from_stdout.get());
  ran.err = read_to_end(running.ends.from_stderr.get());
  if (!wait_readable(running.sandbox.pidfd())) throw std::runtime_error("the sandbox does not end");
  ran.exit = running.sandbox.reap().value();
  return ran;
}

isolation::SetupError SandboxTest::failure(const isolation::Plan& plan) {
  Pipes pipes;
  auto launched = launcher->launch(plan, std::move(pipes.theirs));
  if (launched) throw std::runtime_error("the launch succeeded");
  return launched.error();
}

}  // namespace fnrun::test
