// The steps that turn a fresh process in fresh namespaces into an empty, powerless room.
//
// Runs in the init, single-threaded, without libc. Each step executes a part of the LaunchPlan and
// never returns on failure: it reports {step, index, errno} and exits. The order matters and is
// explained where it does; init.cc calls them as one list.
#pragma once

#include "isolation/child/launch_plan.h"

namespace fnrun::child {

// The received plan and the descriptors that came with it. The parent built both: they are trusted.
struct Received {
  const LaunchPlan* plan;
  const char* base;
  const int* mount_fds;
  unsigned mount_fd_count;

  [[nodiscard]] const char* text(Text t) const noexcept {
    return t.offset ? base + t.offset : nullptr;
  }
  template <class T>
  [[nodiscard]] const T* array(Array a) const noexcept {
    return reinterpret_cast<const T*>(base + a.offset);
  }
};

// Reports the failed step over the control socket and exits 125. `result` is a raw -errno.
[[noreturn]] void fail(SetupStep step, unsigned index, long result) noexcept;

inline long check(long result, SetupStep step, unsigned index = 0) noexcept {
  if (result < 0) fail(step, index, result);
  return result;
}

void enter_own_namespaces(const Received& received) noexcept;
void become_slot_user(const Received& received) noexcept;
void build_root(const Received& received) noexcept;
void normalise_process(const Received& received) noexcept;
void give_up_privilege(const Received& received) noexcept;

// Returns the ruleset's descriptor, or -1 where the plan has no Landlock. Takes no capability, so
// it comes after give_up_privilege; restricting needs no_new_privs and is done by the handler's
// process.
[[nodiscard]] int build_landlock_ruleset(const Received& received) noexcept;

struct Spawned {
  int pid;
  int listener;    // Of the handler's filter, if the plan asks for one; else -1.
  bool exec_once;  // What the listener hears of is an execve(2) too, from now on to be refused.
};
// Starts the handler's process; returns once its execve(2) has succeeded. Closes `ruleset_fd`.
[[nodiscard]] Spawned spawn_handler(const Received& received, int ruleset_fd) noexcept;

void send_report(const Report& report, std::uint64_t flags = 0) noexcept;

// See first_exec.cc: the part of spawn_handler() under `exec_once`. On the page that the init and
// the handler's process share.
struct FirstExec {
  volatile std::uint32_t gate;     // A futex; FUTEX_OWNER_DIED: executed, or ended.
  volatile std::int32_t listener;  // -1 until the filter is loaded.
};
// In the handler's process, before the filter is loaded.
void announce_first_exec(FirstExec& exec) noexcept;
// In the init; returns once the execve has succeeded or the process is at its end.
void let_first_exec_pass(FirstExec& exec, int pid, const char* handler) noexcept;

// See forbidden.cc.
void hear_of_call(const Spawned& handler) noexcept;
void tell_forbidden_counts() noexcept;
[[nodiscard]] bool handler_made_forbidden_call() noexcept;

// The janitor role of the same program; see janitor.cc.
[[noreturn]] void run_janitor(const char* tree_name) noexcept;

}  // namespace fnrun::child
