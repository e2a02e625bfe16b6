// What is written to a group in order to see that a controller limits it.
//
// Values that the kernel gives back as they were written. Reads the host's files; no state.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace fnrun::doctor {

struct LimitTrial {
  std::string file;  // Of the group: "memory.max".
  std::string text;
};

// The trials of one controller, of which one has to succeed; none where there is nothing to limit.
// `cgroup_dir`: the group's parent, whose CPUs a group can have.
[[nodiscard]] std::vector<LimitTrial> limits_to_try(std::string_view controller,
                                                    const std::string& cgroup_dir);

}  // namespace fnrun::doctor
