// A new cgroup that supervisors of this host leave alone.
//
// A supervisor that starts removes groups named fnrun-* whose lock nobody holds (isolation/cgroup),
// so the doctor holds the locks of its own, and what is left of one that was killed goes with them.
// No state, no thread rule.
#pragma once

#include <string>

#include "isolation/unique_fd.h"

namespace fnrun::doctor {

// Makes `dir` and locks it, for as long as the descriptor is open. None: errno says why, and
// nothing is left.
[[nodiscard]] isolation::UniqueFd make_locked_group(const std::string& dir);

}  // namespace fnrun::doctor
