#include "isolation/process_sample.h"

#include <sys/syscall.h>

#include <ctime>
#include <string>
#include <vector>

#include "isolation/cgroup/kernel_text.h"
#include "isolation/process_tree.h"

namespace fnrun::isolation {
namespace {

// What has ended, or is about to, has no such line.
bool holds_memory(std::string_view status) {
  return status.find("\nRssAnon:") != std::string_view::npos;
}

// A first thread that has ended while others go on is a zombie without memory: then another's word
// counts.
std::string living_task(pid_t pid, std::string& status) {
  status = read_kernel_text(proc_file(pid, "status"));
  if (holds_memory(status)) return std::to_string(pid);
  constexpr std::size_t kTasksMax = 65'536;
  const std::string tasks = proc_file(pid, "task");
  for (const std::string& task : names_in(AT_FDCWD, tasks.c_str(), kTasksMax)) {
    std::string other = read_kernel_text(tasks + "/" + task + "/status");
    if (!holds_memory(other)) continue;
    status = std::move(other);
    return task;
  }
  return "";
}

// vfork(2), posix_spawn(3) and whoever else asks for it: one memory, two processes.
bool share_memory(const Process& process) {
  constexpr int kKcmpVm = 1;  // KCMP_VM
  return ::syscall(SYS_kcmp, process.parent, process.pid, kKcmpVm, 0, 0) == 0;
}

// Each shared page divided by its users; nothing without the right to look so closely.
std::optional<std::uint64_t> proportional_bytes(const std::string& task) {
  const std::string rollup = read_kernel_text("/proc/" + task + "/smaps_rollup");
  if (rollup.empty()) return std::nullopt;
  return status_bytes(rollup, "Pss_Anon") + status_bytes(rollup, "Pss_Shmem") +
         status_bytes(rollup, "SwapPss");
}

struct Memory {
  std::string task;  // Whose files in /proc tell of it.
  std::uint64_t page_tables = 0;
};

bool is_set(const std::atomic<bool>* flag) {
  return flag != nullptr && *flag;
}

// Of the calling thread.
std::chrono::nanoseconds cpu_time() {
  timespec used{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return std::chrono::seconds(used.tv_sec) + std::chrono::nanoseconds(used.tv_nsec);
}

// Nothing if it cannot be told, or not in time: of our own, or a busy host would make a handler of
// few pages one of many. The clock is for who keeps a memory map locked, as one that forks does.
std::optional<std::uint64_t> exact_bytes(const std::vector<Memory>& memories,
                                         const std::atomic<bool>* given_up) {
  constexpr std::chrono::milliseconds kEffort{100};
  constexpr std::chrono::milliseconds kPatience{1'000};
  const auto effort_limit = cpu_time() + kEffort;
  const auto limit = std::chrono::steady_clock::now() + kPatience;
  std::uint64_t exact = 0;
  for (const Memory& memory : memories) {
    if (is_set(given_up) || cpu_time() > effort_limit || std::chrono::steady_clock::now() > limit)
      return std::nullopt;
    const auto bytes = proportional_bytes(memory.task);
    if (!bytes && holds_memory(read_kernel_text("/proc/" + memory.task + "/status")))
      return std::nullopt;                            // We may not look.
    if (bytes) exact += *bytes + memory.page_tables;  // Else it has ended meanwhile.
  }
  return exact;
}

}  // namespace

std::uint64_t status_bytes(std::string_view status, std::string_view key) {
  constexpr std::uint64_t kKiB = 1'024;
  const std::uint64_t kib = status_number(status, key);
  return kib > UINT64_MAX / kKiB ? UINT64_MAX : kib * kKiB;
}

std::chrono::microseconds stat_cpu(std::string_view stat, long ticks) {
  const auto name_end = stat.rfind(')');
  if (name_end == std::string_view::npos || ticks <= 0) return {};
  const auto fields = split(stat.substr(name_end + 1), ' ');
  constexpr std::size_t kUtime = 11;  // proc(5): field 14; the state, field 3, is the first here.
  constexpr std::size_t kTimes = 4;
  constexpr std::uint64_t kMax = 1ULL << 40;  // 300 years of ticks.
  std::uint64_t sum = 0;
  for (std::size_t i = kUtime; i < kUtime + kTimes && i < fields.size(); ++i)
    sum += std::min(to_number<std::uint64_t>(fields[i]).value_or(0), kMax);
  return std::chrono::microseconds(static_cast<std::int64_t>(sum) * (1'000'000 / ticks));
}

bool can_sample_processes() {
  return can_see_children();
}

std::optional<ProcessSample> sample_processes(pid_t root, std::uint64_t exact_above,
                                              const std::atomic<bool>* given_up) {
  const long ticks = ::sysconf(_SC_CLK_TCK);
  const std::string root_stat = read_kernel_text(proc_file(root, "stat"));
  if (root_stat.empty()) return std::nullopt;
  ProcessSample sample;
  sample.cpu = stat_cpu(root_stat, ticks);
  std::vector<Memory> memories;
  for (const Process& process : descendants(root)) {
    if (is_set(given_up)) return std::nullopt;
    std::string status;
    const std::string task = living_task(process.pid, status);
    sample.threads += status_number(status, "Threads");
    sample.cpu += stat_cpu(read_kernel_text(proc_file(process.pid, "stat")), ticks);
    if (task.empty() || share_memory(process)) continue;
    memories.push_back({task, status_bytes(status, "VmPTE")});
    for (const char* key : {"RssAnon", "RssShmem", "VmSwap", "VmPTE"})
      sample.resident_bytes += status_bytes(status, key);
  }
  if (sample.resident_bytes > exact_above && memories.size() > 1)
    sample.resident_bytes = exact_bytes(memories, given_up).value_or(sample.resident_bytes);
  return sample;
}

}  // namespace fnrun::isolation
