// Probes of the namespaces and of what is built in them: id maps, mounts, the private root.
//
// Each is called in a process of its own (probe_runner.h), which it leaves changed for ever.
#pragma once

#include "probe.h"

namespace fnrun::doctor {

[[nodiscard]] Finding probe_host(const Surroundings& here);
[[nodiscard]] Finding probe_proc(const Surroundings& here);
[[nodiscard]] Finding probe_user_namespace(const Surroundings& here);
[[nodiscard]] Finding probe_uid_range(const Surroundings& here);
[[nodiscard]] Finding probe_mount_namespace(const Surroundings& here);
[[nodiscard]] Finding probe_pid_namespace(const Surroundings& here);
[[nodiscard]] Finding probe_network_namespace(const Surroundings& here);
[[nodiscard]] Finding probe_ipc_namespace(const Surroundings& here);
[[nodiscard]] Finding probe_uts_namespace(const Surroundings& here);
[[nodiscard]] Finding probe_cgroup_namespace(const Surroundings& here);
[[nodiscard]] Finding probe_time_namespace(const Surroundings& here);
[[nodiscard]] Finding probe_mount_api(const Surroundings& here);
[[nodiscard]] Finding probe_pivot_root(const Surroundings& here);
[[nodiscard]] Finding probe_proc_mount(const Surroundings& here);
[[nodiscard]] Finding probe_overlay(const Surroundings& here);

}  // namespace fnrun::doctor
