// All probes, by family. Each family is a file of its own.
#pragma once

#include <span>

#include "probe.h"

namespace fnrun::probe {

[[nodiscard]] Family canaries();
[[nodiscard]] Family namespaces_and_mounts();
[[nodiscard]] Family kernel_surface();
[[nodiscard]] Family kernel_switches();
[[nodiscard]] Family processes();
[[nodiscard]] Family privilege();
[[nodiscard]] Family filesystem();
[[nodiscard]] Family proc_and_devices();
[[nodiscard]] Family ipc_and_network();
[[nodiscard]] Family resources();

// Canaries first: where they do not live, nothing else means anything.
[[nodiscard]] std::span<const Family> probe_table();

}  // namespace fnrun::probe
