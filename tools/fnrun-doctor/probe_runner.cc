#include "probe_runner.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

namespace fnrun::doctor {
namespace {

using isolation::UniqueFd;
using std::chrono::steady_clock;

constexpr std::chrono::seconds kKillBound{2};

// The child's word: a verdict and a text. The child did what untrusted surroundings made it do, so
// the parent takes nothing from it but these bytes.
struct Word {
  std::uint8_t verdict;
  std::uint16_t length;
  std::array<char, kWhyMax> why;
};

[[noreturn]] void be_probe(int result_fd, const std::function<Finding()>& body) {
  ::signal(SIGPIPE, SIG_IGN);  // The doctor may be gone; what was made is still to be undone.
  Finding finding;
  try {
    finding = body();
  } catch (const std::exception& failure) {
    finding = missing(std::string("the probe gave up: ") + failure.what());
  }
  Word word{};
  word.verdict = static_cast<std::uint8_t>(finding.verdict);
  const std::size_t length = std::min(finding.why.size(), kWhyMax);
  word.length = static_cast<std::uint16_t>(length);
  std::memcpy(word.why.data(), finding.why.data(), length);
  (void)!::write(result_fd, &word, sizeof word);  // Whole: smaller than PIPE_BUF.
  ::_exit(0);
}
static_assert(sizeof(Word) <= 4096);

bool wait_readable(int fd, steady_clock::time_point limit) {
  for (;;) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(limit - steady_clock::now()).count();
    pollfd waited{fd, POLLIN, 0};
    const int ready = ::poll(&waited, 1, static_cast<int>(std::max<long>(left, 0)));
    if (ready > 0) return true;
    if (ready == 0 && left <= 0) return false;
  }
}

std::optional<Finding> read_word(int fd) {
  Word word{};
  ssize_t size;
  do {
    size = ::read(fd, &word, sizeof word);
  } while (size < 0 && errno == EINTR);
  if (size != sizeof word || word.verdict > static_cast<std::uint8_t>(Verdict::kUntested) ||
      word.length > kWhyMax)
    return std::nullopt;
  return Finding{static_cast<Verdict>(word.verdict), {word.why.data(), word.length}};
}

Finding died(int status) {
  if (!WIFSIGNALED(status)) return missing("the probe ended without a finding");
  const char* name = ::sigabbrev_np(WTERMSIG(status));
  std::string text = "the probe was killed by SIG" + std::string(name != nullptr ? name : "?");
  if (WTERMSIG(status) == SIGSYS)
    text += ": a seccomp filter that this process was started under forbids what it tried";
  return missing(text);
}

Finding hung(std::chrono::milliseconds bound) {
  return missing("no answer within " + std::to_string(bound.count()) +
                 " ms: the kernel does not come back from it");
}

}  // namespace

StopSignals::StopSignals() {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::sigaddset(&set, signal);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  fd_ = UniqueFd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

int StopSignals::received() const {
  signalfd_siginfo info{};
  return ::read(fd_.get(), &info, sizeof info) == sizeof info ? static_cast<int>(info.ssi_signo)
                                                              : 0;
}

Finding run_probe(const std::function<Finding()>& body, std::chrono::milliseconds bound) {
  std::array<int, 2> pair{};
  if (::pipe2(pair.data(), O_CLOEXEC) != 0) return untested(failed("pipe2", errno).why);
  const UniqueFd ours(pair[0]);
  UniqueFd theirs(pair[1]);
  const auto limit = steady_clock::now() + bound;
  const pid_t child = ::fork();
  if (child < 0) return untested(failed("fork", errno).why);
  if (child == 0) be_probe(theirs.get(), body);
  theirs.reset();
  const UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, child, 0)));
  // End of file comes when the child and all its helpers are gone, the word usually before.
  const bool spoke = wait_readable(ours.get(), limit);
  const bool ended = spoke && (!pidfd || wait_readable(pidfd.get(), limit));
  if (!ended) {
    ::kill(child, SIGKILL);  // Not reaped yet, so the number is still the child's.
    // One that the kernel holds heeds no signal: it is left behind, waiting for it could take ever.
    if (pidfd && !wait_readable(pidfd.get(), steady_clock::now() + kKillBound)) return hung(bound);
  }
  const int status = wait_for_helper(child);
  if (!spoke) return hung(bound);
  if (auto finding = read_word(ours.get())) return *finding;
  return died(status);
}

pid_t start_helper(const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  int code = ECANCELED;
  try {
    code = body();
  } catch (const std::exception&) {  // Memory: the exit code says it.
  }
  ::_exit(code);
}

int wait_for_helper(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

int errno_of_helper(const std::function<int()>& body) {
  const pid_t helper = start_helper(body);
  if (helper < 0) return errno;
  const int status = wait_for_helper(helper);
  return WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
}

}  // namespace fnrun::doctor
