#include "policies/policy.h"

#include <algorithm>

namespace fnrun::policies {

Policy::Policy() : seccomp(default_seccomp()) {}

Seccomp default_seccomp() {
  Seccomp seccomp;
  seccomp.default_action = {SyscallAction::Kind::kKillProcess, 0};
  seccomp.rules.push_back(
      {.name = "static-program",
       .action = {SyscallAction::Kind::kAllow, 0},
       .calls = {"arch_prctl", "brk", "execve", "exit_group", "getrandom", "mprotect", "read",
                 "readlink", "rseq", "set_robust_list", "set_tid_address", "write"},
       .when = {},
       .why = "start-up of a static glibc program that reads stdin and writes stdout"});
  // glibc asks for its stack limit at start; for another process the call would tell of the host.
  seccomp.rules.push_back(
      {.name = "static-program-limits",
       .action = {SyscallAction::Kind::kAllow, 0},
       .calls = {"prlimit64"},
       .when = {{.arg = 0, .op = ArgCondition::Op::kEqual, .mask = 0, .values = {0}}},
       .why = "glibc reads its own limits at start"});
  return seccomp;
}

bool holds(const ArgCondition& condition, std::uint64_t arg) noexcept {
  if (condition.values.empty()) return false;
  const std::uint64_t value = condition.values.front();
  switch (condition.op) {
    case ArgCondition::Op::kEqual:
      return arg == value;
    case ArgCondition::Op::kNotEqual:
      return arg != value;
    case ArgCondition::Op::kLess:
      return arg < value;
    case ArgCondition::Op::kLessEqual:
      return arg <= value;
    case ArgCondition::Op::kGreater:
      return arg > value;
    case ArgCondition::Op::kGreaterEqual:
      return arg >= value;
    case ArgCondition::Op::kMaskedEqual:
      return (arg & condition.mask) == value;
    case ArgCondition::Op::kIn:
      return std::find(condition.values.begin(), condition.values.end(), arg) !=
             condition.values.end();
  }
  return false;
}

bool always_allows(const Seccomp& profile, std::string_view call) noexcept {
  return std::any_of(profile.rules.begin(), profile.rules.end(), [&](const SyscallRule& rule) {
    return rule.action.kind == SyscallAction::Kind::kAllow && rule.when.empty() &&
           std::find(rule.calls.begin(), rule.calls.end(), call) != rule.calls.end();
  });
}

bool needs_controller(const Limits& limits, Layer controller) noexcept {
  constexpr std::uint64_t kKernelWeight = 100;
  switch (controller) {
    case Layer::kMemory:
    case Layer::kPids:
      return true;
    case Layer::kCpu:
      return limits.cpu_max_percent != 0 || limits.cpu_weight != kKernelWeight;
    case Layer::kIo:
      return limits.io_read_per_second_max.bytes != 0 ||
             limits.io_write_per_second_max.bytes != 0 || limits.io_reads_per_second_max != 0 ||
             limits.io_writes_per_second_max != 0;
    case Layer::kCpuset:
      return !limits.cpus.empty();
    case Layer::kCgroup:
    case Layer::kLandlock:
    case Layer::kTimeNamespace:
      break;
  }
  return false;
}

const char* name_of(Layer layer) noexcept {
  switch (layer) {
    case Layer::kCgroup:
      return "cgroup";
    case Layer::kLandlock:
      return "landlock";
    case Layer::kTimeNamespace:
      return "time_namespace";
    case Layer::kMemory:
      return "memory";
    case Layer::kPids:
      return "pids";
    case Layer::kCpu:
      return "cpu";
    case Layer::kIo:
      return "io";
    case Layer::kCpuset:
      return "cpuset";
  }
  return "?";
}

}  // namespace fnrun::policies
