// The command among programs that do not care for it: a reader of its stderr that sleeps, a pipe
// that it shares, descriptors that are closed, a stop in the middle of a lenient loop.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/e2e/fixture.h"

extern char** environ;  // NOLINT(readability-redundant-declaration): POSIX asks for it.

namespace fnrun::test {
namespace {

using isolation::UniqueFd;
using Strings = std::vector<std::string>;

class Company : public CommandTest {
 protected:
  struct Pipe {
    UniqueFd read;
    UniqueFd write;
  };
  static Pipe make_pipe() {
    int fds[2];
    EXPECT_EQ(::pipe2(fds, O_CLOEXEC), 0);
    return {UniqueFd(fds[0]), UniqueFd(fds[1])};
  }
  // Starts argv with these descriptors as 0, 1 and 2; -1: closed.
  static pid_t start(const Strings& argv, int in, int out, int err) {
    std::vector<char*> words;
    for (const auto& word : argv) words.push_back(const_cast<char*>(word.c_str()));  // NOLINT
    words.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    for (const auto& [from, to] : {std::pair{in, 0}, std::pair{out, 1}, std::pair{err, 2}}) {
      if (from < 0)
        posix_spawn_file_actions_addclose(&actions, to);
      else
        posix_spawn_file_actions_adddup2(&actions, from, to);
    }
    pid_t pid = -1;
    EXPECT_EQ(::posix_spawn(&pid, words[0], &actions, nullptr, words.data(), environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    return pid;
  }
  // Its exit code; -1, and the program's death, if it does not end within the hard limit.
  static int await(pid_t pid) {
    const UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    pollfd ended{pidfd.get(), POLLIN, 0};
    const bool over = ::poll(&ended, 1, std::chrono::milliseconds(kHardLimit).count()) == 1;
    if (!over) ::kill(pid, SIGKILL);
    int status = 0;
    ::waitpid(pid, &status, 0);
    return over && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  static bool non_blocking(int fd) { return (::fcntl(fd, F_GETFL) & O_NONBLOCK) != 0; }
};

// The pipe of stderr is full and nobody reads it; the deadline is kept all the same.
TEST_F(Company, ReaderOfStderrThatSleepsDoesNotKeepTheHandlerAlive) {
  const Pipe err = make_pipe();
  ASSERT_EQ(::fcntl(err.write.get(), F_SETPIPE_SZ, 4096), 4096);
  const Strings shout{"sh", "-c", "yes 0123456789012345678901234567890123456789 >&2"};
  const pid_t pid = start(supervise({"--protocol", "exec", "--timeout", "1s"}, shout),
                          ::open("/dev/null", O_RDONLY | O_CLOEXEC), 1, err.write.get());
  EXPECT_EQ(await(pid), 124);
}

TEST_F(Company, ReaderOfTheReportThatSleepsDoesNotEither) {
  const std::string fifo = (temp.path() / "fifo").string();
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_EQ(run(supervise({"--report", fifo, "--protocol", "exec"}, {"true"})).code, 2);
  const UniqueFd reader(::open(fifo.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  const Finished ran =
      run(supervise({"--lines", "--report", fifo, "--protocol", "exec"}, {"cat"}), "a\nb\n");
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.out, "a\nb\n");
}

// Non-blocking is shared by everybody who has the same pipe: siblings must not get EAGAIN.
TEST_F(Company, PipesThatAreSharedStayBlocking) {
  const Pipe in = make_pipe();
  const Pipe out = make_pipe();
  const pid_t pid =
      start(supervise({"--lines"}, {handler("greeter")}), in.read.get(), out.write.get(), 2);
  ASSERT_EQ(::write(in.write.get(), "a\n", 2), 2);
  char answer[16];
  ASSERT_EQ(::read(out.read.get(), answer, sizeof answer),
            10);  // "Hello, a!\n": it is in its loop.
  EXPECT_FALSE(non_blocking(in.read.get()));
  EXPECT_FALSE(non_blocking(out.write.get()));
  ::kill(pid, SIGKILL);
  await(pid);
  EXPECT_FALSE(non_blocking(in.read.get()));
}

TEST_F(Company, ClosedStdioIsNobodysElse) {
  const Pipe out = make_pipe();
  const pid_t without_input = start(supervise({}, {handler("greeter")}), -1, out.write.get(), 2);
  EXPECT_EQ(await(without_input), 0);
  char answer[16];
  ASSERT_EQ(::read(out.read.get(), answer, sizeof answer), 8);
  EXPECT_EQ(std::string(answer, 8), "Hello, !");
  EXPECT_EQ(await(start(supervise({}, {"nosuchhandler"}), -1, -1, -1)), 127);
}

TEST_F(Company, StopEndsALenientLoopToo) {
  Command command(supervise({"--lines", "--on-error", "result", "--protocol", "exec"},
                            {"sh", "-c", "echo up >&2; exec sleep 1000"}));
  command.feed("a\nb\nc\n");
  ASSERT_TRUE(command.wait_for_stderr("up"));
  command.signal(SIGTERM);
  EXPECT_EQ(command.finish().code, 128 + SIGTERM);
}

TEST_F(Company, CallersMistakesAreNotTheSandboxs) {
  const Finished lines =
      run(supervise({"--protocol", "lines"}, {handler("greeter.sh")}), "two\nlines\n");
  EXPECT_EQ(lines.code, 65) << lines.err;
  EXPECT_THAT(lines.err, testing::Not(testing::HasSubstr("could not be made")));
  const Finished large =
      run(supervise({"--report", report_file()}, {handler("greeter")}), std::string(7 << 20, 'x'));
  EXPECT_EQ(large.code, 65);
  ASSERT_EQ(reports().size(), 1U);
  EXPECT_EQ(reports()[0]["outcome"], "request_too_large");
}

TEST_F(Company, DevStdinOpensInside) {
  const Finished ran =
      run(supervise({"--protocol", "exec"}, {"sh", "-c", "cat /dev/stdin; echo er > /dev/stderr"}),
          "in");
  EXPECT_EQ(ran.out, "in");
  EXPECT_THAT(ran.err, testing::HasSubstr("er"));
}

}  // namespace
}  // namespace fnrun::test
