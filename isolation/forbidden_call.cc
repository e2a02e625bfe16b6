#include "isolation/forbidden_call.h"

#include <linux/audit.h>
#include <seccomp.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <memory>

#include "policies/seccomp_floor.h"

namespace fnrun::isolation {
namespace {

using policies::ArgCondition;

bool holds(const ArgCondition& condition, const ForbiddenCall& call) {
  return condition.arg < call.args.size() && policies::holds(condition, call.args[condition.arg]);
}

}  // namespace

std::string hexadecimal(std::uint64_t value) {
  std::array<char, 16> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value, 16).ptr;
  return "0x" + std::string(digits.data(), end);
}

std::string ForbiddenCall::name() const {
  if (arch == AUDIT_ARCH_X86_64) {
    const std::unique_ptr<char, decltype(&std::free)> known(
        ::seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, number), &std::free);
    if (known) return known.get();
  }
  return "syscall " + std::to_string(number);
}

std::string ForbiddenCall::arch_name() const {
  return arch == AUDIT_ARCH_X86_64 ? "x86_64" : hexadecimal(arch);
}

std::string ForbiddenCall::to_string() const {
  std::string text = name() + "(";
  for (std::size_t i = 0; i < args.size(); ++i) {
    if (i != 0) text += ", ";
    text += hexadecimal(args[i]);
  }
  return text + ")";
}

std::string forbidding_rule(const policies::Seccomp& profile, const ForbiddenCall& call) {
  const std::string name = call.name();
  const auto speaks_of = [&](const policies::SyscallRule& rule) {
    return std::find(rule.calls.begin(), rule.calls.end(), name) != rule.calls.end() &&
           std::all_of(rule.when.begin(), rule.when.end(),
                       [&](const ArgCondition& condition) { return holds(condition, call); });
  };
  for (const auto& rule : policies::with_floor(profile).rules)
    if (rule.action.kind == policies::SyscallAction::Kind::kKillProcess && speaks_of(rule))
      return rule.name;
  // What a bound of the floor took out of a rule that allows, and so left to the default.
  for (const auto& rule : policies::floor_rules(profile))
    if (speaks_of(rule)) return rule.name;
  return "";
}

}  // namespace fnrun::isolation
