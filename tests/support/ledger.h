// What a launch could leave behind, counted: taken before and after, the two must be equal.
//
// Our cgroup directories, our child processes (zombies too), our descriptors, the mounts of the
// host. Leases of uids are counted by the fixture, which gives each test few of them.
#pragma once

#include <iosfwd>
#include <set>
#include <string>
#include <vector>

namespace fnrun::test {

struct Ledger {
  std::set<std::string> cgroups;   // Below `cgroup_dir`, those that name our pid, all levels.
  std::set<std::string> children;  // "1234", "1234 zombie"
  std::size_t descriptors = 0;
  std::vector<std::string> mounts;  // Lines of /proc/self/mountinfo.

  friend bool operator==(const Ledger&, const Ledger&) = default;
};
std::ostream& operator<<(std::ostream& out, const Ledger& ledger);

// `cgroup_dir`: where to look, "" for nowhere.
[[nodiscard]] Ledger take_ledger(const std::string& cgroup_dir);

// The directories that the supervisor `pid` made below `cgroup_dir`.
[[nodiscard]] std::set<std::string> cgroups_of(long pid, const std::string& cgroup_dir);
// Pids of the processes, of anybody, with `marker` in their command line.
[[nodiscard]] std::set<long> processes_marked(const std::string& marker);

}  // namespace fnrun::test
