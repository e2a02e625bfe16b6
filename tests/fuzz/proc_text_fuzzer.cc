// Fuzzes the readers of the kernel's text: id maps, mountinfo, counters of cgroups, /proc/PID/stat
// and status, the kernel's release; and lists of CPUs. What
// a handler names (a cgroup, a mount point of its own) comes by there too.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "isolation/cgroup/limits.h"
#include "isolation/cgroup/stats.h"
#include "isolation/host.h"
#include "isolation/process_sample.h"

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

bool has_dot_dot(std::string_view path) {
  return path == ".." || path.starts_with("../") || path.ends_with("/..") ||
         path.find("/../") != std::string_view::npos;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace fnrun::isolation;
  const std::string_view text(reinterpret_cast<const char*>(data), size);

  const auto map = parse_id_map(text);
  if (const auto range = choose_uid_range(map)) {
    bool mapped = false;
    for (const IdMapExtent& extent : map)
      mapped = mapped ||
               (extent.inside <= range->first && std::uint64_t{range->first} + range->count <=
                                                     std::uint64_t{extent.inside} + extent.count);
    require(mapped && range->first > 0 && range->count > 0);
  }

  // The first line is our cgroup, the rest the mounts; and a fixed mount under a hostile cgroup.
  const auto newline = text.find('\n');
  const std::string own = "0::" + std::string(text.substr(0, newline));
  const auto rest = newline == std::string_view::npos ? "" : text.substr(newline + 1);
  (void)find_cgroup_dir(rest, own);
  (void)find_cgroup_dir(text, "0::/a\n");
  const std::string dir = find_cgroup_dir("1 2 0:3 / /sys/fs/cgroup rw - cgroup2 c rw\n", own);
  require(dir.empty() || (dir.starts_with("/sys/fs/cgroup") && !has_dot_dot(dir)));

  const auto [major, minor] = parse_kernel_release(text);
  require(major >= 0 && minor >= 0);
  if (const auto time = parse_cpu_stat(text))
    require(time->user.count() >= 0 && time->system.count() >= 0);
  (void)parse_io_stat(text);
  for (const char* key : {"RssAnon", "Threads", ""}) (void)status_bytes(text, key);
  require(stat_cpu(text, 100).count() >= 0);
  for (const char* controller : {"memory", "io"})
    require(!why_controller_missing(controller, {text, text, text, text, "/dir"}).why.empty());
  const std::string cpus = canonical_cpus(text);
  require(canonical_cpus(cpus) == cpus);
  return 0;
}
