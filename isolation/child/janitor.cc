// The janitor: removes the cgroups of a supervisor that died without doing so.
//
// A process cannot remove the cgroup it lives in, and a supervisor killed with SIGKILL removes
// nothing. So before a supervisor makes its first cgroup it starts this small process, outside
// every sandbox: it waits on descriptor 3 for the supervisor to be gone, and then kills and removes
// all that is in the directory `tree_name` below descriptor 4, and the directory. It is started
// first, so that there is no instant at which the directory exists and nobody would remove it, and
// never acts while the supervisor lives.
#include <asm/unistd.h>
#include <linux/fcntl.h>
#include <linux/prctl.h>

#include "isolation/child/kernel_abi.h"
#include "isolation/child/raw_syscall.h"
#include "isolation/child/setup.h"

namespace fnrun::child {
namespace {

constexpr int kParentFd = kControlFd + 1;

struct Dirent {
  std::uint64_t inode;
  std::int64_t offset;
  std::uint16_t size;
  std::uint8_t type;
  char name[1];
};
constexpr std::uint8_t kTypeDirectory = 4;

void kill_group(int dir) noexcept {
  const long fd = raw_syscall(__NR_openat, dir, as_arg("cgroup.kill"), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  raw_syscall(__NR_write, fd, as_arg("1"), 1);
  raw_syscall(__NR_close, fd);
}

void pause_ms(long milliseconds) noexcept {
  raw_syscall(__NR_poll, 0, 0, milliseconds);
}

// One pass over the tree; returns how many sandbox cgroups are still there.
int sweep(int tree) noexcept {
  alignas(8) static char entries[4096];
  int left = 0;
  raw_syscall(__NR_lseek, tree, 0, 0);
  for (;;) {
    const long size = raw_syscall(__NR_getdents64, tree, as_arg(entries), sizeof entries);
    if (size <= 0) return left;
    for (long at = 0; at < size;) {
      const auto& entry = *reinterpret_cast<const Dirent*>(entries + at);
      at += entry.size;
      if (entry.type != kTypeDirectory || entry.name[0] == '.') continue;
      const long dir = raw_syscall(__NR_openat, tree, as_arg(entry.name),
                                   O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
      if (dir < 0) continue;
      kill_group(int(dir));
      raw_syscall(__NR_close, dir);
      if (raw_syscall(__NR_unlinkat, tree, as_arg(entry.name), kAtRemoveDir) < 0) ++left;
    }
  }
}

}  // namespace

void run_janitor(const char* tree_name) noexcept {
  raw_syscall(__NR_close_range, 0, kControlFd - 1, 0);
  raw_syscall(__NR_close_range, kParentFd + 1, ~0U, 0);
  raw_syscall(__NR_prctl, PR_SET_NAME, as_arg("fnrun-janitor"), 0, 0, 0);
  raw_syscall(__NR_setsid);  // A Ctrl-C in the supervisor's terminal is not for us.
  PollFd lifeline{kControlFd, 1, 0};
  while (raw_syscall(__NR_poll, as_arg(&lifeline), 1, -1) <= 0) {
  }
  const long tree = raw_syscall(__NR_openat, kParentFd, as_arg(tree_name),
                                O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  // Killing is not instant; 10 s is far beyond what was ever measured for a pid-limited sandbox.
  if (tree >= 0) {
    for (int attempt = 0; attempt < 1'000 && sweep(int(tree)) > 0; ++attempt) pause_ms(10);
    raw_syscall(__NR_unlinkat, kParentFd, as_arg(tree_name), kAtRemoveDir);
  }
  for (;;) raw_syscall(__NR_exit_group, 0);
}

}  // namespace fnrun::child
