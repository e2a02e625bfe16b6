// What a call left behind in its sandbox: processes, descriptors, files, IPC objects.
//
// Looks from outside, by the kernel's own books: the cgroup's members, /proc, the file systems of
// the sandbox. Remembers what is there before the first call and names what is more after a later
// one. The handler's own memory it cannot see: a handler that means to remember can. Made for one
// sandbox, used by its owner; not thread-safe. Names come from inside: escape them before a
// terminal.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "isolation/plan.h"
#include "isolation/setup_error.h"
#include "isolation/unique_fd.h"

namespace fnrun::isolation {

class [[nodiscard]] Leftovers {
 public:
  // `init` and `init_pidfd`: of the sandbox, which must not be reaped while we are used; `cgroup`:
  // its directory, or -1. Both descriptors are borrowed. Keeps three descriptors of its own, and
  // one more for each process beside the handler.
  Leftovers(pid_t init, int init_pidfd, int cgroup, const Plan& plan);

  // Everything inside sleeps, as a handler does that waits for its question.
  [[nodiscard]] bool settled() const;
  // What is there now is no leftover. An error: it cannot be looked at (then nothing is clean).
  [[nodiscard]] Result<void> remember();
  // What is more than remember() saw, in words, each item at most kTextMax bytes, at most kItemsMax
  // of them; empty: clean.
  [[nodiscard]] Result<std::vector<std::string>> find();

  static constexpr std::size_t kItemsMax = 16;
  static constexpr std::size_t kTextMax = 160;

 private:
  // A writable file system of the sandbox.
  struct Tmpfs {
    std::string path;  // As the handler knows it.
    UniqueFd root;
    std::uint64_t blocks = 0;
    std::uint64_t inodes = 0;
    std::vector<std::string> names;  // At its top.
  };
  struct Descriptors {
    pid_t pid = 0;
    UniqueFd folder;  // /proc/PID/fd
    std::uint64_t count = 0;
    std::vector<std::string> numbers;
  };
  using IpcCounts = std::array<std::uint64_t, 3>;  // Shared memory, semaphores, queues.

  [[nodiscard]] Result<std::vector<pid_t>> members();
  [[nodiscard]] Result<IpcCounts> count_ipc() const;
  Result<void> open_tmpfs(pid_t handler);
  void find_processes(const std::vector<pid_t>& now, std::vector<std::string>& found) const;
  void find_descriptors(std::vector<std::string>& found) const;
  void find_files(std::vector<std::string>& found) const;

  pid_t init_;
  int init_pidfd_;
  bool has_cgroup_;
  bool counts_ipc_;
  UniqueFd cgroup_procs_;
  std::vector<pid_t> processes_;  // Sorted; without the init.
  std::vector<Tmpfs> tmpfs_;
  std::vector<Descriptors> descriptors_;
  IpcCounts ipc_{};
};

// Whether a program under this policy can make IPC objects of System V, which outlive processes.
// POSIX message queues cannot be made: RLIMIT_MSGQUEUE is 0.
[[nodiscard]] bool allows_ipc_objects(const policies::Seccomp& profile);

}  // namespace fnrun::isolation
