// From clone3(2) to the execve(2) of the init: the only code that runs in a copy of the supervisor.
//
// The child may share the supervisor's memory while the supervisor runs on, so the rules are strict
// (isolation/child/README.md): raw system calls, no libc, no allocation, no locks, no errno, leaves
// by _exit; everything it needs is in EnterPlan, which the parent keeps alive until it has heard of
// the init or seen the pidfd become readable.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fnrun::child {

// A role of the init program: what argv[0] it is given.
enum class Role : std::uint8_t { kSandbox, kJanitor };

struct EnterPlan {
  int control_fd = -1;     // Becomes descriptor 3.
  int extra_fd = -1;       // Becomes descriptor 4, or -1.
  int init_image_fd = -1;  // What to execute.
  Role role = Role::kSandbox;
  const char* argument = nullptr;  // argv[1]: the name of the janitor's directory.
#ifdef FNRUN_TEST_SWITCHES
  std::uint32_t switched_off = 0;  // As LaunchPlan's.
#endif
};

struct CloneResult {
  long pid;   // Or -errno.
  int pidfd;  // Close-on-exec, as the kernel makes it.
};

inline constexpr std::size_t kEnterStackSize = 16 * 1024;

// Starts the init with the given CLONE_NEW* flags, in the cgroup of `cgroup_fd` (-1: our own). The
// child shares our memory until it executes the init; `plan` and `stack` (kEnterStackSize bytes,
// 16-aligned) must live until then. Signals must be blocked by the caller: the child must not run
// the parent's handlers.
[[nodiscard]] CloneResult clone_init(std::uint64_t clone_flags, int cgroup_fd,
                                     const EnterPlan& plan, std::byte* stack) noexcept;

}  // namespace fnrun::child
