// The yardstick of the launch benchmark: the least work that gives the isolation of a plan.
//
// Namespaces, id maps, root, limits, capabilities and filter are those of fnrun's own plan, made by
// one hand-written child without an init: the handler is PID 1. What a launcher of this kind cannot
// give (a lifeline, Landlock, a time namespace, errors that say where) is left out; README.md lists
// it. For measuring only: never launch anything untrusted with it.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "isolation/plan.h"
#include "isolation/uid_leases.h"
#include "isolation/unique_fd.h"

namespace fnrun::bench {

// How the child gets its memory: a copy as fork(2) makes it, or the parent's own, shared.
enum class ChildMemory : std::uint8_t { kCopied, kShared };

// Not thread-safe. The plan must outlive it.
class RawLauncher {
 public:
  // Makes a cgroup to work in and leases a uid, where the plan uses them.
  RawLauncher(const isolation::Plan& plan, ChildMemory memory);
  RawLauncher(RawLauncher&&) noexcept = default;
  RawLauncher& operator=(RawLauncher&&) = delete;
  ~RawLauncher();

  // Launches the plan's handler with `null_fd` as its stdio, waits for its end, reaps it and
  // removes its cgroup. Returns what went wrong, or "".
  [[nodiscard]] std::string run(int null_fd);

 private:
  struct Shared;
  struct ChildView;
  [[nodiscard]] std::string write_maps(pid_t pid) const;
  [[nodiscard]] std::string wait_for_end(int pidfd) const;
  [[noreturn]] static void child_main(const ChildView* view) noexcept;
  static void build_root(const ChildView& view) noexcept;
  static void drop_privilege(const ChildView& view) noexcept;
  static long clone_child(std::uint64_t flags, int cgroup_fd, int& pidfd, const ChildView& view,
                          std::byte* stack) noexcept;

  const isolation::Plan& plan_;
  ChildMemory memory_;
  isolation::UidLease uid_;
  isolation::UniqueFd cgroup_parent_;
  isolation::UniqueFd cgroup_tree_;
  std::string cgroup_name_;
  Shared* shared_ = nullptr;  // One page that a copied child shares too.
  std::vector<char*> argv_;
  std::vector<char*> envp_;
  std::unique_ptr<std::byte[]> stack_;
  unsigned long next_ = 0;
};

}  // namespace fnrun::bench
