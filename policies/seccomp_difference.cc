#include "policies/seccomp_difference.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "policies/seccomp_floor.h"

namespace fnrun::policies {
namespace {

constexpr std::size_t kLineMax = 100;

// A call's allowing conditions as text: equal where they are the same; {""} for all arguments.
using Alternatives = std::set<std::string>;

// "in" is one alternative for each of its values, as if there were a rule for each.
Alternatives texts_of(const std::vector<ArgCondition>& when) {
  Alternatives texts{""};
  for (const ArgCondition& condition : when) {
    const bool list = condition.op == ArgCondition::Op::kIn;
    const int op = int(list ? ArgCondition::Op::kEqual : condition.op);
    Alternatives longer;
    for (const std::string& text : texts)
      for (const std::uint64_t value : condition.values)
        longer.insert(text + std::to_string(condition.arg) + ' ' + std::to_string(op) + ' ' +
                      std::to_string(condition.mask) + ' ' + std::to_string(value) + ';');
    texts = std::move(longer);
  }
  return texts;
}

std::map<std::string, Alternatives> allowed_by(const Seccomp& profile) {
  std::map<std::string, Alternatives> allowed;
  for (const SyscallRule& rule : with_floor(profile).rules) {
    if (rule.action.kind != SyscallAction::Kind::kAllow) continue;
    for (const std::string& call : rule.calls) allowed[call].merge(texts_of(rule.when));
  }
  return allowed;
}

std::string paragraph(const char* verb, const std::vector<std::string>& calls) {
  if (calls.empty()) return "";
  std::string text = verb + std::string(" ") + std::to_string(calls.size()) +
                     (calls.size() == 1 ? " call:" : " calls:");
  std::size_t line = text.size();
  for (const std::string& call : calls) {
    const bool full = line + 1 + call.size() > kLineMax;
    text += (full ? "\n  " : " ") + call;
    line = full ? 2 + call.size() : line + 1 + call.size();
  }
  return text + "\n";
}

}  // namespace

SeccompDifference difference(const Seccomp& before, const Seccomp& now) {
  const auto old_calls = allowed_by(before);
  const auto new_calls = allowed_by(now);
  SeccompDifference found;
  for (const auto& [call, alternatives] : new_calls) {
    const auto old = old_calls.find(call);
    if (old == old_calls.end()) {
      found.opened.push_back(call);
    } else if (old->second != alternatives) {
      const bool fewer =
          old->second.contains("") || std::includes(old->second.begin(), old->second.end(),
                                                    alternatives.begin(), alternatives.end());
      (fewer ? found.narrowed : found.widened).push_back(call);
    }
  }
  for (const auto& [call, alternatives] : old_calls)
    if (!new_calls.contains(call)) found.closed.push_back(call);
  return found;
}

std::string SeccompDifference::to_string() const {
  return paragraph("opens", opened) + paragraph("opens for other arguments", widened) +
         paragraph("closes for some arguments", narrowed) + paragraph("closes", closed);
}

}  // namespace fnrun::policies
