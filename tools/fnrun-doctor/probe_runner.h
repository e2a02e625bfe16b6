// Runs one probe in a process of its own, so that nothing it does stays.
//
// The child may unshare, mount, load filters and be killed; its finding comes back through a pipe
// as plain data, and a child that dies or hangs is a finding too. Probes end by themselves within
// milliseconds, also when the doctor is killed meanwhile; one that does not is killed, and its
// cgroup is removed, after kProbeBound. The doctor has one thread, else the fork would not be safe.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "isolation/unique_fd.h"
#include "probe.h"

namespace fnrun::doctor {

inline constexpr std::chrono::seconds kProbeBound{20};
inline constexpr std::size_t kWhyMax = 2000;  // Bytes; what is longer is cut.

// SIGINT, SIGTERM and SIGHUP, blocked and readable: between probes the doctor may stop, within one
// it may not, or a group that the probe made would stay.
class StopSignals {
 public:
  StopSignals();
  [[nodiscard]] int received() const;  // 0: none.

 private:
  isolation::UniqueFd fd_;
};

[[nodiscard]] Finding run_probe(const std::function<Finding()>& body,
                                std::chrono::milliseconds bound = kProbeBound);

// --- For probes: helpers that die with them.

// Forks; the child runs `body`, exits with what it returns (an errno, by custom) and dies with the
// caller's thread. -1: no process could be made, errno says why.
[[nodiscard]] pid_t start_helper(const std::function<int()>& body);
// The wait status, as waitpid(2) gives it.
[[nodiscard]] int wait_for_helper(pid_t pid);
// Both at once, for a helper whose exit code is an errno: 0, that errno, or EINTR if it was killed.
[[nodiscard]] int errno_of_helper(const std::function<int()>& body);

}  // namespace fnrun::doctor
