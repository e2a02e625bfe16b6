#include "isolation/cgroup/stats.h"

#include <limits>

#include "isolation/cgroup/kernel_text.h"

namespace fnrun::isolation {
namespace {

std::optional<std::uint64_t> read_number(int dir_fd, const char* file) {
  std::string text = read_kernel_text(dir_fd, file);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return to_number<std::uint64_t>(text);
}

std::optional<std::chrono::microseconds> microseconds(std::optional<std::uint64_t> number) {
  constexpr std::uint64_t kMax = std::numeric_limits<std::int64_t>::max() / 2;  // A sum fits.
  if (!number || *number > kMax) return std::nullopt;
  return std::chrono::microseconds(static_cast<std::int64_t>(*number));
}

template <class T>
std::optional<T> difference(const std::optional<T>& before, const std::optional<T>& after) {
  if (!before || !after || *after < *before) return after;
  return *after - *before;
}

}  // namespace

std::optional<CpuTime> parse_cpu_stat(std::string_view text) {
  const auto user = microseconds(keyed_number(text, "user_usec"));
  const auto system = microseconds(keyed_number(text, "system_usec"));
  if (!user || !system) return std::nullopt;
  return CpuTime{*user, *system};
}

IoBytes parse_io_stat(std::string_view text) {
  IoBytes sum;
  for (const auto line : split(text, '\n')) {
    for (const auto field : split(line, ' ')) {
      const auto equals = field.find('=');
      if (equals == std::string_view::npos) continue;
      const auto value = to_number<std::uint64_t>(field.substr(equals + 1));
      const auto key = field.substr(0, equals);
      if (!value) continue;
      if (key == "rbytes") sum.read += *value;
      if (key == "wbytes") sum.written += *value;
    }
  }
  return sum;
}

std::optional<CpuTime> read_cpu_time(int cgroup_dir_fd) {
  return parse_cpu_stat(read_kernel_text(cgroup_dir_fd, "cpu.stat"));
}

ResourceUse read_use(int cgroup_dir_fd) {
  ResourceUse use;
  const std::string cpu = read_kernel_text(cgroup_dir_fd, "cpu.stat");
  use.cpu = parse_cpu_stat(cpu);
  use.throttled = microseconds(keyed_number(cpu, "throttled_usec"));
  const std::string memory = read_kernel_text(cgroup_dir_fd, "memory.events");
  use.memory_max_hits = keyed_number(memory, "max");
  use.oom_kills = keyed_number(memory, "oom_kill");
  use.memory_peak_bytes = read_number(cgroup_dir_fd, "memory.peak");
  use.processes_max_hits = keyed_number(read_kernel_text(cgroup_dir_fd, "pids.events"), "max");
  if (const auto peak = read_number(cgroup_dir_fd, "pids.peak"); peak && *peak > 0)
    use.processes_peak = *peak - 1;
  if (::faccessat(cgroup_dir_fd, "io.stat", R_OK, 0) == 0) {
    const IoBytes io = parse_io_stat(read_kernel_text(cgroup_dir_fd, "io.stat"));
    use.io_read_bytes = io.read;
    use.io_written_bytes = io.written;
  }
  return use;
}

ResourceUse since(const ResourceUse& before, const ResourceUse& after) {
  ResourceUse use = after;
  if (before.cpu && after.cpu)
    use.cpu = CpuTime{after.cpu->user - before.cpu->user, after.cpu->system - before.cpu->system};
  use.throttled = difference(before.throttled, after.throttled);
  use.memory_max_hits = difference(before.memory_max_hits, after.memory_max_hits);
  use.oom_kills = difference(before.oom_kills, after.oom_kills);
  use.processes_max_hits = difference(before.processes_max_hits, after.processes_max_hits);
  use.io_read_bytes = difference(before.io_read_bytes, after.io_read_bytes);
  use.io_written_bytes = difference(before.io_written_bytes, after.io_written_bytes);
  return use;
}

}  // namespace fnrun::isolation
