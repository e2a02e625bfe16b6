#include "isolation/cgroup.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <limits>

#include "isolation/child/enter.h"
#include "isolation/signal_block.h"

namespace fnrun::isolation {
namespace {

// A janitor with nothing to do needs a moment to leave; one that kills first takes up to 10 s.
constexpr int kIdleJanitorMs = 1'000;
constexpr int kBusyJanitorMs = 11'000;
constexpr int kDirectory = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW;

SetupError cgroup_error(const std::string& what) {
  return {SetupStep::kCgroup, 0, errno, what};
}

// Descriptors that a child moves to 3 and 4 must not sit there themselves.
UniqueFd above_stdio(UniqueFd fd) {
  return UniqueFd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 16));
}

bool is_over(int pidfd, int timeout_ms) {
  pollfd ended{pidfd, POLLIN, 0};
  return ::poll(&ended, 1, timeout_ms) == 1;
}

void wait_for(int pidfd) {
  siginfo_t info{};
  while (::waitid(P_PIDFD, static_cast<id_t>(pidfd), &info, WEXITED) != 0 && errno == EINTR) {
  }
}

std::string random_suffix() {
  std::uint32_t random = 0;
  (void)!::getrandom(&random, sizeof random, 0);
  char text[9];
  std::snprintf(text, sizeof text, "%08x", random);
  return text;
}

}  // namespace

Cgroup& Cgroup::operator=(Cgroup&& other) noexcept {
  if (this != &other) {
    remove();
    dir_ = std::move(other.dir_);
    parent_fd_ = other.parent_fd_;
    name_ = std::move(other.name_);
  }
  return *this;
}

void Cgroup::kill() const noexcept {
  if (!dir_) return;
  const UniqueFd file(::openat(dir_.get(), "cgroup.kill", O_WRONLY | O_CLOEXEC));
  if (file) (void)!::write(file.get(), "1", 1);
}

std::optional<CpuTime> parse_cpu_stat(std::string_view text) {
  std::optional<std::uint64_t> user;
  std::optional<std::uint64_t> system;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    for (const auto& [key, value] :
         {std::pair{"user_usec ", &user}, std::pair{"system_usec ", &system}}) {
      if (!line.starts_with(key)) continue;
      std::uint64_t number = 0;
      const std::string_view digits = line.substr(std::string_view(key).size());
      const auto [rest, error] =
          std::from_chars(digits.data(), digits.data() + digits.size(), number);
      constexpr std::uint64_t kMax = std::numeric_limits<std::int64_t>::max();
      if (error == std::errc{} && rest == digits.data() + digits.size() && number <= kMax)
        *value = number;
    }
  }
  if (!user || !system) return std::nullopt;
  return CpuTime{std::chrono::microseconds(static_cast<std::int64_t>(*user)),
                 std::chrono::microseconds(static_cast<std::int64_t>(*system))};
}

std::optional<CpuTime> Cgroup::cpu_time() const {
  if (!dir_) return std::nullopt;
  const UniqueFd file(::openat(dir_.get(), "cpu.stat", O_RDONLY | O_CLOEXEC));
  char text[4096];
  const ssize_t size = file ? ::read(file.get(), text, sizeof text) : -1;
  if (size <= 0) return std::nullopt;
  return parse_cpu_stat({text, static_cast<std::size_t>(size)});
}

bool Cgroup::remove() noexcept {
  if (!dir_) return true;
  if (::unlinkat(parent_fd_, name_.c_str(), AT_REMOVEDIR) != 0 && errno == EBUSY) return false;
  dir_.reset();
  return true;
}

Result<void> CgroupTree::start_janitor(int init_image_fd) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
    return cgroup_error("socket pair for the janitor");
  janitor_lifeline_ = UniqueFd(pair[0]);
  const UniqueFd theirs = above_stdio(UniqueFd(pair[1]));
  if (!theirs) return cgroup_error("descriptor for the janitor");
  const child::EnterPlan enter{.control_fd = theirs.get(),
                               .extra_fd = own_dir_.get(),
                               .init_image_fd = init_image_fd,
                               .role = child::Role::kJanitor,
                               .argument = name_.c_str()};
  alignas(16) std::array<std::byte, child::kEnterStackSize> stack;
  const SignalBlock block;
  // CLONE_VFORK: returns once the janitor runs its own program, so that `stack` may go.
  const child::CloneResult janitor = child::clone_init(CLONE_VFORK, -1, enter, stack.data());
  if (janitor.pid < 0)
    return SetupError{SetupStep::kCgroup, 0, static_cast<int>(-janitor.pid),
                      "starting the janitor"};
  janitor_pidfd_ = UniqueFd(janitor.pidfd);
  if (is_over(janitor_pidfd_.get(), 0))
    return SetupError{SetupStep::kCgroup, 0, 0, "the janitor ended before it began"};
  return {};
}

// The janitor comes before the directory that it is to remove.
Result<CgroupTree> CgroupTree::make(const std::string& own_dir, int init_image_fd) {
  UniqueFd own = above_stdio(UniqueFd(::open(own_dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)));
  if (!own) return cgroup_error("opening " + own_dir);
  // The pid is for people; another PID namespace may have the same one, so it does not suffice.
  CgroupTree tree(std::move(own), "fnrun-" + std::to_string(::getpid()) + "-" + random_suffix(),
                  init_image_fd);
  if (auto started = tree.start_janitor(init_image_fd); !started) return started.error();
  if (::mkdirat(tree.own_dir_.get(), tree.name_.c_str(), 0755) != 0)
    return cgroup_error("making " + own_dir + "/" + tree.name_);
  tree.tree_ = UniqueFd(::openat(tree.own_dir_.get(), tree.name_.c_str(), kDirectory));
  if (!tree.tree_) return cgroup_error("opening " + own_dir + "/" + tree.name_);
  return tree;
}

CgroupTree::~CgroupTree() {
  if (!own_dir_) return;  // Moved from.
  const bool removed =
      ::unlinkat(own_dir_.get(), name_.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT;
  janitor_lifeline_.reset();
  if (!janitor_pidfd_) return;
  // One that was stopped must not hold us up.
  if (!is_over(janitor_pidfd_.get(), removed ? kIdleJanitorMs : kBusyJanitorMs))
    ::syscall(SYS_pidfd_send_signal, janitor_pidfd_.get(), SIGKILL, nullptr, 0);
  wait_for(janitor_pidfd_.get());  // No zombie stays.
}

Result<Cgroup> CgroupTree::make_cgroup() {
  if (is_over(janitor_pidfd_.get(), 0)) {  // Somebody killed it: our own death needs another.
    wait_for(janitor_pidfd_.get());
    if (auto started = start_janitor(init_image_fd_); !started) return started.error();
  }
  const std::string name = "sandbox-" + std::to_string(next_++);
  if (::mkdirat(tree_.get(), name.c_str(), 0755) != 0)
    return cgroup_error("making " + name_ + "/" + name);
  UniqueFd dir(::openat(tree_.get(), name.c_str(), kDirectory));
  if (!dir) {
    const SetupError error = cgroup_error("opening " + name_ + "/" + name);
    ::unlinkat(tree_.get(), name.c_str(), AT_REMOVEDIR);
    return error;
  }
  return Cgroup(std::move(dir), tree_.get(), name);
}

}  // namespace fnrun::isolation
