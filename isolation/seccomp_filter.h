// Seccomp profiles compiled to BPF, in the parent.
//
// libseccomp is the compiler and never leaves this room; what comes out is the kernel's own
// instruction array, ready to be sent to a child. Pure functions.
#pragma once

#include <linux/filter.h>

#include <vector>

#include "isolation/setup_error.h"
#include "policies/policy.h"

namespace fnrun::isolation {

using BpfProgram = std::vector<sock_filter>;

// Whatever the profile says: calls of a foreign architecture (int 0x80, x32) kill the process, and
// clone3 cannot be allowed, because its flags are behind a pointer that a filter cannot read.
// Refuses names that libseccomp does not know on x86_64 and rules that libseccomp would drop
// silently (2.5.4: an unconditional action beside a conditional one for the same call).
[[nodiscard]] Result<BpfProgram> compile_seccomp(const policies::Seccomp& profile);

// The init's own filter: wait, reap, report, exit; all else kills it, and so the sandbox.
[[nodiscard]] Result<BpfProgram> compile_init_seccomp();

}  // namespace fnrun::isolation
