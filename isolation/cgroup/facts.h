// What of cgroup v2 this process may use: where its groups go, and which limits they can have.
//
// Asked for, not tried: nothing is made or moved (tree.h does that). A controller that is missing
// comes with where it is bound now and what would enable it, because that is the first question of
// whoever reads it. Plain values; any thread.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "policies/policy.h"

namespace fnrun::isolation {

// The leaf that the processes of a delegated group move to before it can pass controllers on; the
// name is systemd's own suggestion (DelegateSubgroup=).
inline constexpr std::string_view kSupervisorLeaf = "supervisor";

// Why groups of ours cannot have a controller, and what would give it to them.
struct MissingController {
  std::string why;
  std::string help;
};

struct CgroupFacts {
  std::string dir;             // The group below which ours go; "" if there is none.
  std::string no_dir_because;  // Then: why, and what helps.
  std::string no_dir_help;
  // The processes in `dir` must move to its leaf before controllers can be enabled.
  bool move_processes = false;
  std::map<policies::Layer, MissingController> missing;
  bool has_peaks = true;           // memory.peak: Linux 5.19.
  std::vector<std::string> disks;  // "8:0": what io.max can name.
  unsigned cpus = 1;               // That may run at once.

  [[nodiscard]] bool has(policies::Layer controller) const {
    return !dir.empty() && !missing.contains(controller);
  }
};

[[nodiscard]] CgroupFacts probe_cgroup();

// Parsers of the kernel's text, total on any input; public so that they are tested and fuzzed.

// The directory of the cgroup v2 hierarchy's `own_path` (of /proc/self/cgroup's "0::" line) as
// /proc/self/mountinfo shows it, or "".
[[nodiscard]] std::string find_cgroup_dir(std::string_view mountinfo, std::string_view own_cgroups);

// Where the v2 hierarchy that `dir` lies in is mounted, or "".
[[nodiscard]] std::string cgroup_mount_of(std::string_view mountinfo, std::string_view dir);

struct ControllerTexts {
  std::string_view mountinfo;        // /proc/self/mountinfo
  std::string_view own_cgroups;      // /proc/self/cgroup
  std::string_view all_controllers;  // /proc/cgroups
  std::string_view top_controllers;  // cgroup.controllers where the v2 hierarchy is mounted
  std::string dir;                   // The group that lacks it.
};
// `controller` by its v2 name: where it is bound now, and how to get it to `dir`.
[[nodiscard]] MissingController why_controller_missing(std::string_view controller,
                                                       const ControllerTexts& texts);

}  // namespace fnrun::isolation
