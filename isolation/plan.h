// A policy compiled for one handler on one host: everything that a launch needs, ready-made.
//
// compile() decides; launching executes (launcher.h). A Plan is immutable and may be launched any
// number of times, from several threads at once. It pins the mount sources that it checked: a file
// replaced on disk later is seen by the next compile(); a launch shows the old one, or, without
// privilege, refuses (ESTALE).
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "isolation/cgroup/limits.h"
#include "isolation/handler_file.h"
#include "isolation/host.h"
#include "isolation/seccomp_filter.h"
#include "isolation/setup_error.h"
#include "isolation/unique_fd.h"
#include "policies/policy.h"

namespace fnrun::isolation {

// One entry of the new root, in the order of making. Paths have no leading slash.
struct RootEntry {
  enum class Kind : std::uint8_t { kDirectory, kFile, kSymlink, kMount, kTmpfs, kProc };
  Kind kind = Kind::kDirectory;
  std::string path;
  std::string source;            // kMount: on the host; kSymlink: the text; kTmpfs, kProc: options.
  std::uint64_t attributes = 0;  // kMount: MOUNT_ATTR_*.
  std::uint32_t flags = 0;       // kTmpfs, kProc: MS_*.
  UniqueFd source_fd{};          // kMount, privileged: O_PATH, what was checked.
  std::uint64_t device = 0;      // kMount: st_dev and st_ino of what was checked.
  std::uint64_t inode = 0;
  bool is_directory = false;  // kMount
  std::string why;
};

struct ResourceLimit {
  std::uint32_t resource = 0;  // RLIMIT_*
  std::uint64_t value = 0;     // Soft and hard.
  std::string name;
};

struct LandlockPath {
  std::string path;  // Absolute, inside.
  std::uint64_t access = 0;
};

struct Plan {
  policies::Policy policy;
  Host host;
  HandlerFile handler;
  std::vector<std::string> environment;  // "NAME=value", sorted by name
  std::vector<RootEntry> root;
  std::vector<ResourceLimit> limits;
  BpfProgram seccomp_floor;  // Loaded before `seccomp`; the strictest verdict of both counts.
  BpfProgram seccomp;
  // kListener: the init is told of what `seccomp` kills for, reports it and kills.
  KillBy forbidden_calls = KillBy::kKernel;
  BpfProgram init_seccomp;
  std::uint64_t landlock_fs = 0;  // What Landlock handles; 0: not in force.
  std::uint64_t landlock_net = 0;
  std::uint64_t landlock_scoped = 0;
  std::vector<LandlockPath> landlock_paths;
  bool use_cgroup = false;
  std::set<policies::Layer> controllers;       // In force.
  std::vector<CgroupSetting> cgroup_settings;  // By them.
  // Where the controller of memory, or of pids, is not there: what stands in needs somebody who
  // looks (Sandbox::sample()). The supervisor does, while a call runs.
  bool sample_memory = false;
  bool sample_processes = false;
  bool use_time_namespace = false;
  // Layer -> what is lost and why. Printed at start and in every report.
  std::map<std::string, std::string> degraded;
  std::vector<std::string> layers;  // In force, by name, in the order of setting up.
#ifdef FNRUN_TEST_SWITCHES
  std::uint32_t switched_off = 0;  // TestSwitch bits; see child/launch_plan.h.
#endif

  // The plan in words, for `--explain`. Ends with a newline.
  [[nodiscard]] std::string explain() const;
};

// Reads the host's files (is a source there, may the sandbox's uid read it), changes nothing.
[[nodiscard]] Result<Plan> compile(const policies::Policy& policy, const Host& host,
                                   HandlerFile handler);

}  // namespace fnrun::isolation
