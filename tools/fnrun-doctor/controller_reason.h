// Why a cgroup v2 controller is not here: where the kernel's text says it is bound now.
//
// Pure functions over /proc/self/mountinfo and /proc/cgroups; total on any text.
#pragma once

#include <string>
#include <string_view>

namespace fnrun::doctor {

// `controller`: its v2 name ("io"). Precondition: our cgroup.controllers does not list it.
[[nodiscard]] std::string why_controller_missing(std::string_view controller,
                                                 std::string_view mountinfo,
                                                 std::string_view proc_cgroups);

}  // namespace fnrun::doctor
