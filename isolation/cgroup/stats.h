// What a cgroup's counters say: CPU time, memory, processes, reads and writes, and how often a
// limit was hit.
//
// Counters only grow over a sandbox's life; what one call used is a difference (since()). A value
// that this host does not count is absent, never 0. Plain values; any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

#include "isolation/unique_fd.h"

namespace fnrun::isolation {

struct CpuTime {
  std::chrono::microseconds user{};
  std::chrono::microseconds system{};

  [[nodiscard]] std::chrono::microseconds total() const { return user + system; }
};

struct ResourceUse {
  std::optional<CpuTime> cpu;  // Of every process ever inside, ended or not.
  std::optional<std::chrono::microseconds> throttled;  // Waited because of cpu_max_percent.
  // The most at once, since the sandbox began or reset_peak() (`peak_of_call`: Linux 6.12).
  std::optional<std::uint64_t> memory_peak_bytes;
  bool peak_of_call = false;
  std::optional<std::uint64_t> memory_max_hits;  // Reclaim had to run because of memory_max_bytes.
  std::optional<std::uint64_t> oom_kills;        // Processes that the OOM killer took.
  // Threads are processes here; the init, which is one too, is left out.
  std::optional<std::uint64_t> processes_peak;
  std::optional<std::uint64_t> processes_max_hits;  // Forks that were refused.
  std::optional<std::uint64_t> io_read_bytes;
  std::optional<std::uint64_t> io_written_bytes;
};

// What was counted from `before` to `after`; peaks are those of `after`.
[[nodiscard]] ResourceUse since(const ResourceUse& before, const ResourceUse& after);

// The counters of one group, kept open: reading one again is a fifth of opening it, and what this
// host does not count is asked for once. Not thread-safe.
class CounterFiles {
 public:
  CounterFiles() = default;
  explicit CounterFiles(int cgroup_dir_fd);  // Borrowed while this runs.
  [[nodiscard]] ResourceUse read() const;
  // CPU time alone, for whoever asks often.
  [[nodiscard]] std::optional<CpuTime> read_cpu_time() const;

 private:
  UniqueFd cpu_stat_;
  UniqueFd memory_events_;
  UniqueFd memory_peak_;
  UniqueFd pids_events_;
  UniqueFd pids_peak_;
  UniqueFd io_stat_;
};

// The files as the kernel writes them; total on any text.
[[nodiscard]] std::optional<CpuTime> parse_cpu_stat(std::string_view text);
struct IoBytes {
  std::uint64_t read = 0;
  std::uint64_t written = 0;
};
// "8:0 rbytes=1 wbytes=2 rios=3 …", a line a device: the sum.
[[nodiscard]] IoBytes parse_io_stat(std::string_view text);

}  // namespace fnrun::isolation
