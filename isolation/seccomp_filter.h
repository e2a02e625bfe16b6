// Seccomp profiles compiled to BPF, in the parent.
//
// libseccomp is the compiler and never leaves this room; what comes out is the kernel's own
// instruction array, ready to be sent to a child. Pure functions.
#pragma once

#include <linux/filter.h>

#include <cstdint>
#include <vector>

#include "isolation/setup_error.h"
#include "policies/policy.h"

namespace fnrun::isolation {

using BpfProgram = std::vector<sock_filter>;

// Who kills the process that makes a call with the action "kill". The kernel does it by itself and
// tells nobody which call it was; a listener is told, and must do the killing.
enum class KillBy : std::uint8_t { kKernel, kListener };

// Whatever the profile says: calls of a foreign architecture (int 0x80, x32) are killed by the
// kernel, and clone3 cannot be allowed, because its flags are behind a pointer that a filter cannot
// read.
// Refuses names that libseccomp does not know on x86_64 and rules that libseccomp would drop
// silently (2.5.4: an unconditional action beside a conditional one for the same call).
[[nodiscard]] Result<BpfProgram> compile_seccomp(const policies::Seccomp& profile,
                                                 KillBy kill_by = KillBy::kKernel);

// The init's own filter: wait, reap, report, exit, and, where it is the listener, hear of calls and
// kill by thread; all else kills it, and so the sandbox.
[[nodiscard]] Result<BpfProgram> compile_init_seccomp(KillBy kill_by);

}  // namespace fnrun::isolation
