// Probes of cgroup v2: the mount, delegation, its core files, and each controller.
//
// Each is called in a process of its own (probe_runner.h). They make one group, below our own
// cgroup, named Surroundings::group_name, and remove it; who is moved are helpers of theirs, and,
// for controllers and back again, the doctor (passed_down.h).
#pragma once

#include <optional>

#include "probe.h"

namespace fnrun::doctor {

[[nodiscard]] Finding probe_cgroup_mount(const Surroundings& here);
[[nodiscard]] Finding probe_cgroup_delegation(const Surroundings& here);
[[nodiscard]] Finding probe_cgroup_kill(const Surroundings& here);
[[nodiscard]] Finding probe_cgroup_freeze(const Surroundings& here);
[[nodiscard]] Finding probe_clone_into_cgroup(const Surroundings& here);

// "memory", "pids", "cpu", "io", "cpuset". Looking tells only what is missing.
[[nodiscard]] std::optional<Finding> look_for_controller(const Surroundings& here,
                                                         std::string_view controller);
[[nodiscard]] Finding probe_controller(const Surroundings& here, std::string_view controller);

// Undoes what a probe left behind that was killed: its group with whatever is in it, its moves. By
// the doctor, after each probe.
void clean_up(const Surroundings& here);

}  // namespace fnrun::doctor
