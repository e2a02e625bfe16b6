// From a profile's entries to a policy's rules, call by call.
//
// libseccomp keeps one of two entries that disagree on a call, without a word which. So nothing is
// left to it: what agrees is merged, what falls to the default anyway is left out, and what cannot
// hold together is an error.
#include <algorithm>
#include <map>
#include <utility>

#include "policies/errno_names.h"
#include "policies/oci_seccomp_entry.h"
#include "policies/policy_read.h"
#include "policies/seccomp_floor.h"

namespace fnrun::policies::internal {
namespace {

using Op = ArgCondition::Op;
using Said = const OciEntry*;  // Of one call.

constexpr std::size_t kListMax = 600;  // Bytes of names in one note.

bool allows(const SyscallAction& action) {
  return action.kind == SyscallAction::Kind::kAllow;
}

// Whether no argument can satisfy both: as far as one of them names a single value.
bool exclude(const ArgCondition& a, const ArgCondition& b) {
  if (a.arg != b.arg) return false;
  if (a.op == Op::kEqual) return !holds(b, a.values.front());
  if (b.op == Op::kEqual) return !holds(a, b.values.front());
  return false;
}

bool exclude(const OciEntry& a, const OciEntry& b) {
  return std::any_of(a.when.begin(), a.when.end(), [&](const ArgCondition& one) {
    return std::any_of(b.when.begin(), b.when.end(),
                       [&](const ArgCondition& other) { return exclude(one, other); });
  });
}

std::string word(const SyscallAction& action) {
  if (allows(action)) return "allow";
  if (action.kind == SyscallAction::Kind::kKillProcess) return "kill_process";
  return "errno:" + errno_name(action.os_errno);
}

class Resolver {
 public:
  Resolver(Reader& reader, ImportedSeccomp& imported) : reader_(reader), imported_(imported) {}

  void call(const std::string& name, std::vector<Said> said);
  void write();

 private:
  bool is_default(const Said& one) const { return one->action == imported_.seccomp.default_action; }
  void clash(const std::string& call, const OciEntry& one, const OciEntry& other);
  void unconditional(const std::string& call, const std::vector<Said>& said, Said always);
  void conditional(const std::string& call, std::vector<Said> said);
  void check(const std::string& call, const OciEntry& said);

  Reader& reader_;
  ImportedSeccomp& imported_;
  std::vector<std::string> shut_;             // Allowed there, and the floor's.
  std::vector<std::string> narrowed_;         // Allowed there for arguments that the floor refuses.
  std::vector<std::string> lethal_;           // Refused there, and what the floor kills for.
  std::map<std::string, SyscallRule> whole_;  // By action: calls whatever their arguments.
  std::vector<SyscallRule> parts_;
};

void Resolver::clash(const std::string& call, const OciEntry& one, const OciEntry& other) {
  reader_.fail(other.at, "contradicts the entry of line " + std::to_string(one.at.node->line) +
                             " on '" + call + "' (" + word(one.action) + ", " + word(other.action) +
                             "): libseccomp would drop one of them without a word; write allowing "
                             "entries that leave out what the other refuses, as \"less\" and "
                             "\"greater\" around one value");
}

// One entry that always holds: others must say the same, or nothing that adds to it.
void Resolver::unconditional(const std::string& call, const std::vector<Said>& said, Said always) {
  for (const Said one : said)
    if (one->action != always->action) return clash(call, *always, *one);
  if (is_default(always)) return;
  const std::string text = word(always->action);
  SyscallRule& rule = whole_[text];
  rule.action = always->action;
  rule.calls.push_back(call);
}

// Refusals beside allowing entries: those that touch nothing which is allowed go, because the
// default refuses there too.
void Resolver::conditional(const std::string& call, std::vector<Said> said) {
  const auto first =
      std::find_if(said.begin(), said.end(), [](Said one) { return allows(one->action); });
  if (first != said.end()) {
    for (const Said one : said) {
      if (allows(one->action)) continue;
      const auto other = std::find_if(said.begin(), said.end(), [&](Said allowing) {
        return allows(allowing->action) && !exclude(*one, *allowing);
      });
      if (other != said.end()) return clash(call, **other, *one);
      const bool weaker = one->action.kind == SyscallAction::Kind::kKillProcess;
      if (!is_default(one) && weaker) return clash(call, **first, *one);
      if (!is_default(one))
        imported_.notes.push_back("'" + call +
                                  "' is refused by the default where the profile says " +
                                  word(one->action) + " for some arguments and allows others");
    }
    std::erase_if(said, [](Said one) { return !allows(one->action); });
  }
  std::erase_if(said, [&](Said one) { return is_default(one); });
  const auto of_others = static_cast<std::ptrdiff_t>(parts_.size());
  for (const Said one : said) {
    if (one->action != said.front()->action) return clash(call, *said.front(), *one);
    SyscallRule rule{"", one->action, {call}, one->when, ""};
    const bool twice =
        std::any_of(parts_.begin() + of_others, parts_.end(),
                    [&](const SyscallRule& other) { return other.when == rule.when; });
    if (!twice) parts_.push_back(std::move(rule));
    if (parts_.size() > kRulesMax) return;  // It will be refused: compare no more.
  }
}

void Resolver::check(const std::string& call, const OciEntry& said) {
  const SyscallRule rule{"", said.action, {call}, said.when, ""};
  if (std::string fault = floor_fault(imported_.seccomp, rule, call); !fault.empty())
    reader_.fail(said.at, std::move(fault));
  else if (floor_narrows(imported_.seccomp, rule, call) &&
           (narrowed_.empty() || narrowed_.back() != call))
    narrowed_.push_back(call);
}

void Resolver::call(const std::string& name, std::vector<Said> said) {
  const bool opened =
      std::any_of(said.begin(), said.end(), [](Said one) { return allows(one->action); });
  if (is_tripwire(name) || (name == "clone3" && opened)) {
    const bool kills = std::all_of(said.begin(), said.end(), [](Said one) {
      return one->action.kind == SyscallAction::Kind::kKillProcess;
    });
    if (!kills) (opened ? shut_ : lethal_).push_back(name);
    return;  // The floor has said it.
  }
  // What says no more than the default, always, is skipped, as runc does.
  std::erase_if(said, [&](Said one) { return one->when.empty() && is_default(one); });
  for (const Said one : said) check(name, *one);
  const auto always =
      std::find_if(said.begin(), said.end(), [](Said one) { return one->when.empty(); });
  if (always != said.end()) {
    unconditional(name, said, *always);
  } else {
    conditional(name, std::move(said));
  }
}

void Resolver::write() {
  constexpr const char* kWhy = "as the imported profile has it";
  std::vector<SyscallRule>& rules = imported_.seccomp.rules;
  for (auto& [action, rule] : whole_) {
    // "errno:EPERM" -> "errno-eperm"
    std::string name = "imported-" + action;
    std::transform(name.begin(), name.end(), name.begin(), [](char c) {
      return c == ':' || c == '_' ? '-' : c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c;
    });
    rules.push_back({std::move(name), rule.action, std::move(rule.calls), {}, kWhy});
  }
  std::map<std::string, int> numbers;
  for (SyscallRule& part : parts_) {
    const std::string name = "imported-" + part.calls.front();
    part.name = name + "-" + std::to_string(++numbers[name]);
    part.why = kWhy;
    rules.push_back(std::move(part));
  }
  std::sort(rules.begin(), rules.end(),
            [](const SyscallRule& a, const SyscallRule& b) { return a.name < b.name; });
  if (!shut_.empty())
    imported_.notes.push_back("allowed there, and never by a policy: " + list_of_calls(shut_));
  if (!narrowed_.empty())
    imported_.notes.push_back("allowed there for arguments that no policy lets through: " +
                              list_of_calls(narrowed_));
  if (!lethal_.empty())
    imported_.notes.push_back("refused there, and killed for by every policy: " +
                              list_of_calls(lethal_));
}

}  // namespace

std::string list_of_calls(const std::vector<std::string>& calls) {
  std::string text = std::to_string(calls.size()) + (calls.size() == 1 ? " call:" : " calls:");
  for (std::size_t i = 0; i < calls.size(); ++i) {
    if (text.size() > kListMax) return text + " and more";
    text += (i == 0 ? " " : ", ") + calls[i];
  }
  return text;
}

void resolve_entries(Reader& reader, const std::vector<OciEntry>& entries,
                     ImportedSeccomp& imported) {
  std::map<std::string, std::vector<Said>> by_call;
  for (const OciEntry& entry : entries)
    for (const std::string& call : entry.calls) by_call[call].push_back(&entry);
  // Containers' profiles know nothing of it, so what they allow is allowed.
  imported.seccomp.write_execute = "as the imported profile has it, which does not look at this";
  Resolver resolver(reader, imported);
  for (auto& [call, said] : by_call) resolver.call(call, std::move(said));
  if (reader.error()) return;
  resolver.write();
  const auto& rules = imported.seccomp.rules;
  const bool crowded = std::any_of(rules.begin(), rules.end(), [](const SyscallRule& rule) {
    return rule.calls.size() > kCallsPerRuleMax;
  });
  if (rules.size() > kRulesMax || crowded)
    reader.fail(entries.front().at,
                "the profile comes to more than the " + std::to_string(kRulesMax) + " rules, or " +
                    std::to_string(kCallsPerRuleMax) + " calls in one, that a policy may hold");
}

}  // namespace fnrun::policies::internal
