// What this host and this user can do for a sandbox: facts, probed once.
//
// A plain value. compile() (plan.h) holds a policy against it, so every degradation is decided, and
// can be printed, before anything is launched. Knows nothing of any policy.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "isolation/cgroup/facts.h"
#include "isolation/setup_error.h"

namespace fnrun::isolation {

// Host uids (and equal gids) that sandboxes of a privileged supervisor run under, one each.
struct UidRange {
  std::uint32_t first = 0;
  std::uint32_t count = 0;
};

struct Host {
  std::string kernel_release;
  uid_t uid = 0;  // Effective, of the supervisor.
  gid_t gid = 0;
  // Root, or as good as: may give each sandbox a uid of its own. Otherwise the sandboxes run as the
  // supervisor's own uid, behind a user namespace.
  bool privileged = false;
  std::optional<UidRange> slot_uids;  // Only if privileged.
  // Beside `gid`. Without privilege they cannot be dropped.
  std::size_t supplementary_groups = 0;
  int landlock_abi = 0;  // 0: none.
  bool time_namespace = false;
  unsigned last_capability = 0;
  bool core_dumps_piped = false;  // kernel.core_pattern names a program.
  CgroupFacts cgroup;
  // A filter of ours can tell us of a call (seccomp user notification): not under a filter that has
  // a listener already, a container's that watches its own calls.
  bool seccomp_listener = false;
  bool can_sample = true;  // What processes hold can be read in /proc, tree and all.
};

// Refuses hosts that cannot hold any sandbox: another machine than x86_64, Linux before 5.14, root
// that may not change uids. Reads /proc and asks; makes nothing that
// lasts.
// `uids`: instead of the default range (see README.md, "One uid per slot").
[[nodiscard]] Result<Host> probe_host(std::optional<UidRange> uids = std::nullopt);

// Parsers of the kernel's text, total on any input; public so that they are tested and fuzzed.
struct IdMapExtent {
  std::uint32_t inside = 0;
  std::uint32_t outside = 0;
  std::uint32_t count = 0;
};
[[nodiscard]] std::vector<IdMapExtent> parse_id_map(std::string_view text);
[[nodiscard]] std::optional<UidRange> choose_uid_range(const std::vector<IdMapExtent>& map);
// Service managers list the primary group among the supplementary ones: it gives nothing more.
[[nodiscard]] std::size_t groups_beside(gid_t own, const std::vector<gid_t>& groups);
// "6.1.0-50-amd64" -> {6, 1}; {0, 0} if it does not start so.
[[nodiscard]] std::pair<int, int> parse_kernel_release(std::string_view release);

}  // namespace fnrun::isolation
