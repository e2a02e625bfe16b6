// The section "seccomp": rules, conditions, and whether the rules contradict each other.
#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <set>
#include <utility>

#include "policies/errno_names.h"
#include "policies/policy_read.h"
#include "policies/seccomp_floor.h"

namespace fnrun::policies::internal {
namespace {

constexpr std::size_t kNameMax = 64;
constexpr std::size_t kCallNameMax = 40;
constexpr std::size_t kConditionsMax = 6;  // One for each argument of a call.
// "in" becomes one comparison a value, and two of them in one rule every pair: BPF programs end at
// 4096 instructions.
constexpr std::size_t kAlternativesMax = 256;

using Op = ArgCondition::Op;
struct OpName {
  std::string_view name;
  Op op;
};
constexpr OpName kOps[] = {{"eq", Op::kEqual},   {"ne", Op::kNotEqual},
                           {"lt", Op::kLess},    {"le", Op::kLessEqual},
                           {"gt", Op::kGreater}, {"ge", Op::kGreaterEqual},
                           {"in", Op::kIn},      {"masked_eq", Op::kMaskedEqual}};

bool is_name(std::string_view text, std::size_t max, std::string_view punctuation) {
  return !text.empty() && text.size() <= max && std::all_of(text.begin(), text.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
           punctuation.find(c) != std::string_view::npos;
  });
}

SyscallAction read_action(Reader& reader, const At& at, bool is_default) {
  constexpr std::string_view kErrno = "errno:";
  const std::string text = reader.string(at, kNameMax);
  if (at.node->kind != Kind::kString) return {};
  if (text == "kill_process") return {SyscallAction::Kind::kKillProcess, 0};
  if (text == "allow" && !is_default) return {SyscallAction::Kind::kAllow, 0};
  if (text.starts_with(kErrno)) {
    const auto value = errno_value(std::string_view(text).substr(kErrno.size()));
    if (value) return {SyscallAction::Kind::kErrno, *value};
    reader.fail(at, "must name an errno of Linux, as in \"errno:EPERM\", or its number, 1 to " +
                        std::to_string(kErrnoMax) + "; not \"" + printable(text) + '"');
    return {};
  }
  std::string message = is_default ? "must be \"kill_process\" or \"errno:NAME\""
                                   : "must be \"allow\", \"kill_process\" or \"errno:NAME\"";
  message += ", not \"" + printable(text) + '"';
  if (text == "allow")
    message +=
        ": the rules are a list of what is allowed, a list of what is not always lacks the "
        "calls that are not yet invented";
  reader.fail(at, std::move(message));
  return {};
}

// A whole number, or 1 to 16 hexadecimal digits after "0x": masks are read in hexadecimal.
std::uint64_t read_number(Reader& reader, const At& at) {
  if (at.node->kind == Kind::kInteger) return at.node->integer;
  const std::string_view text = at.node->text;
  if (at.node->kind == Kind::kString && text.starts_with("0x") && text.size() <= 18) {
    std::uint64_t value = 0;
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data() + 2, end, value, 16);
    if (error == std::errc() && stop == end) return value;
  }
  reader.fail(at,
              "must be a whole number from 0 to 18446744073709551615, or the same in "
              "hexadecimal as a string: \"0x1f\"");
  return 0;
}

void read_values(Reader& reader, const At& at, ArgCondition& condition) {
  const auto value = reader.find(at, "value");
  const auto values = reader.find(at, "values");
  if (condition.op != Op::kIn) {
    if (values) reader.fail(*values, "only \"in\" takes \"values\"; the other ops take \"value\"");
    if (const auto one = reader.require(at, "value"))
      condition.values.push_back(read_number(reader, *one));
    return;
  }
  if (value) reader.fail(*value, "\"in\" takes a list, \"values\"");
  const auto list = reader.require(at, "values");
  if (!list || !reader.array(*list, 1, kAlternativesMax)) return;
  std::set<std::uint64_t> seen;
  for (std::size_t i = 0; i < list->node->items.size(); ++i) {
    const At item = list->item(i);
    condition.values.push_back(read_number(reader, item));
    if (!seen.insert(condition.values.back()).second)
      reader.fail(item, "this value is in the list already");
  }
}

void read_mask(Reader& reader, const At& at, ArgCondition& condition) {
  if (condition.op != Op::kMaskedEqual) {
    if (const auto mask = reader.find(at, "mask"))
      reader.fail(*mask, "only \"masked_eq\" takes a mask");
    return;
  }
  const auto mask = reader.require(at, "mask");
  if (!mask) return;
  condition.mask = read_number(reader, *mask);
  if (condition.mask == 0) reader.fail(*mask, "must not be 0: the comparison would always hold");
  if (!condition.values.empty() && (condition.values[0] & ~condition.mask) != 0)
    reader.fail(at, "can never hold: \"value\" has bits that \"mask\" takes away");
}

ArgCondition read_condition(Reader& reader, const At& at) {
  static constexpr std::array<std::string_view, 5> kKeys = {"arg", "op", "mask", "value", "values"};
  ArgCondition condition;
  if (!reader.object(at, kKeys)) return condition;
  if (const auto arg = reader.require(at, "arg"))
    condition.arg = std::uint32_t(reader.integer(*arg, 0, 5));
  const auto op = reader.require(at, "op");
  if (!op) return condition;
  const std::string name = reader.string(*op, kNameMax);
  const auto* found = std::find_if(std::begin(kOps), std::end(kOps),
                                   [&](const OpName& known) { return known.name == name; });
  if (found == std::end(kOps)) {
    reader.fail(*op, "must be one of eq, ne, lt, le, gt, ge, in, masked_eq; not \"" +
                         printable(name) + '"');
    return condition;
  }
  condition.op = found->op;
  read_values(reader, at, condition);
  read_mask(reader, at, condition);
  return condition;
}

void read_conditions(Reader& reader, const At& at, SyscallRule& rule) {
  if (!reader.array(at, 0, kConditionsMax)) return;
  std::array<bool, 6> seen{};
  std::size_t alternatives = 1;
  for (std::size_t i = 0; i < at.node->items.size(); ++i) {
    const At item = at.item(i);
    ArgCondition condition = read_condition(reader, item);
    // libseccomp refuses this; splitting it into two rules would mean "or", which opens more.
    if (std::exchange(seen[condition.arg], true))
      reader.fail(item, "argument " + std::to_string(condition.arg) +
                            " is compared twice in one rule; a rule may compare each once");
    alternatives *= std::max<std::size_t>(condition.values.size(), 1);
    if (alternatives > kAlternativesMax) {
      reader.fail(item, "the lists of this rule multiply to more than " +
                            std::to_string(kAlternativesMax) + " comparisons");
      return;
    }
    rule.when.push_back(std::move(condition));
  }
}

void read_calls(Reader& reader, const At& at, SyscallRule& rule) {
  if (!reader.array(at, 1, kCallsPerRuleMax)) return;
  std::set<std::string> seen;
  for (std::size_t i = 0; i < at.node->items.size(); ++i) {
    const At item = at.item(i);
    std::string call = reader.string(item, kNameMax);
    if (item.node->kind == Kind::kString && !is_call_name(call))
      reader.fail(item, "a system call is named by 1 to 40 of a-z, 0-9 and _, not \"" +
                            printable(call) + '"');
    if (!seen.insert(call).second) reader.fail(item, "this call is in the rule already");
    rule.calls.push_back(std::move(call));
  }
}

SyscallRule read_rule(Reader& reader, const At& at, const std::string& name) {
  static constexpr std::array<std::string_view, 4> kKeys = {"action", "calls", "when", "why"};
  SyscallRule rule;
  rule.name = name;
  if (!is_name(name, kNameMax, "-_"))
    reader.fail(at, "a rule is named by 1 to 64 of a-z, 0-9, - and _");
  if (!reader.object(at, kKeys)) return rule;
  if (const auto action = reader.require(at, "action"))
    rule.action = read_action(reader, *action, /*is_default=*/false);
  if (const auto calls = reader.require(at, "calls")) read_calls(reader, *calls, rule);
  if (const auto when = reader.find(at, "when")) read_conditions(reader, *when, rule);
  if (const auto why = reader.require(at, "why")) rule.why = reader.reason(*why);
  return rule;
}

// libseccomp takes an unconditional rule and a conditional one of another action for the same call
// and silently drops the second. So: one action a call, and either conditions everywhere or
// nowhere.
void check_conflicts(Reader& reader, const At& rules, const std::vector<SyscallRule>& all) {
  std::map<std::string_view, const SyscallRule*> first;
  for (const SyscallRule& rule : all)
    for (std::size_t i = 0; i < rule.calls.size(); ++i) {
      const std::string& call = rule.calls[i];
      const SyscallRule& other = *first.emplace(call, &rule).first->second;
      const bool same_action = other.action == rule.action;
      if (same_action && other.when.empty() == rule.when.empty()) continue;
      const Node& node = *rules.node->find(rule.name)->find("calls");
      const Node& there = *rules.node->find(other.name);
      const At at{&node.items[i],
                  pointer_to(pointer_to(pointer_to(rules.pointer, rule.name), "calls"), i)};
      std::string where = there.file ? *there.file : "";
      if (!where.empty()) where += ':';
      where += std::to_string(there.line);
      reader.fail(at, '"' + call + "\" is in the rule \"" + other.name + "\" too (" + where +
                          (same_action ? "), with conditions in only one of them"
                                       : "), with another action") +
                          "; take it out of one, or remove one rule by null");
    }
}

// What the floor would not let hold must not be said.
void check_floor(Reader& reader, const At& rules, const Seccomp& seccomp) {
  for (const SyscallRule& rule : seccomp.rules)
    for (std::size_t i = 0; i < rule.calls.size(); ++i)
      if (std::string fault = floor_fault(seccomp, rule, rule.calls[i]); !fault.empty())
        reader.fail({&rules.node->find(rule.name)->find("calls")->items[i],
                     pointer_to(pointer_to(pointer_to(rules.pointer, rule.name), "calls"), i)},
                    std::move(fault));
}

}  // namespace

Seccomp read_seccomp(Reader& reader, const At& at) {
  static constexpr std::array<std::string_view, 4> kKeys = {"default", "rules", "write_execute",
                                                            "exec_once"};
  Seccomp seccomp = default_seccomp();
  if (!reader.object(at, kKeys)) return seccomp;
  if (const auto why = reader.find(at, "write_execute"))
    seccomp.write_execute = reader.reason(*why);
  if (const auto value = reader.find(at, "exec_once")) seccomp.exec_once = reader.boolean(*value);
  if (const auto action = reader.find(at, "default"))
    seccomp.default_action = read_action(reader, *action, /*is_default=*/true);
  const auto rules = reader.find(at, "rules");
  if (!rules || !reader.map(*rules, kRulesMax)) return seccomp;
  seccomp.rules.clear();
  for (const auto& [name, node] : rules->node->members)  // Sorted, as Seccomp wants them.
    seccomp.rules.push_back(read_rule(reader, {&node, pointer_to(rules->pointer, name)}, name));
  if (!reader.error()) check_conflicts(reader, *rules, seccomp.rules);
  if (!reader.error()) check_floor(reader, *rules, seccomp);
  if (seccomp.exec_once && !always_allows(seccomp, "exit_group"))
    reader.fail(*reader.find(at, "exec_once"),
                "needs a rule that allows exit_group whatever its argument: where the handler's "
                "own execve fails, that call follows before anybody listens");
  return seccomp;
}

bool is_call_name(std::string_view text) {
  return is_name(text, kCallNameMax, "_");
}

}  // namespace fnrun::policies::internal
