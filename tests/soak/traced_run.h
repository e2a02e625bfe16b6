// Runs a piece of this program in a child whose n-th system call of a kind fails.
//
// By ptrace(2): it sees raw calls and those of every thread, and can count, which a seccomp filter
// cannot. What the child starts in turn (a sandbox, the janitor) is not traced. For single-threaded
// tests; the child must not return into the test framework.
#pragma once

#include <functional>
#include <optional>
#include <string>

namespace fnrun::test {

struct Fault {
  long call = -1;  // SYS_…
  int os_errno = 0;
  unsigned nth = 1;              // From 1, of those made between arm_faults() and disarm_faults().
  std::optional<int> operation;  // Only calls with this second argument.
};

// In the child: from here on calls are counted; no longer.
void arm_faults();
void disarm_faults();

struct TracedRun {
  bool hit = false;     // The n-th call was made, and failed.
  bool hung = false;    // Killed after half a minute.
  int wait_status = 0;  // 0: it returned true.
  std::string said;     // What it returned.
};
// `body` returns "" if all was well, otherwise what was wrong.
[[nodiscard]] TracedRun run_with_fault(const Fault& fault,
                                       const std::function<std::string()>& body);

}  // namespace fnrun::test
