#include "tests/e2e/command.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <stdexcept>

namespace fnrun::test {
namespace {

using isolation::UniqueFd;
using std::chrono::steady_clock;

struct Pipe {
  Pipe() {
    int fds[2];
    if (::pipe2(fds, O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
    read = UniqueFd(fds[0]);
    write = UniqueFd(fds[1]);
  }
  UniqueFd read;
  UniqueFd write;
};

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> all;
  for (std::string& text : texts) all.push_back(text.data());
  all.push_back(nullptr);
  return all;
}

}  // namespace

Command::Command(const std::vector<std::string>& argv, const std::vector<std::string>& environment,
                 std::chrono::seconds limit)
    : limit_(steady_clock::now() + limit) {
  std::vector<std::string> words = argv;
  std::vector<std::string> variables = environment;
  variables.emplace_back("PATH=/usr/local/bin:/usr/bin:/bin");
  const std::vector<char*> arg = pointers(words);
  const std::vector<char*> env = pointers(variables);
  Pipe in;
  Pipe out;
  Pipe err;
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ < 0) throw std::runtime_error("fork");
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(127);
    ::signal(SIGPIPE, SIG_DFL);
    ::dup2(in.read.get(), 0);
    ::dup2(out.write.get(), 1);
    ::dup2(err.write.get(), 2);
    ::execvpe(arg[0], arg.data(), env.data());
    ::_exit(127);
  }
  ::signal(SIGPIPE, SIG_IGN);
  stdin_ = std::move(in.write);
  stdout_ = std::move(out.read);
  stderr_ = std::move(err.read);
  for (const UniqueFd* fd : {&stdin_, &stdout_, &stderr_}) ::fcntl(fd->get(), F_SETFL, O_NONBLOCK);
}

Command::~Command() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

void Command::take(UniqueFd& from, std::string& into) const {
  std::array<char, 65536> buffer{};
  const ssize_t n = ::read(from.get(), buffer.data(), buffer.size());
  if (n > 0) into.append(buffer.data(), static_cast<std::size_t>(n));
  if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) from.reset();
}

void Command::send() {
  const ssize_t n = ::write(stdin_.get(), input_.data(), input_.size());
  if (n > 0) input_.erase(0, static_cast<std::size_t>(n));
  if (n < 0 && errno == EPIPE) stdin_.reset();
}

// Moves bytes until `enough`; false if both streams end first or the limit passes.
bool Command::pump(const std::function<bool()>& enough) {
  while (!enough()) {
    if (stdin_ && input_.empty() && close_when_sent_) stdin_.reset();
    if (!stdout_ && !stderr_) return false;
    // A negative descriptor is left out by poll.
    std::array<pollfd, 3> watched{
        pollfd{stdin_ && !input_.empty() ? stdin_.get() : -1, POLLOUT, 0},
        pollfd{stdout_ ? stdout_.get() : -1, POLLIN, 0},
        pollfd{stderr_ ? stderr_.get() : -1, POLLIN, 0},
    };
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(limit_ - steady_clock::now());
    if (left.count() <= 0) {
      ADD_FAILURE() << "still running after its limit; stdout: " << seen_.out
                    << "\nstderr: " << seen_.err;
      signal(SIGKILL);
      return false;
    }
    if (::poll(watched.data(), watched.size(), static_cast<int>(left.count())) < 0) continue;
    if (watched[0].revents != 0) send();
    if (watched[1].revents != 0) take(stdout_, seen_.out);
    if (watched[2].revents != 0) take(stderr_, seen_.err);
  }
  return true;
}

std::string Command::next_line() {
  std::size_t end = 0;
  const bool found = pump([&] {
    end = seen_.out.find('\n', lines_taken_to_);
    return end != std::string::npos;
  });
  if (!found) {
    ADD_FAILURE() << "no more lines; stderr: " << seen_.err;
    return "";
  }
  const std::string line = seen_.out.substr(lines_taken_to_, end - lines_taken_to_);
  lines_taken_to_ = end + 1;
  return line;
}

bool Command::wait_for_stderr(std::string_view text) {
  const bool found = pump([&] { return seen_.err.find(text) != std::string::npos; });
  EXPECT_TRUE(found) << "no '" << text << "' in: " << seen_.err;
  return found;
}

void Command::signal(int number) const {
  ::kill(pid_, number);
}

Finished Command::finish() {
  pump([] { return false; });
  int status = 0;
  rusage usage{};
  // Its streams are closed; a program that lives on nevertheless is the test's own hard limit.
  while (::wait4(pid_, &status, 0, &usage) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  seen_.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  seen_.max_rss_kib = usage.ru_maxrss;
  return seen_;
}

Finished run(const std::vector<std::string>& argv, std::string_view input,
             const std::vector<std::string>& environment) {
  Command command(argv, environment);
  command.feed(input);
  command.close_stdin();
  return command.finish();
}

std::string bin_dir() {
  const char* told = ::secure_getenv("FNRUN_TEST_BIN");
  return told != nullptr ? told : FNRUN_BIN_DIR;
}

std::string handler(const std::string& name) {
  return bin_dir() + "/handlers/" + name;
}

std::vector<std::string> supervise(std::vector<std::string> options,
                                   const std::vector<std::string>& of_handler) {
  options.insert(options.begin(), bin_dir() + "/fnrun-supervise");
  options.emplace_back("--");
  options.insert(options.end(), of_handler.begin(), of_handler.end());
  return options;
}

}  // namespace fnrun::test
