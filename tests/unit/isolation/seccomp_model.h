// What a policy says of a call, read naively, and what its compiled filters answer.
//
// The model reads the rules one by one and knows what the floor is in words of its own; the filters
// are run by the interpreter of tests/support, the strictest verdict of both as the kernel takes
// it.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "isolation/seccomp_filter.h"
#include "policies/policy.h"

namespace fnrun::test {

using Args = std::array<std::uint64_t, 6>;
inline constexpr int kLastCall = 600;  // Beyond every number that Linux has given out.
inline constexpr std::uint32_t kArchX86_64 = 0xC000003E;

// Written down once more: the calls that no policy can give back.
extern const std::set<std::string> kTripwires;

[[nodiscard]] std::uint32_t verdict_of(const policies::SyscallAction& action,
                                       isolation::KillBy kill_by = isolation::KillBy::kKernel);
[[nodiscard]] bool holds(const policies::ArgCondition& condition, const Args& args);
[[nodiscard]] bool holds(const policies::SyscallRule& rule, const Args& args);
[[nodiscard]] int number_of(const std::string& call);

// The policy as SECCOMP_RET_*: number -> its rules.
class Model {
 public:
  Model(policies::Seccomp profile, isolation::KillBy kill_by);
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;
  [[nodiscard]] std::uint32_t verdict(int number, const Args& args) const;
  [[nodiscard]] std::vector<const policies::SyscallRule*> rules_of(int number) const;

 private:
  [[nodiscard]] bool bounded(int number, const Args& args) const;

  policies::Seccomp profile_;
  isolation::KillBy kill_by_;
  std::map<int, std::vector<const policies::SyscallRule*>> rules_;
};

// Argument lists worth trying for these rules: all alike, and every value of a condition with its
// neighbours, each single bit, and garbage in the upper half, which the kernel may or may not look
// at; and the bits that the floor looks at.
[[nodiscard]] std::vector<Args> edges(const std::vector<const policies::SyscallRule*>& rules);

struct Profile {
  policies::Seccomp policy;
  isolation::BpfProgram program;
  isolation::BpfProgram floor;  // May be empty: there is none.

  [[nodiscard]] std::uint32_t of_policy(int number, const Args& args) const;
  [[nodiscard]] std::uint32_t of_floor(int number, const Args& args) const;
  [[nodiscard]] std::uint32_t ask(int number, const Args& args,
                                  std::uint32_t arch = kArchX86_64) const;
  [[nodiscard]] std::uint32_t ask(const char* call, const Args& args = {}) const;
};

[[nodiscard]] Profile compiled(const policies::Seccomp& policy,
                               isolation::KillBy kill_by = isolation::KillBy::kKernel);
// A shipped policy's, or "default"; without what needs a listener where there is none.
[[nodiscard]] policies::Seccomp listening(const std::string& name, isolation::KillBy kill_by);
[[nodiscard]] inline policies::Seccomp named(const std::string& name) {
  return listening(name, isolation::KillBy::kListener);
}

// "" if the filters and the model agree on every call from 0 to kLastCall, else where they do not.
[[nodiscard]] std::string disagreement(const policies::Seccomp& policy, isolation::KillBy kill_by);

}  // namespace fnrun::test
