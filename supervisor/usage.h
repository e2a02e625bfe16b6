// What an invocation used, from what the sandbox tells: counters, the handler's end, looks.
//
// Decides whose word counts where there are several, and when there is none. Pure functions; any
// thread.
#pragma once

#include <cstdint>
#include <optional>

#include "isolation/sandbox.h"
#include "supervisor/report.h"
#include "supervisor/resource_watch.h"

namespace fnrun::supervisor {

// The cgroup's word counts every process inside; the init's wait4 only the handler and who it
// waited for, only once it has ended, and over its whole life: that is a call's if there was but
// one.
// `use`: the difference that the call made. `calls_served`: with this one.
[[nodiscard]] Usage usage_of(const isolation::ResourceUse& use,
                             const std::optional<isolation::Exit>& exit,
                             std::uint64_t calls_served);
// Fills peaks that nobody counted with what was seen.
void add_samples(Usage& usage, const ResourceWatch& watch);

}  // namespace fnrun::supervisor
