// From a Policy to JSON: every key, in the order of README.md.
#include <nlohmann/json.hpp>

#include "policies/errno_names.h"
#include "policies/limit_table.h"
#include "policies/policy_json.h"

namespace fnrun::policies {
namespace {

using Json = nlohmann::ordered_json;

std::string write_action(const SyscallAction& action) {
  switch (action.kind) {
    case SyscallAction::Kind::kAllow:
      return "allow";
    case SyscallAction::Kind::kErrno:
      return "errno:" + internal::errno_name(action.os_errno);
    case SyscallAction::Kind::kKillProcess:
      return "kill_process";
  }
  return "?";
}

const char* write_op(ArgCondition::Op op) {
  switch (op) {
    case ArgCondition::Op::kEqual:
      return "eq";
    case ArgCondition::Op::kNotEqual:
      return "ne";
    case ArgCondition::Op::kLess:
      return "lt";
    case ArgCondition::Op::kLessEqual:
      return "le";
    case ArgCondition::Op::kGreater:
      return "gt";
    case ArgCondition::Op::kGreaterEqual:
      return "ge";
    case ArgCondition::Op::kMaskedEqual:
      return "masked_eq";
    case ArgCondition::Op::kIn:
      return "in";
  }
  return "?";
}

const char* write_mode(Reuse::Mode mode) {
  switch (mode) {
    case Reuse::Mode::kNever:
      return "never";
    case Reuse::Mode::kClean:
      return "clean";
    case Reuse::Mode::kAlways:
      return "always";
  }
  return "?";
}

std::string write_signal(int number) {
  for (const NamedSignal& signal : kWarningSignals)
    if (signal.number == number) return std::string(signal.name);
  return "?";
}

std::string hexadecimal(std::uint64_t value) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  std::string digits;
  do {
    digits.insert(digits.begin(), kDigits[value & 15]);
    value >>= 4;
  } while (value != 0);
  return "0x" + digits;
}

Json write_condition(const ArgCondition& condition) {
  Json json = {{"arg", condition.arg}, {"op", write_op(condition.op)}};
  if (condition.op == ArgCondition::Op::kIn) {
    json["values"] = condition.values;
    return json;
  }
  const std::uint64_t value = condition.values.empty() ? 0 : condition.values[0];
  if (condition.op == ArgCondition::Op::kMaskedEqual) {
    json["mask"] = hexadecimal(condition.mask);
    json["value"] = hexadecimal(value);
  } else {
    json["value"] = value;
  }
  return json;
}

Json write_seccomp(const Seccomp& seccomp) {
  Json rules = Json::object();
  for (const SyscallRule& rule : seccomp.rules) {
    Json when = Json::array();
    for (const ArgCondition& condition : rule.when) when.push_back(write_condition(condition));
    rules[rule.name] = {{"action", write_action(rule.action)},
                        {"calls", rule.calls},
                        {"when", std::move(when)},
                        {"why", rule.why}};
  }
  Json json = {{"default", write_action(seccomp.default_action)}, {"rules", std::move(rules)}};
  if (!seccomp.write_execute.empty()) json["write_execute"] = seccomp.write_execute;
  json["exec_once"] = seccomp.exec_once;
  return json;
}

Json write_filesystem(const Filesystem& filesystem) {
  Json paths = Json::object();
  for (const ReadOnlyPath& path : filesystem.read_only)
    paths[path.target] = {{"source", path.source},
                          {"optional", path.optional},
                          {"executable", path.executable},
                          {"why", path.why}};
  Json json = {{"read_only", std::move(paths)}};
  if (!filesystem.dangerously_exec_from_tmp.empty())
    json["dangerously_exec_from_tmp"] = filesystem.dangerously_exec_from_tmp;
  if (!filesystem.dev_shm.empty()) json["dev_shm"] = filesystem.dev_shm;
  return json;
}

// An empty std::map would become [] in nlohmann's own conversion to an initialiser list.
Json write_map(const std::map<std::string, std::string>& map) {
  Json json = Json::object();
  for (const auto& [name, value] : map) json[name] = value;
  return json;
}

}  // namespace

std::string to_json(const Policy& policy) {
  Json limits = Json::object();
  for (const internal::LimitField& field : internal::kLimitFields)
    limits[std::string(field.key)] = field.get(policy.limits);
  limits[std::string(internal::kOomGroupKey)] = policy.limits.memory_oom_group;
  limits[std::string(internal::kCpusKey)] = policy.limits.cpus;
  Json prefer = Json::object();
  for (const auto& [layer, why] : policy.preferred) prefer[name_of(layer)] = why;

  Json json = Json::object();
  json["version"] = 1;
  json["description"] = policy.description;
  json["limits"] = std::move(limits);
  json["filesystem"] = write_filesystem(policy.filesystem);
  json["environment"] = {{"set", write_map(policy.environment.set)},
                         {"pass", write_map(policy.environment.pass)}};
  json["identity"] = {{"hostname", policy.identity.hostname},
                      {"uid", policy.identity.uid},
                      {"gid", policy.identity.gid}};
  json["working_directory"] = policy.working_directory;
  json["reuse"] = {{"mode", write_mode(policy.reuse.mode)},
                   {"calls_max", policy.reuse.calls_max},
                   {"age_max_ms", policy.reuse.age_max.count()},
                   {"freeze_idle", policy.reuse.freeze_idle}};
  json["warning"] = {{"before_ms", policy.warning.before.count()},
                     {"signal", write_signal(policy.warning.signal)}};
  json["seccomp"] = write_seccomp(policy.seccomp);
  json["prefer"] = std::move(prefer);
  // A Policy made in code may hold bytes that are no UTF-8; dump() would throw.
  return json.dump(2, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace) + '\n';
}

}  // namespace fnrun::policies
