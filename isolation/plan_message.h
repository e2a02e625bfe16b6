// The plan as the one message that a sandbox's init receives (child/launch_plan.h). Private to this
// room. Pure: bytes out of values.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "isolation/plan.h"

namespace fnrun::isolation {

[[nodiscard]] Result<std::vector<std::byte>> encode_plan(
    const Plan& plan, std::span<const std::string> extra_environment);

}  // namespace fnrun::isolation
