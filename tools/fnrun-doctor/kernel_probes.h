// Probes of what is neither namespace, filter nor cgroup: Landlock, memory files, and settings of
// the host that make a sandbox weaker or impossible.
//
// Each is called in a process of its own (probe_runner.h).
#pragma once

#include "probe.h"

namespace fnrun::doctor {

[[nodiscard]] Finding probe_landlock(const Surroundings& here);
[[nodiscard]] Finding probe_memfd_exec(const Surroundings& here);
[[nodiscard]] Finding probe_apparmor_userns(const Surroundings& here);
[[nodiscard]] Finding probe_core_dumps(const Surroundings& here);
[[nodiscard]] Finding probe_io_uring(const Surroundings& here);

}  // namespace fnrun::doctor
