#include "isolation/process_sample.h"

#include <filesystem>
#include <string>
#include <vector>

#include "isolation/cgroup/kernel_text.h"

namespace fnrun::isolation {
namespace {

// RLIMIT_NPROC bounds a sandbox; this bounds us.
constexpr std::size_t kProcessesMax = 65'536;

std::string proc_file(pid_t pid, const std::string& file) {
  return "/proc/" + std::to_string(pid) + "/" + file;
}

// The children of every thread of it: a thread that forks is the parent.
void add_children(pid_t pid, std::vector<pid_t>& found) {
  std::error_code error;
  for (const auto& task : std::filesystem::directory_iterator(proc_file(pid, "task"), error)) {
    const std::string children = read_kernel_text(task.path() / "children");
    for (const auto child : split(children, ' '))
      if (const auto number = to_number<pid_t>(child); number && found.size() < kProcessesMax)
        found.push_back(*number);
  }
}

std::uint64_t status_number(std::string_view status, std::string_view key) {
  for (const auto line : split(status, '\n')) {
    if (!line.starts_with(key) || line.size() <= key.size() || line[key.size()] != ':') continue;
    std::string_view value = line.substr(key.size() + 1);
    value.remove_prefix(std::min(value.find_first_not_of("\t "), value.size()));
    return to_number<std::uint64_t>(value.substr(0, value.find(' '))).value_or(0);
  }
  return 0;
}

// Each shared page divided by its users; nothing without the right to look so closely.
std::optional<std::uint64_t> proportional_bytes(pid_t pid) {
  const std::string rollup = read_kernel_text(proc_file(pid, "smaps_rollup"));
  if (rollup.empty()) return std::nullopt;
  return status_bytes(rollup, "Pss_Anon") + status_bytes(rollup, "Pss_Shmem") +
         status_bytes(rollup, "SwapPss");
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
  return ::access("/proc/thread-self/children", R_OK) == 0;
}

std::optional<ProcessSample> sample_processes(pid_t root, std::uint64_t resident_limit) {
  const long ticks = ::sysconf(_SC_CLK_TCK);
  const std::string root_stat = read_kernel_text(proc_file(root, "stat"));
  if (root_stat.empty()) return std::nullopt;
  ProcessSample sample;
  sample.cpu = stat_cpu(root_stat, ticks);
  std::vector<pid_t> all;
  add_children(root, all);
  for (std::size_t i = 0; i < all.size(); ++i) {
    add_children(all[i], all);
    const std::string status = read_kernel_text(proc_file(all[i], "status"));
    sample.threads += status_number(status, "Threads");
    for (const char* key : {"RssAnon", "RssShmem", "VmSwap"})
      sample.resident_bytes += status_bytes(status, key);
    sample.cpu += stat_cpu(read_kernel_text(proc_file(all[i], "stat")), ticks);
  }
  if (sample.resident_bytes <= resident_limit || all.size() < 2) return sample;
  // Forks share what they have not written to; counted once for each, it looks like more.
  std::uint64_t exact = 0;
  for (const pid_t pid : all) {
    const auto bytes = proportional_bytes(pid);
    if (bytes) exact += *bytes;
    if (!bytes && ::access(proc_file(pid, "status").c_str(), F_OK) == 0) return sample;
  }
  sample.resident_bytes = exact;
  return sample;
}

}  // namespace fnrun::isolation
