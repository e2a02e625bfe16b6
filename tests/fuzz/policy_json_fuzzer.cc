// Hostile policy texts. Properties: nothing crashes; an error is one line with a message; what
// parses is written as a text that parses to the same policy, and leaves the floor whole. A text
// with a NUL byte is two documents, the second laid over the first as `extends` does.
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

#include "policies/json_document.h"
#include "policies/policy_json.h"
#include "policies/policy_read.h"
#include "policies/seccomp_floor.h"

namespace {

using fnrun::policies::Policy;
using fnrun::policies::PolicyError;
using fnrun::policies::Seccomp;
using fnrun::policies::SyscallAction;
using fnrun::policies::SyscallRule;
namespace internal = fnrun::policies::internal;

void require(bool property) {
  if (!property) std::abort();
}

void check_error(const PolicyError& error) {
  require(!error.message.empty());
  require(error.to_string().find('\n') == std::string::npos);
}

// Of a policy the floor knows one switch, and no rule of it allows what the floor refuses always.
void check_floor(const Seccomp& seccomp) {
  Seccomp plain;
  plain.write_execute = seccomp.write_execute;
  require(floor_rules(seccomp) == floor_rules(plain));
  for (const SyscallRule& rule : with_floor(seccomp).rules)
    for (const std::string& call : rule.calls) {
      const bool allows = rule.action.kind == SyscallAction::Kind::kAllow;
      require(!allows || (!fnrun::policies::is_tripwire(call) && call != "clone3"));
      require(!allows || call != "clone" || !rule.when.empty());
    }
}

void check_policy(const Policy& policy) {
  check_floor(policy.seccomp);
  const std::string text = to_json(policy);
  const auto again = fnrun::policies::parse_policy(text);
  require(again.has_value());
  require(*again == policy);
  require(to_json(*again) == text);
}

void merge_and_read(std::string_view below, std::string_view above) {
  const auto file = std::make_shared<const std::string>("fuzz.json");
  const auto base = internal::parse_json(below, file);
  const auto top = internal::parse_json(above, file);
  if (!base || !top) return;
  const auto merged = internal::merge(&*base, *top);
  if (!merged) return check_error(merged.error());
  const auto policy = internal::read_policy(*merged);
  if (policy)
    check_policy(*policy);
  else
    check_error(policy.error());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // SAFETY: bytes are read as characters.
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto nul = text.find('\0'); nul != std::string_view::npos) {
    merge_and_read(text.substr(0, nul), text.substr(nul + 1));
    return 0;
  }
  const auto policy = fnrun::policies::parse_policy(text);
  if (policy)
    check_policy(*policy);
  else
    check_error(policy.error());
  return 0;
}
