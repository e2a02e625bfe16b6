// Probes of seccomp: each action is asked for, loaded in a child, and seen to act.
//
// Each is called in a process of its own (probe_runner.h), which it leaves filtered for ever.
#pragma once

#include "probe.h"

namespace fnrun::doctor {

[[nodiscard]] Finding probe_no_new_privs(const Surroundings& here);
[[nodiscard]] Finding probe_seccomp_kill_process(const Surroundings& here);
[[nodiscard]] Finding probe_seccomp_errno(const Surroundings& here);
[[nodiscard]] Finding probe_seccomp_trap(const Surroundings& here);
[[nodiscard]] Finding probe_seccomp_log(const Surroundings& here);
[[nodiscard]] Finding probe_seccomp_user_notif(const Surroundings& here);

}  // namespace fnrun::doctor
