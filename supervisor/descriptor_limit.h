// How many descriptors this process may open: a supervisor of many sandboxes needs many.
//
// The limit is the process's own, so that raising it is for a program's main to decide, before any
// thread: code that still uses select(2) breaks with descriptors from 1024 on. No handler gets it:
// its limit is the policy's open_files_max.
#pragma once

#include <cstddef>

#include "isolation/setup_error.h"

namespace fnrun::supervisor {

// Of a sandbox that has served, at most: pidfd and lifeline, and a copy of each for the event loop;
// three pipes, one of them twice; the cgroup and its counters (as many as there are controllers,
// 6 at most); under `reuse: clean` three more. Of one ahead of need: 9.
inline constexpr std::size_t kDescriptorsPerSandbox = 19;

// Soft limit to hard limit (RLIMIT_NOFILE); what it is then.
isolation::Result<std::size_t> raise_descriptor_limit();

}  // namespace fnrun::supervisor
