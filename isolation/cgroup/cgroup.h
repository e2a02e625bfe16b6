// One sandbox's cgroup: its limits, its counters, freezing, and killing all of it.
//
// Everything goes through the directory's descriptor: a path could be recreated under us. What
// belongs to a controller works where the group has that controller (facts.h) and says so where
// not; killing, freezing and CPU time need none. Owned by the Sandbox; the CgroupTree (tree.h) that
// made it must outlive it. Not thread-safe.
#pragma once

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "isolation/cgroup/limits.h"
#include "isolation/cgroup/stats.h"
#include "isolation/setup_error.h"
#include "isolation/unique_fd.h"

namespace fnrun::isolation {

// Groups that could not be removed when their owner went: the tree tries again before it makes the
// next one.
struct CgroupLeftovers {
  std::mutex mutex;
  std::vector<std::string> names;
};

class [[nodiscard]] Cgroup {
 public:
  Cgroup() = default;
  Cgroup(Cgroup&&) noexcept = default;
  Cgroup& operator=(Cgroup&& other) noexcept;
  ~Cgroup() { let_go(); }

  [[nodiscard]] int dir_fd() const noexcept { return dir_.get(); }
  explicit operator bool() const noexcept { return static_cast<bool>(dir_); }

  // Writes each and reads it back: a limit that the kernel rounded or ignored is an error.
  [[nodiscard]] Result<void> set(std::span<const CgroupSetting> settings) const;

  // SIGKILL to every member, forks in flight included, frozen or not. KERNEL >= 5.14. Never blocks.
  void kill() const noexcept;
  // Stops every member, and waits until all have stopped: some microseconds, up to `patience` where
  // one is busy in the kernel. On failure they go on.
  [[nodiscard]] Result<void> freeze(std::chrono::milliseconds patience) const;
  // The same without waiting.
  [[nodiscard]] Result<void> begin_freeze() const;
  [[nodiscard]] Result<void> thaw() const;
  // Takes up to so many bytes from the members, to swap or by dropping page cache; works while they
  // are frozen. KERNEL >= 5.19. Less than asked is no error.
  [[nodiscard]] Result<void> reclaim(policies::ByteSize bytes) const;

  [[nodiscard]] ResourceUse use();
  [[nodiscard]] std::optional<CpuTime> cpu_time();
  // From now on use().memory_peak_bytes is the most from now on. False where the kernel cannot
  // (before 6.12): then it stays the most ever.
  bool reset_peak() noexcept;

  // False while something still lives in it (EBUSY). Idempotent.
  bool remove() noexcept;

 private:
  friend class CgroupTree;
  Cgroup(UniqueFd dir, int parent_fd, std::string name, std::shared_ptr<CgroupLeftovers> leftovers)
      : dir_(std::move(dir)),
        parent_fd_(parent_fd),
        name_(std::move(name)),
        leftovers_(std::move(leftovers)) {}
  void let_go() noexcept;
  const CounterFiles& counters();
  UniqueFd dir_;
  std::optional<CounterFiles> counters_;  // Once somebody asked.
  // memory.peak, whose reset counts for this open file only; closed where the kernel has none.
  std::optional<UniqueFd> peak_;
  int parent_fd_ = -1;  // Borrowed from the CgroupTree.
  std::string name_;
  std::shared_ptr<CgroupLeftovers> leftovers_;
};

}  // namespace fnrun::isolation
