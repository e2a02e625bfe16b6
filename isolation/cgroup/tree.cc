#include "isolation/cgroup/tree.h"

#include <dirent.h>
#include <poll.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <memory>

#include "isolation/cgroup/kernel_text.h"
#include "isolation/child/enter.h"
#include "isolation/signal_block.h"

namespace fnrun::isolation {
namespace {

// A janitor with nothing to do needs a moment to leave; one that kills first takes up to 10 s.
constexpr int kIdleJanitorMs = 1'000;
constexpr int kBusyJanitorMs = 11'000;
// For a leftover's processes to die, at start; what takes longer is left to the next start.
constexpr int kSweepMs = 2'000;
constexpr int kDirectory = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW;
// Processes that fork while they are moved need another round.
constexpr int kMoveRoundsMax = 64;
constexpr std::string_view kCornerPrefix = "fnrun-";

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

// The folders in `dir` whose names start so.
std::vector<std::string> folders_in(int dir, std::string_view prefix) {
  std::vector<std::string> names;
  UniqueFd own(::openat(dir, ".", kDirectory));
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(own.get()), ::closedir);
  if (!stream) return names;
  (void)own.release();
  while (const dirent* entry = ::readdir(stream.get()))
    if (entry->d_type == DT_DIR && entry->d_name[0] != '.' &&
        std::string_view(entry->d_name).starts_with(prefix))
      names.emplace_back(entry->d_name);
  return names;
}

bool write_text(int dir, const char* file, std::string_view text) {
  const UniqueFd fd(::openat(dir, file, O_WRONLY | O_CLOEXEC));
  return fd && ::write(fd.get(), text.data(), text.size()) >= 0;
}

// Kills what lives in a leftover group and removes it, waiting for the kernel's word that it is
// empty.
void remove_leftover(int parent, const std::string& name) {
  const UniqueFd dir(::openat(parent, name.c_str(), kDirectory));
  if (!dir) return;
  const UniqueFd events(::openat(dir.get(), "cgroup.events", O_RDONLY | O_CLOEXEC));
  write_text(dir.get(), "cgroup.kill", "1");
  const auto limit = std::chrono::steady_clock::now() + std::chrono::milliseconds(kSweepMs);
  while (keyed_number(read_kernel_text(dir.get(), "cgroup.events"), "populated") == 1) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(limit - std::chrono::steady_clock::now());
    if (left.count() <= 0) return;
    std::array<char, 64> seen{};
    (void)!::pread(events.get(), seen.data(), seen.size(), 0);  // Arms the poll.
    pollfd changed{events.get(), POLLPRI, 0};
    (void)::poll(&changed, 1, static_cast<int>(left.count()));
  }
  ::unlinkat(parent, name.c_str(), AT_REMOVEDIR);
}

// "fnrun-<pid>-<8 hexadecimal digits>", and nothing else that happens to begin so.
bool is_corner(std::string_view name) {
  constexpr std::size_t kRandomDigits = 8;
  name.remove_prefix(kCornerPrefix.size());
  const auto dash = name.find('-');
  return dash != std::string_view::npos && to_number<pid_t>(name.substr(0, dash)) &&
         name.size() - dash - 1 == kRandomDigits &&
         name.find_first_not_of("0123456789abcdef", dash + 1) == std::string_view::npos;
}

// Corners whose lock nobody holds have lost their supervisor, and their janitor too.
void sweep(int base) {
  for (const std::string& name : folders_in(base, kCornerPrefix)) {
    if (!is_corner(name)) continue;
    const UniqueFd corner(::openat(base, name.c_str(), kDirectory));
    if (!corner || ::flock(corner.get(), LOCK_EX | LOCK_NB) != 0) continue;
    for (const std::string& group : folders_in(corner.get(), ""))
      remove_leftover(corner.get(), group);
    ::unlinkat(base, name.c_str(), AT_REMOVEDIR);
  }
}

bool is_still(int base, const std::string& name, int fd) {
  struct stat now {};
  struct stat opened {};
  return ::fstatat(base, name.c_str(), &now, AT_SYMLINK_NOFOLLOW) == 0 &&
         ::fstat(fd, &opened) == 0 && now.st_ino == opened.st_ino;
}

}  // namespace

Result<void> CgroupTree::start_janitor() {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
    return cgroup_error("socket pair for the janitor");
  janitor_lifeline_ = UniqueFd(pair[0]);
  const UniqueFd theirs = above_stdio(UniqueFd(pair[1]));
  if (!theirs) return cgroup_error("descriptor for the janitor");
  const child::EnterPlan enter{.control_fd = theirs.get(),
                               .extra_fd = base_.get(),
                               .init_image_fd = init_image_fd_,
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

// A sweeping supervisor may hold the lock of a corner that has just been made, or may already have
// removed it: then it is made again.
Result<void> CgroupTree::make_corner() {
  constexpr int kAttempts = 16;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    if (::mkdirat(base_.get(), name_.c_str(), 0755) != 0 && errno != EEXIST)
      return cgroup_error("making " + base_path_ + "/" + name_);
    UniqueFd corner(::openat(base_.get(), name_.c_str(), kDirectory));
    if (!corner && errno == ENOENT) continue;
    if (!corner) return cgroup_error("opening " + base_path_ + "/" + name_);
    if (::flock(corner.get(), LOCK_EX) == 0 && is_still(base_.get(), name_, corner.get())) {
      tree_ = std::move(corner);
      return {};
    }
  }
  return cgroup_error("locking " + base_path_ + "/" + name_);
}

// The janitor comes before the directory that it is to remove.
Result<CgroupTree> CgroupTree::make(const CgroupFacts& facts, int init_image_fd) {
  UniqueFd base =
      above_stdio(UniqueFd(::open(facts.dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)));
  if (!base) return cgroup_error("opening " + facts.dir);
  sweep(base.get());
  // The pid is for people; another PID namespace may have the same one, so it does not suffice.
  CgroupTree tree(std::move(base), facts,
                  std::string(kCornerPrefix) + std::to_string(::getpid()) + "-" + random_suffix(),
                  init_image_fd);
  if (auto started = tree.start_janitor(); !started) return started.error();
  if (auto made = tree.make_corner(); !made) return made.error();
  return tree;
}

CgroupTree::~CgroupTree() {
  if (!base_) return;  // Moved from.
  const bool removed = ::unlinkat(base_.get(), name_.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT;
  janitor_lifeline_.reset();
  if (!janitor_pidfd_) return;
  // One that was stopped must not hold us up.
  if (!is_over(janitor_pidfd_.get(), removed ? kIdleJanitorMs : kBusyJanitorMs))
    ::syscall(SYS_pidfd_send_signal, janitor_pidfd_.get(), SIGKILL, nullptr, 0);
  wait_for(janitor_pidfd_.get());  // No zombie stays.
}

Result<void> CgroupTree::move_to_leaf() const {
  const std::string leaf(kSupervisorLeaf);
  if (::mkdirat(base_.get(), leaf.c_str(), 0755) != 0 && errno != EEXIST)
    return cgroup_error("making " + base_path_ + "/" + leaf);
  const UniqueFd dir(::openat(base_.get(), leaf.c_str(), kDirectory));
  if (!dir) return cgroup_error("opening " + base_path_ + "/" + leaf);
  for (int round = 0; round < kMoveRoundsMax; ++round) {
    const std::string processes = read_kernel_text(base_.get(), "cgroup.procs");
    if (processes.empty()) return {};
    for (const auto pid : split(processes, '\n'))
      // ESRCH: it has ended meanwhile.
      if (!write_text(dir.get(), "cgroup.procs", pid) && errno != ESRCH)
        return cgroup_error("moving process " + std::string(pid) + " to " + base_path_ + "/" +
                            leaf);
  }
  return SetupError{SetupStep::kCgroup, 0, EBUSY,
                    "processes in " + base_path_ + " fork faster than they can be moved"};
}

Result<void> CgroupTree::pass_on(int dir_fd, const std::string& dir,
                                 policies::Layer controller) const {
  const std::string name = policies::name_of(controller);
  if (has_word(read_kernel_text(dir_fd, "cgroup.subtree_control"), name)) return {};
  if (write_text(dir_fd, "cgroup.subtree_control", "+" + name)) return {};
  return cgroup_error("enabling '" + name + "' in " + dir + "/cgroup.subtree_control");
}

Result<void> CgroupTree::enable(const std::set<policies::Layer>& controllers) {
  for (const policies::Layer controller : controllers) {
    if (enabled_.contains(controller)) continue;
    if (move_processes_) {
      if (auto moved = move_to_leaf(); !moved) return moved;
      move_processes_ = false;
    }
    if (auto done = pass_on(base_.get(), base_path_, controller); !done) return done;
    if (auto done = pass_on(tree_.get(), base_path_ + "/" + name_, controller); !done) return done;
    enabled_.insert(controller);
  }
  return {};
}

void CgroupTree::retry_leftovers() {
  const std::lock_guard guard(leftovers_->mutex);
  std::erase_if(leftovers_->names, [&](const std::string& name) {
    return ::unlinkat(tree_.get(), name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT;
  });
}

Result<Cgroup> CgroupTree::make_cgroup() {
  retry_leftovers();
  if (is_over(janitor_pidfd_.get(), 0)) {  // Somebody killed it: our own death needs another.
    wait_for(janitor_pidfd_.get());
    if (auto started = start_janitor(); !started) return started.error();
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
  return Cgroup(std::move(dir), tree_.get(), name, leftovers_);
}

}  // namespace fnrun::isolation
