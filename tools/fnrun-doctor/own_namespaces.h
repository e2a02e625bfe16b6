// Ways into namespaces of our own, for probes: the steps that several of them begin with.
//
// Each returns nothing if it worked, else the finding that the probe is to give back. They change
// the calling process for ever; only probes call them.
#pragma once

#include <optional>

#include "probe.h"

namespace fnrun::doctor {

// A user namespace in which we are who we are outside, and have every capability.
[[nodiscard]] std::optional<Finding> enter_user_namespace();
// That, `more` flags of unshare(2), and a mount namespace from which nothing travels.
[[nodiscard]] std::optional<Finding> enter_mount_namespace(int more = 0);
// That, and a tmpfs of our own over "/", which is the working directory; absolute paths still lead
// to the old root.
[[nodiscard]] std::optional<Finding> enter_own_root(int more = 0);
// pivot_root(2) to the working directory, which stacks the old root over it. -1 and errno.
[[nodiscard]] int pivot_root_here();

}  // namespace fnrun::doctor
