#include "isolation/cgroup/stats.h"

#include <limits>

#include "isolation/cgroup/kernel_text.h"

namespace fnrun::isolation {
namespace {

UniqueFd open_counter(int dir_fd, const char* file) {
  return UniqueFd(::openat(dir_fd, file, O_RDONLY | O_CLOEXEC));
}

// From the beginning, as the kernel counts now. Longer than this is none of these files, but for
// io.stat of very many disks: then the last ones are left out.
class Text {
 public:
  explicit Text(const UniqueFd& file) {
    const ssize_t n = file ? ::pread(file.get(), buffer_, sizeof buffer_, 0) : -1;
    if (n > 0) text_ = {buffer_, static_cast<std::size_t>(n)};
  }
  Text(const Text&) = delete;
  Text& operator=(const Text&) = delete;
  operator std::string_view() const { return text_; }  // NOLINT(*-explicit-*): it is one.
  [[nodiscard]] std::optional<std::uint64_t> number() const {
    return to_number<std::uint64_t>(text_.substr(0, text_.find('\n')));
  }

 private:
  char buffer_[8192];
  std::string_view text_;
};

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

CounterFiles::CounterFiles(int cgroup_dir_fd)
    : cpu_stat_(open_counter(cgroup_dir_fd, "cpu.stat")),
      memory_events_(open_counter(cgroup_dir_fd, "memory.events")),
      memory_peak_(open_counter(cgroup_dir_fd, "memory.peak")),
      pids_events_(open_counter(cgroup_dir_fd, "pids.events")),
      pids_peak_(open_counter(cgroup_dir_fd, "pids.peak")),
      io_stat_(open_counter(cgroup_dir_fd, "io.stat")) {}

std::optional<CpuTime> CounterFiles::read_cpu_time() const {
  return parse_cpu_stat(Text(cpu_stat_));
}

ResourceUse CounterFiles::read() const {
  ResourceUse use;
  const Text cpu(cpu_stat_);
  use.cpu = parse_cpu_stat(cpu);
  use.throttled = microseconds(keyed_number(cpu, "throttled_usec"));
  const Text memory(memory_events_);
  use.memory_max_hits = keyed_number(memory, "max");
  use.oom_kills = keyed_number(memory, "oom_kill");
  use.memory_peak_bytes = Text(memory_peak_).number();
  use.processes_max_hits = keyed_number(Text(pids_events_), "max");
  if (const auto peak = Text(pids_peak_).number(); peak && *peak > 0)
    use.processes_peak = *peak - 1;
  if (io_stat_) {
    const IoBytes io = parse_io_stat(Text(io_stat_));
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
