// What the doctor knows of one layer: the question, who needs the answer, and the answer.
//
// A Probe is one row of the table (probe_table.h); a Finding is what trying it showed. Plain
// values; the functions that try run in a process of their own each (probe_runner.h), and nowhere
// else: they unshare, mount, load filters and die as they like. Knows nothing of any policy.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "isolation/host.h"
#include "isolation/plan.h"

namespace fnrun::doctor {

enum class Verdict : std::uint8_t {
  kWorks,
  kMissing,
  kUntested,  // Could not be tried, or there is nothing to try: `why` says which.
};
[[nodiscard]] std::string_view name_of(Verdict verdict) noexcept;

struct Finding {
  Verdict verdict = Verdict::kUntested;
  std::string why;
};
[[nodiscard]] Finding works(std::string why);
[[nodiscard]] Finding missing(std::string why);
[[nodiscard]] Finding untested(std::string why);
// "unshare(CLONE_NEWNET): EPERM (Operation not permitted)". `os_errno` as it was after the call.
[[nodiscard]] Finding failed(std::string_view call, int os_errno);

// What probes are told. Everything here was read, not tried.
struct Surroundings {
  pid_t doctor = 0;      // The parent of every probe.
  isolation::Host host;  // If no_host_because is empty.
  std::string no_host_because;
  std::string cgroup_dir;   // Our own cgroup v2 directory; "" if none is mounted.
  std::string group_name;   // What a probe may make below it: "fnrun-doctor-<pid>-<random>".
  std::string passed_down;  // Its cgroup.subtree_control at the start.
  std::string mountinfo;    // /proc/self/mountinfo, /proc/self/cgroup, /proc/cgroups
  std::string own_cgroups;
  std::string controllers;
  std::optional<isolation::Plan> plan;  // The policy's, with the doctor's own handler …
  std::string no_plan_because;          // … or why there is none.
  bool policy_is_bad = false;           // Then: compile() blames the policy.
};

// Who needs a layer.
enum class Need : std::uint8_t {
  kAlways,           // Every sandbox.
  kUnlessPreferred,  // A sandbox whose policy does not list `layer` under "prefer".
  kForExecOnce,      // A sandbox whose policy says seccomp.exec_once.
  kNobody,           // None cannot be made without it; told for the operator.
};

struct Probe {
  std::string_view id{};     // Stable: what --json and monitoring name it by.
  std::string_view title{};  // What is tried, in words.
  Need need = Need::kAlways;
  std::string_view layer{};  // For kUnlessPreferred: the policy's name of it.
  // Rows without which this one cannot be tried.
  std::vector<std::string_view> hangs_on{};
  std::string_view enable{};  // How to enable it on a host without.
  std::function<Finding(const Surroundings&)> run{};
  // What can be told without trying, even where what it hangs on is missing; may be empty.
  std::function<std::optional<Finding>(const Surroundings&)> look{};
};

}  // namespace fnrun::doctor
