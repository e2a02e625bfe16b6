// The floor: what no policy can open, and what the switches of a policy close.
//
// Calls that only an attack makes, namespaces by way of clone(2), and clone3(2), whose flags no
// filter can see. Isolation loads it as a filter of its own beside the policy's (the kernel takes
// the strictest verdict), so that no rule, a policy's own or an imported one, can loosen it; and
// with_floor() lays it into the policy's rules, so that what is refused is refused in the policy's
// way and told by name. Pure functions; no thread rule.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "policies/policy.h"

namespace fnrun::policies {

// Each refuses; what none of them names goes on. Of `profile` they take the switches. Rules with
// conditions take something out of what a policy may allow, so that the policy's default action is
// the answer: their own, ENOSYS, is for a filter that would let the call through.
[[nodiscard]] std::vector<SyscallRule> floor_rules(const Seccomp& profile);

// Whether the floor kills who makes this call, whatever the arguments.
[[nodiscard]] bool is_tripwire(std::string_view call);

// Why a policy may not say this of the call, or "": it would be said and not hold. `rule` is of
// `profile`, `call` of the rule.
[[nodiscard]] std::string floor_fault(const Seccomp& profile, const SyscallRule& rule,
                                      std::string_view call);

// Whether the floor takes something out of what the rule allows of the call.
[[nodiscard]] bool floor_narrows(const Seccomp& profile, const SyscallRule& rule,
                                 std::string_view call);

// The policy's rules and the floor's as one list, complete by itself. Several rules may have the
// name of the one that they were made of. What floor_fault() finds fault with is left out.
[[nodiscard]] Seccomp with_floor(const Seccomp& profile);

}  // namespace fnrun::policies
