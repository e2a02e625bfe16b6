// One supervisor's corner of the cgroup v2 tree, and one cgroup for each sandbox in it.
//
// Everything goes through directory descriptors: a path could be recreated under us. Only the core
// files (cgroup.kill) are used; limits belong to the controllers' own work. A small janitor
// process removes the corner if the supervisor is killed (child/janitor.cc).
#pragma once

#include <sys/types.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "isolation/setup_error.h"
#include "isolation/unique_fd.h"

namespace fnrun::isolation {

struct CpuTime {
  std::chrono::microseconds user{};
  std::chrono::microseconds system{};
};

// cpu.stat as the kernel writes it, "user_usec 12\nsystem_usec 3\n…"; total on any text.
[[nodiscard]] std::optional<CpuTime> parse_cpu_stat(std::string_view text);

// A sandbox's cgroup. Owned by the Sandbox; the CgroupTree must outlive it.
class [[nodiscard]] Cgroup {
 public:
  Cgroup() = default;
  Cgroup(Cgroup&&) noexcept = default;
  Cgroup& operator=(Cgroup&& other) noexcept;
  ~Cgroup() { remove(); }

  [[nodiscard]] int dir_fd() const noexcept { return dir_.get(); }
  explicit operator bool() const noexcept { return static_cast<bool>(dir_); }
  // SIGKILL to every member, forks in flight included. KERNEL >= 5.14. Never blocks.
  void kill() const noexcept;
  // Of every member ever, ended or not. cpu.stat is a core file: it needs no controller.
  [[nodiscard]] std::optional<CpuTime> cpu_time() const;
  // False while something still lives in it (EBUSY). Idempotent.
  bool remove() noexcept;

 private:
  friend class CgroupTree;
  Cgroup(UniqueFd dir, int parent_fd, std::string name)
      : dir_(std::move(dir)), parent_fd_(parent_fd), name_(std::move(name)) {}
  UniqueFd dir_;
  int parent_fd_ = -1;  // Borrowed from the CgroupTree.
  std::string name_;
};

// Not thread-safe; the Launcher owns it and locks.
class [[nodiscard]] CgroupTree {
 public:
  // Starts the janitor with `init_image_fd` (borrowed) and makes `<own_dir>/fnrun-<pid>-<random>`.
  [[nodiscard]] static Result<CgroupTree> make(const std::string& own_dir, int init_image_fd);
  CgroupTree(CgroupTree&&) noexcept = default;
  CgroupTree& operator=(CgroupTree&&) = delete;
  ~CgroupTree();

  [[nodiscard]] Result<Cgroup> make_cgroup();

 private:
  CgroupTree(UniqueFd own_dir, std::string name, int init_image_fd)
      : own_dir_(std::move(own_dir)), name_(std::move(name)), init_image_fd_(init_image_fd) {}
  [[nodiscard]] Result<void> start_janitor(int init_image_fd);
  UniqueFd own_dir_;
  UniqueFd tree_;
  std::string name_;
  UniqueFd janitor_lifeline_;
  UniqueFd janitor_pidfd_;
  int init_image_fd_;  // Borrowed from the Launcher.
  unsigned long next_ = 1;
};

}  // namespace fnrun::isolation
