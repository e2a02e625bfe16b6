#include "policies/policy.h"

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
