// Seccomp profiles compiled to BPF, in the parent.
//
// libseccomp is the compiler and never leaves this room; what comes out is the kernel's own
// instruction array, ready to be sent to a child. Pure functions.
#pragma once

#include <linux/filter.h>

#include <cstdint>
#include <string_view>
#include <vector>

#include "isolation/setup_error.h"
#include "policies/oci_seccomp.h"
#include "policies/policy.h"

namespace fnrun::isolation {

using BpfProgram = std::vector<sock_filter>;

// Who kills the process that makes a call with the action "kill". The kernel does it by itself and
// tells nobody which call it was; a listener is told, and must do the killing.
enum class KillBy : std::uint8_t { kKernel, kListener };

// The policy's rules with the floor laid into them (policies/seccomp_floor.h): what is refused is
// refused in the policy's way, and told of. Calls of a foreign architecture (int 0x80, x32) are
// killed by the kernel, whatever the profile says.
// Refuses names that libseccomp does not know on x86_64, rules that libseccomp would drop silently
// (2.5.4: an unconditional action beside a conditional one for the same call), what the floor would
// not let hold, and `exec_once` without a listener, who lets the one execve(2) pass.
[[nodiscard]] Result<BpfProgram> compile_seccomp(const policies::Seccomp& profile,
                                                 KillBy kill_by = KillBy::kKernel);

// The floor as a filter of its own, which is loaded before the policy's: the kernel takes the
// strictest verdict of all, so that nothing in the policy's filter can loosen it. Beside a listener
// it answers "ask the listener" and has none: what the policy's filter refuses is refused its way
// (of equal verdicts the last filter's counts), and what it would let through fails with ENOSYS.
[[nodiscard]] Result<BpfProgram> compile_seccomp_floor(const policies::Seccomp& profile,
                                                       KillBy kill_by = KillBy::kKernel);

// For import_oci_seccomp().
[[nodiscard]] policies::CallName look_up_call(std::string_view name);

// The init's own filter: wait, reap, report, exit, and, where it is the listener, hear of calls and
// kill by thread; all else kills it, and so the sandbox.
[[nodiscard]] Result<BpfProgram> compile_init_seccomp(KillBy kill_by);

}  // namespace fnrun::isolation
