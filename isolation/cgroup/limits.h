// A policy's limits as files of a cgroup and what is written to them.
//
// Only the words: who writes them is cgroup.h. Ready-made once for a plan, so that a launch only
// writes. Pure; any thread.
#pragma once

#include <string>
#include <vector>

#include "isolation/cgroup/facts.h"

namespace fnrun::isolation {

struct CgroupSetting {
  std::string file;   // "memory.max"
  std::string value;  // As the kernel gives it back, so that reading it again must find it.
};

// The settings of the controllers that `facts` has; the others are not there.
[[nodiscard]] std::vector<CgroupSetting> cgroup_settings(const policies::Limits& limits,
                                                         const CgroupFacts& facts);

// "0-1,3": ascending, joined, as the kernel writes a list of CPUs. Precondition: cpus_fault() has
// none to find.
[[nodiscard]] std::string canonical_cpus(std::string_view cpus);

}  // namespace fnrun::isolation
