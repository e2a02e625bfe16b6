// The last probe: launching a program under the policy, by the launcher that handlers get.
#pragma once

#include <string>

#include "probe.h"

namespace fnrun::doctor {

// Where the program is that is launched: static, does nothing, belongs to the doctor.
[[nodiscard]] std::string launched_program();

[[nodiscard]] Finding probe_launch(const Surroundings& here);

}  // namespace fnrun::doctor
