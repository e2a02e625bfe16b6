// One running sandbox: the namespaces, the cgroup, the uid and the init of a single handler
// process.
//
// A Sandbox either exists completely or does not exist: Launcher::launch() returns one only once
// the handler has reached execve(2), and an earlier failure has already been reaped and cleaned up.
// Not thread-safe; one strand owns it. Knows nothing of protobuf, pools or JSON.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "isolation/cgroup/cgroup.h"
#include "isolation/forbidden_call.h"
#include "isolation/leftovers.h"
#include "isolation/setup_error.h"
#include "isolation/uid_leases.h"
#include "isolation/unique_fd.h"

namespace fnrun::isolation {

// Why the supervisor killed it; the first reason is kept.
enum class KillReason : std::uint8_t {
  kNone,
  kDeadline,
  kProtocolError,
  kOutputTooLarge,
  kCancelled,
  kShutdown,
  kMemory,   // Sampled over memory_max_bytes.
  kCpuTime,  // Over cpu_time_max_ms.
};
[[nodiscard]] std::string_view name_of(KillReason reason) noexcept;

// How the handler ended and what it used. Final: read after the last process is gone.
struct Exit {
  // The handler's own, as waitpid(2) gives it. Without a value the sandbox was killed as a whole
  // before the handler ended by itself.
  std::optional<int> wait_status;
  KillReason killed_for = KillReason::kNone;
  // Of the handler and the children that it waited for; zero where there is no wait_status.
  std::chrono::microseconds user_time{};
  std::chrono::microseconds system_time{};
  std::int64_t max_rss_kib = 0;
  std::int64_t context_switches = 0;
  // Of everything that ever ran inside, killed or not; empty without a cgroup.
  ResourceUse use;
  // The first system call that the policy forbids (its action is "kill"): the handler's own, which
  // ended it, or else another process's, which ended that one. Nothing where the kernel killed
  // without a word (Plan::forbidden_calls); then a handler's wait_status says SIGSYS.
  std::optional<ForbiddenCall> forbidden;
};

class Stragglers;

class [[nodiscard]] Sandbox {
 public:
  Sandbox(Sandbox&&) noexcept = default;
  Sandbox& operator=(Sandbox&&) = delete;
  // Kills what still runs and waits for it, at most until the policy's kill timeout after the first
  // kill(): many that were killed together are waited for together. reap() in time avoids the wait.
  // What is not gone by then its Launcher reaps, at a later launch.
  ~Sandbox();

  // Kills every process inside: cgroup.kill first, which no fork escapes, then the init, with which
  // the PID namespace goes. Never blocks. Idempotent.
  void kill(KillReason reason) noexcept;
  // Collects the end and removes the cgroup. Precondition: pidfd() is readable. Call once.
  [[nodiscard]] Result<Exit> reap();

  // Readable once every process inside is gone (the init is reaped last). Borrowed.
  [[nodiscard]] int pidfd() const noexcept { return pidfd_.get(); }
  // Hangs up (POLLHUP, EPOLLHUP) once the handler has ended (or the sandbox is gone): a little
  // before pidfd(). Readable says nothing: the init may have sent what reap() will read. Borrowed.
  [[nodiscard]] int ended_fd() const noexcept { return control_.get(); }
  [[nodiscard]] bool handler_ended() const noexcept;
  // Of the init, in the supervisor's PID namespace; nobody else's until it is reaped. To look at by
  // process_sample.h, and for messages; signal by kill() only.
  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  [[nodiscard]] KillReason killed_for() const noexcept { return killed_for_; }
  // The uid it has on the host; nothing without privilege, where it is the supervisor's own.
  [[nodiscard]] std::optional<std::uint32_t> slot_uid() const noexcept;
  [[nodiscard]] std::chrono::microseconds start_time() const noexcept { return start_time_; }

  // As Exit::forbidden, of what was told so far: for whoever cannot wait for the end.
  [[nodiscard]] const std::optional<ForbiddenCall>& forbidden();

  // What everything inside has used so far, by the cgroup's counters; empty without a cgroup.
  [[nodiscard]] ResourceUse use() { return cgroup_.use(); }
  // Its CPU time alone, for whoever asks often.
  [[nodiscard]] std::optional<CpuTime> cpu_time() { return cgroup_.cpu_time(); }
  // Starts the memory peak of use() anew, where the kernel can (6.12).
  void reset_peak() noexcept { cgroup_.reset_peak(); }

  // To look at what calls leave behind; `plan` is the one it was launched by. It must not outlive
  // us, nor be used once we are reaped.
  [[nodiscard]] Leftovers leftovers(const Plan& plan) const;
  // To the handler process alone. An error once it has ended, or where /proc does not tell which it
  // is.
  [[nodiscard]] Result<void> signal_handler(int signal) const;

  // The handler process is on its way out, or has gone: its end will be told. What it wrote to may
  // reach its end long before that, on a busy host.
  [[nodiscard]] bool handler_exiting() const;

  // Stops everything inside until thaw(): a frozen sandbox uses no CPU, and dies of kill() as any
  // other. Waits for the last one to stop, up to `patience`. An error without a cgroup.
  [[nodiscard]] Result<void> freeze(std::chrono::milliseconds patience);
  // The same without waiting: they stop at the next instruction that they would execute.
  [[nodiscard]] Result<void> begin_freeze();
  [[nodiscard]] Result<void> thaw();
  // Takes up to so much memory from it: to swap, or by dropping page cache. Useful while frozen.
  [[nodiscard]] Result<void> reclaim(policies::ByteSize bytes);

 private:
  friend class Launcher;
  friend class SandboxLauncher;
  Sandbox() = default;
  // For a caller who has the pidfd too and waits for the pid: lets go of what is ours, reaps
  // nothing. Precondition: pidfd() is readable.
  void leave_to_other_waiter() noexcept;
  // Takes in what the init has sent.
  void hear();
  UniqueFd pidfd_;
  Exit told_;
  UniqueFd control_;  // The lifeline: while it is open the init stays.
  Cgroup cgroup_;
  UidLease uid_;
  pid_t pid_ = -1;
  KillReason killed_for_ = KillReason::kNone;
  std::chrono::steady_clock::time_point killed_at_{};
  bool reaped_ = false;
  std::chrono::microseconds start_time_{};
  std::chrono::milliseconds kill_timeout_{};
  std::weak_ptr<Stragglers> stragglers_;
};

}  // namespace fnrun::isolation
