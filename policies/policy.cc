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

const char* name_of(Layer layer) noexcept {
  switch (layer) {
    case Layer::kCgroup:
      return "cgroup";
    case Layer::kLandlock:
      return "landlock";
    case Layer::kTimeNamespace:
      return "time_namespace";
  }
  return "?";
}

}  // namespace fnrun::policies
