// From a policy's section to a container's profile.
#include <nlohmann/json.hpp>

#include "policies/oci_seccomp.h"
#include "policies/seccomp_floor.h"

namespace fnrun::policies {
namespace {

using Json = nlohmann::ordered_json;
using Op = ArgCondition::Op;

const char* action_name(const SyscallAction& action) {
  switch (action.kind) {
    case SyscallAction::Kind::kAllow:
      return "SCMP_ACT_ALLOW";
    case SyscallAction::Kind::kErrno:
      return "SCMP_ACT_ERRNO";
    case SyscallAction::Kind::kKillProcess:
      break;
  }
  return "SCMP_ACT_KILL_PROCESS";
}

const char* op_name(Op op) {
  switch (op) {
    case Op::kNotEqual:
      return "SCMP_CMP_NE";
    case Op::kLess:
      return "SCMP_CMP_LT";
    case Op::kLessEqual:
      return "SCMP_CMP_LE";
    case Op::kGreater:
      return "SCMP_CMP_GT";
    case Op::kGreaterEqual:
      return "SCMP_CMP_GE";
    case Op::kMaskedEqual:
      return "SCMP_CMP_MASKED_EQ";
    case Op::kEqual:
    case Op::kIn:  // One entry a value.
      break;
  }
  return "SCMP_CMP_EQ";
}

Json argument(const ArgCondition& condition, std::uint64_t value) {
  Json json = {{"index", condition.arg}};
  const bool masked = condition.op == Op::kMaskedEqual;
  json["value"] = masked ? condition.mask : value;
  if (masked) json["valueTwo"] = value;
  json["op"] = op_name(condition.op);
  return json;
}

// The format has no "in": every combination of values is a list of arguments of its own.
std::vector<Json> argument_lists(const std::vector<ArgCondition>& when) {
  std::vector<Json> lists{Json::array()};
  for (const ArgCondition& condition : when) {
    std::vector<Json> longer;
    for (const Json& list : lists)
      for (const std::uint64_t value : condition.values) {
        longer.push_back(list);
        longer.back().push_back(argument(condition, value));
      }
    lists = std::move(longer);
  }
  return lists;
}

}  // namespace

std::string export_oci_seccomp(const Seccomp& seccomp) {
  const Seccomp whole = with_floor(seccomp);
  Json json = {{"defaultAction", action_name(whole.default_action)}};
  if (whole.default_action.kind == SyscallAction::Kind::kErrno)
    json["defaultErrnoRet"] = whole.default_action.os_errno;
  json["architectures"] = Json::array({"SCMP_ARCH_X86_64"});
  Json entries = Json::array();
  for (const SyscallRule& rule : whole.rules) {
    // runc cannot load an entry that says what the default says.
    if (rule.action == whole.default_action) continue;
    for (Json& list : argument_lists(rule.when)) {
      Json entry = {{"names", rule.calls}, {"action", action_name(rule.action)}};
      if (rule.action.kind == SyscallAction::Kind::kErrno) entry["errnoRet"] = rule.action.os_errno;
      if (!list.empty()) entry["args"] = std::move(list);
      entry["comment"] = rule.name + ": " + rule.why;
      entries.push_back(std::move(entry));
    }
  }
  json["syscalls"] = std::move(entries);
  return json.dump(2, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace) + '\n';
}

}  // namespace fnrun::policies
