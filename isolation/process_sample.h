// What the processes below one process hold and have used, by /proc: the next best where no
// controller counts.
//
// A look at one instant: what lives and dies between two looks goes unseen. For a sandbox the
// process is its init, to which every orphan inside is handed, so nothing inside is outside the
// tree. Kernel text, read bounded and parsed totally; any thread.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

namespace fnrun::isolation {

struct ProcessSample {
  std::uint64_t threads = 0;  // Without those of the root of the tree.
  // Anonymous and shared memory, swap and page tables. Neither page cache nor files in /tmp; and
  // shared memory only as far as somebody has it mapped and touched at this moment.
  std::uint64_t resident_bytes = 0;
  // Of living processes and the children that they waited for.
  std::chrono::microseconds cpu{};
};

// Whether this kernel tells the children of a process (CONFIG_PROC_CHILDREN).
[[nodiscard]] bool can_sample_processes();
// Nothing if the root is gone or cannot be seen. A page that forks share counts once for each of
// them, as long as that sums up to `exact_above` at most; beyond it the costlier way is taken,
// which counts it once. That way may take a tenth of a second of CPU time, and a second in all;
// where it is not done by then, the greater sum stands. Nobody who has others to serve looks on
// their own thread: thousands of processes, or one large one, take longer still. `given_up`, set by
// any thread: to end soon, with no answer to rely on.
[[nodiscard]] std::optional<ProcessSample> sample_processes(
    pid_t root, std::uint64_t exact_above, const std::atomic<bool>* given_up = nullptr);

// The kernel's text; total. "RssAnon:\t     128 kB" of /proc/PID/status, by key, in bytes.
[[nodiscard]] std::uint64_t status_bytes(std::string_view status, std::string_view key);
// utime, stime, cutime and cstime of /proc/PID/stat, whose second field is a name that a handler
// chooses, parentheses and spaces included. `ticks`: of a second.
[[nodiscard]] std::chrono::microseconds stat_cpu(std::string_view stat, long ticks);

}  // namespace fnrun::isolation
